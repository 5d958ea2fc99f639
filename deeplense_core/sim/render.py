"""From scenes to images: functions over a batch, each fused by the compiler.

The first sums the deflection of the point masses in registers, the second makes the lensed sky (halo, shear,
Sersic source), the third takes the picture (point-spread function, binning, noise, scaling). They are plain
functions of tensors and run eagerly as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeplense_core.sim import noise
from deeplense_core.sim.profiles import (
    Ellipsoid,
    PointMasses,
    Sersic,
    blur,
    gaussian_taps,
    pair_deflection,
    per_image,
    point_masses_deflection,
    sersic_brightness,
    shear_deflection,
    sie_deflection,
    sis_deflection,
)
from deeplense_core.sim.scene import Detector, Optics, Scene


class Constants(NamedTuple):
    """What one pixel needs to know of its system, taken once for each image."""

    theta_E: Tensor  # noqa: N815
    halo: Ellipsoid
    gamma1: Tensor
    gamma2: Tensor
    source: Sersic

    @classmethod
    def of(cls, scene: Scene) -> Constants:
        """The constants of every system of a scene."""
        s = scene
        source = Sersic.of(s.source_x, s.source_y, s.source_R_e, s.source_n, s.source_q, s.source_phi,
                           s.source_amplitude)
        return cls(per_image(s.theta_E), Ellipsoid.of(s.theta_E, s.q, s.phi), per_image(s.gamma1),
                   per_image(s.gamma2), source)

    def packed(self) -> Tensor:
        """All of them in one tensor (n, k, 1, 1): a compiled function looks at every tensor it is given, each time."""
        return torch.stack([self.theta_E, *self.halo, self.gamma1, self.gamma2, *self.source], 1)

    @classmethod
    def unpacked(cls, values: Tensor) -> Constants:
        """From what :meth:`packed` gives."""
        theta_E, *others = values.unbind(1)  # noqa: N806
        halo, (gamma1, gamma2, *source) = others[: len(Ellipsoid._fields)], others[len(Ellipsoid._fields) :]
        return cls(theta_E, Ellipsoid(*halo), gamma1, gamma2, Sersic(*source))


def pixel_axis(count: int, scale: float, like: Tensor) -> Tensor:
    """Centres of ``count`` pixels around zero, in arcsec, on the device and in the precision of ``like``."""
    index = torch.arange(count, device=like.device, dtype=like.dtype)
    return (index - (count - 1) / 2) * scale


def grid_axis(optics: Optics, like: Tensor) -> Tensor:
    """Where the sky is evaluated: supersampled pixels, beyond the frame by the radius of the blur.

    So light from outside scatters in, as it does on the sky.
    """
    return pixel_axis(optics.grid[0], optics.pixel_scale_arcsec / optics.supersampling, like)


def point_masses(scene: Scene, optics: Optics) -> PointMasses | None:
    """The point masses of a scene on the grid, or None where it has none."""
    if scene.mass_x.shape[1] == 0:
        return None
    return rows_function(optics, False)(scene.mass_x, scene.mass_y, scene.mass_theta_E_sq)


def sky_brightness(c: Constants, mass_x: Tensor, mass_y: Tensor, axis: Tensor, optics: Optics) -> Tensor:
    """Brightness of the lensed sky on the grid, before the optics, (n, h, w); rows are y.

    Args:
        c: Constants of the systems.
        mass_x, mass_y: Deflection by the point masses in arcsec, (n, h, w) or broadcastable.
        axis: Of the grid in x and in y, (w,): :func:`grid_axis`. Made inside, a compiled kernel would build it anew
            for every pixel, a fifth of its time.
        optics: Kind of halo, and the scale of deflections.
    """
    x, y = axis, axis[:, None]
    halo_x, halo_y = sis_deflection(x, y, c.theta_E) if optics.spherical else sie_deflection(x, y, c.halo)
    shear_x, shear_y = shear_deflection(x, y, c.gamma1, c.gamma2)
    scale = optics.deflection_scale
    source_x, source_y = x - scale * (halo_x + shear_x + mass_x), y - scale * (halo_y + shear_y + mass_y)
    return sersic_brightness(source_x, source_y, c.source)


def through_optics(sky: Tensor, optics: Optics) -> Tensor:
    """The sky on the grid, blurred and binned to the frame's pixels, (n, n_pix, n_pix)."""
    fine = optics.supersampling
    sigma = optics.psf_sigma_arcsec / optics.pixel_scale_arcsec * fine
    image = blur(sky, gaussian_taps(sigma, optics.psf_radius))
    if fine > 1:
        image = image.reshape(image.shape[0], optics.n_pix, fine, optics.n_pix, fine).mean((2, 4))
    return image


def expected_image(c: Constants, mass_x: Tensor, mass_y: Tensor, optics: Optics) -> Tensor:
    """Noise-free brightness per pixel, (n, n_pix, n_pix)."""
    return through_optics(sky_brightness(c, mass_x, mass_y, grid_axis(optics, c.theta_E), optics), optics)


def expose(rate: Tensor, exposure_s: Tensor, key: Tensor, detector: Detector, noisy: bool) -> Tensor:
    """Counts of an exposure.

    Args:
        rate: Brightness in counts per second and pixel, (n, h, w).
        exposure_s: Exposure times in seconds, (n, 1, 1).
        key: Noise keys, int32 (n, 2).
        detector: What it adds.
        noisy: False gives the expected counts.
    """
    if detector.kind == "doubled":
        return 2.0 * rate
    expected = exposure_s * (rate + detector.sky_rate)
    if not noisy:
        return expected
    height, width = rate.shape[-2:]

    def bits(stream: int) -> Tensor:
        return noise.random_bits(key, height, width, stream)

    if detector.kind == "shot_twice":
        shot = noise.normal(bits(1)) * torch.sqrt(rate.abs() / exposure_s)
        background = noise.normal(bits(2)) * detector.background_rms
        return noise.poisson((exposure_s * (rate + shot + background)).clamp_min(0.0), bits(0))
    counts = noise.poisson(expected, bits(0), small_rates=detector.min_counts < noise.SMALL_RATE)
    if detector.read_noise or detector.background_rms:
        rms = torch.sqrt(detector.read_noise**2 + (detector.background_rms * exposure_s) ** 2)
        counts = counts + noise.normal(bits(1)) * rms
    return counts


def scale_to_unit(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images scaled to [0, 1] (n, h, w), and the minimum and maximum they were scaled by, (n,) each."""
    low, high = counts.amin((1, 2)), counts.amax((1, 2))
    span = (high - low).clamp_min(torch.finfo(counts.dtype).tiny)
    return (counts - per_image(low)) / per_image(span), low, high


# Several compiled functions, not one: fused further, the compiler would work out the sky anew for each tap of the
# blur, and take minutes over it.

FUSED_MULTIPLY_ADD: dict[str, Any] = {"cpp.enable_floating_point_contract_flag": "fast"}
"""A tenth faster; the last bit of the sky may then differ from the eager one."""


@cache
def rows_function(optics: Optics, compiled: bool) -> Callable:
    """:func:`point_masses` of the three tensors (n, k) that hold them, for one camera."""

    def rows(mass_x: Tensor, mass_y: Tensor, theta_E_sq: Tensor) -> PointMasses:
        axis = grid_axis(optics, mass_x)
        return PointMasses.of(axis, axis, mass_x, mass_y, theta_E_sq)

    return torch.compile(rows, dynamic=False) if compiled else rows


@cache
def masses_function(compiled: bool) -> Callable:
    """A function of :class:`PointMasses` that gives their summed deflection, (n, h, w) in x and in y."""

    def summed(masses: PointMasses) -> tuple[Tensor, Tensor]:
        ax, ay = pair_deflection(masses)
        return ax.sum(1), ay.sum(1)

    # The pull of a pair is used twice and read from many tensors; by default the compiler would write it to
    # memory for every mass and pixel instead of keeping it in registers.
    inline: dict[str, Any] = {f"realize_{what}_threshold": 1000 for what in ("reads", "opcount", "acc_reads")}
    options = inline | FUSED_MULTIPLY_ADD
    return torch.compile(summed, dynamic=False, options=options) if compiled else point_masses_deflection


@cache
def sky_function(optics: Optics, compiled: bool) -> Callable:
    """:func:`sky_brightness` for one camera, a function of (packed constants, mass_x, mass_y, axis of the grid)."""

    def sky(packed: Tensor, mass_x: Tensor, mass_y: Tensor, axis: Tensor) -> Tensor:
        return sky_brightness(Constants.unpacked(packed), mass_x, mass_y, axis, optics)

    return torch.compile(sky, dynamic=False, options=FUSED_MULTIPLY_ADD) if compiled else sky


@cache
def picture_function(optics: Optics, detector: Detector, noisy: bool, compiled: bool) -> Callable:
    """A function (sky, exposure_s, key) -> images scaled to [0, 1], minima, maxima, for one camera."""

    def picture(sky: Tensor, exposure_s: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return scale_to_unit(expose(through_optics(sky, optics), exposure_s, key, detector, noisy))

    return torch.compile(picture, dynamic=False) if compiled else picture
