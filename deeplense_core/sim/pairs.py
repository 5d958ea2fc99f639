"""Pairs: one sky seen by a coarse and by a fine camera, each with its own blur, pixels and noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from deeplense_core.sim import noise
from deeplense_core.sim.profiles import Sersic, per_image, sersic_brightness
from deeplense_core.sim.render import grid_axis
from deeplense_core.sim.scene import LensLight, Optics, PairCameras, Scene, TwoLooks
from deeplense_core.superres.observe import apply_operator, gaussian_operator

LR_STREAM, HR_STREAM = 0, 1
"""Streams of random numbers: the two exposures have nothing in common."""


def galaxy_light(galaxy: LensLight, q: Tensor, phi: Tensor, optics: Optics) -> Tensor:
    """Brightness of the lens galaxy in the middle of the grid, (n, h, w); ``q`` and ``phi`` are (n,)."""
    zero = torch.zeros_like(q)
    profile = Sersic.of(zero, zero, galaxy.lens_R_e, galaxy.lens_n, q, phi, galaxy.lens_amplitude)
    axis = grid_axis(optics, q)
    return sersic_brightness(axis, axis[:, None], profile)


def blurs(pair: PairCameras, optics: Optics, looks: TwoLooks) -> tuple[Tensor, Tensor]:
    """Matrices that blur and bin the grid for the coarse and for the fine camera, (n or 1, pixels, grid)."""
    fine = pair.hr_pixel_scale_arcsec / pair.supersampling
    operators = []
    for sigma, count, step in (
        (looks.lr_psf_sigma, pair.lr_n_pix, pair.scale * pair.supersampling),
        (looks.hr_psf_sigma, pair.hr_n_pix, pair.supersampling),
    ):
        same = bool((sigma == sigma[0]).all())
        operators.append(gaussian_operator(sigma[: 1 if same else None] / fine, optics.psf_radius, count, step))
    return operators[0], operators[1]


def measure(brightness: Tensor, sky: Tensor, counts_per_unit: Tensor, bits: Tensor, small_rates: bool) -> Tensor:
    """An exposure, turned back into brightness above the sky, (n, h, w); the last three but bits are (n, 1, 1)."""
    counts = noise.poisson(counts_per_unit * (brightness + sky), bits, small_rates)
    return counts / counts_per_unit - sky


@cache
def pair_function(pair: PairCameras, optics: Optics, noisy: bool, compiled: bool) -> Callable:
    """A function (lensed sky, scene, key) -> coarse images, fine images, for one pair of cameras."""

    def expose(sky: Tensor, lr_blur: Tensor, hr_blur: Tensor, looks: TwoLooks, key: Tensor) -> tuple[Tensor, Tensor]:
        images = []
        for blur, per_unit, stream, least in (
            (lr_blur, looks.lr_counts_per_unit, LR_STREAM, pair.lr_min_counts),
            (hr_blur, looks.hr_counts_per_unit, HR_STREAM, pair.hr_min_counts),
        ):
            image = apply_operator(blur, sky)
            if noisy:
                bits = noise.random_bits(key, image.shape[-2], image.shape[-1], stream)
                image = measure(image, per_image(looks.sky), per_image(per_unit), bits, least < noise.SMALL_RATE)
            images.append(image)
        return images[0], images[1]

    def light(galaxy: LensLight, q: Tensor, phi: Tensor) -> Tensor:
        return galaxy_light(galaxy, q, phi, optics)

    if compiled:
        expose, light = torch.compile(expose, dynamic=False), torch.compile(light, dynamic=False)

    def take(sky: Tensor, scene: Scene, key: Tensor) -> tuple[Tensor, Tensor]:
        assert scene.looks is not None, "a recipe with a pair of cameras draws how they look"
        if scene.lens_light is not None:
            sky = sky + light(scene.lens_light, scene.q, scene.phi)
        return expose(sky, *blurs(pair, optics, scene.looks), scene.looks, key)

    return take
