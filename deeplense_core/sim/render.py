"""From scenes to images: one function over a batch, which the compiler fuses.

Deflection by halo, shear and point masses, Sersic source, supersampling, point-spread function, noise and
scaling are one function of tensors. Compiled, it keeps the sum over point masses in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from deeplense_core.sim import noise, profiles
from deeplense_core.sim.scene import Detector, Optics


def pixel_axis(count: int, scale: float, like: Tensor) -> Tensor:
    """Centres of ``count`` pixels around zero, in arcsec."""
    index = torch.arange(count, device=like.device, dtype=like.dtype)
    return (index - (count - 1) / 2) * scale


def deflection(scene: Mapping[str, Tensor], x: Tensor, y: Tensor, spherical: bool) -> tuple[Tensor, Tensor]:
    """Deflection of halo, shear and point masses in arcsec, (b, h, w), at ``x`` (w,) and ``y`` (h, 1)."""
    s = {name: value[:, None, None] for name, value in scene.items() if value.ndim == 1}
    if spherical:
        halo_x, halo_y = profiles.sis_deflection(x, y, s["theta_E"])
    else:
        halo_x, halo_y = profiles.sie_deflection(x, y, s["theta_E"], s["q"], s["phi"])
    shear_x, shear_y = profiles.shear_deflection(x, y, s["gamma1"], s["gamma2"])
    mass_x, mass_y = profiles.point_masses_deflection(
        x, y, scene["mass_x"], scene["mass_y"], scene["mass_theta_E_sq"])
    return halo_x + shear_x + mass_x, halo_y + shear_y + mass_y


def source_light(scene: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Brightness of the source at positions in the source plane."""
    s = {name.removeprefix("source_"): value[:, None, None]
         for name, value in scene.items() if name.startswith("source_")}
    return profiles.sersic_brightness(x, y, s["x"], s["y"], s["R_e"], s["n"], s["q"], s["phi"], s["amplitude"])


def expected_image(scene: Mapping[str, Tensor], optics: Optics) -> Tensor:
    """Noise-free brightness per pixel after the optics, (b, n_pix, n_pix); rows are y.

    The sky is evaluated beyond the frame by the radius of the point-spread function, so light from outside
    scatters in as it does on the sky.
    """
    fine = optics.supersampling
    scale = optics.pixel_scale_arcsec / fine
    axis = pixel_axis(optics.n_pix * fine + 2 * optics.psf_radius, scale, scene["theta_E"])
    x, y = axis, axis[:, None]
    ax, ay = deflection(scene, x, y, optics.spherical)
    if optics.deflection_scale != 1.0:
        ax, ay = ax * optics.deflection_scale, ay * optics.deflection_scale
    sky = source_light(scene, x - ax, y - ay)
    image = profiles.blur(sky, profiles.gaussian_taps(optics.psf_sigma_arcsec / scale, optics.psf_radius))
    if fine > 1:
        image = image.reshape(image.shape[0], optics.n_pix, fine, optics.n_pix, fine).mean((2, 4))
    return image


def expose(rate: Tensor, exposure_s: Tensor, key: Tensor, detector: Detector, noisy: bool) -> Tensor:
    """Counts of an exposure.

    Args:
        rate: Brightness in counts per second and pixel, (b, h, w).
        exposure_s: Exposure times in seconds, (b,).
        key: Noise keys, int32 (b, 2).
        detector: What it adds.
        noisy: False gives the expected counts.
    """
    time = exposure_s[:, None, None]
    if detector.kind == "doubled":
        return 2.0 * rate
    expected = time * (rate + detector.sky_rate)
    if not noisy:
        return expected
    height, width = rate.shape[-2:]

    def bits(stream: int) -> Tensor:
        return noise.random_bits(key, height, width, stream)

    if detector.kind == "shot_twice":
        shot = noise.normal(bits(1)) * torch.sqrt(rate.abs() / time)
        background = noise.normal(bits(2)) * detector.background_rms
        return noise.poisson((time * (rate + shot + background)).clamp_min(0.0), bits(0))
    counts = noise.poisson(expected, bits(0), small_rates=detector.min_counts < noise.SMALL_RATE)
    if detector.read_noise or detector.background_rms:
        rms = torch.sqrt(detector.read_noise**2 + (detector.background_rms * time) ** 2)
        counts = counts + noise.normal(bits(1)) * rms
    return counts


def take_picture(
    scene: Mapping[str, Tensor], key: Tensor, optics: Optics, detector: Detector, noisy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Images scaled to [0, 1] (b, h, w), and the minimum and maximum they were scaled by, (b,) each."""
    counts = expose(expected_image(scene, optics), scene["exposure_s"], key, detector, noisy)
    low, high = counts.amin((1, 2)), counts.amax((1, 2))
    span = (high - low).clamp_min(torch.finfo(counts.dtype).tiny)
    return (counts - low[:, None, None]) / span[:, None, None], low, high


@cache
def picture_function(optics: Optics, detector: Detector, noisy: bool, compiled: bool) -> Callable:
    """:func:`take_picture` for one camera, a function of (scene, key)."""

    def picture(scene: dict[str, Tensor], key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return take_picture(scene, key, optics, detector, noisy)

    profiles.caustics_functions()
    return torch.compile(picture, dynamic=False) if compiled else picture
