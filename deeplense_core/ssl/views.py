"""Views of one lens that leave its physics alone: what a network shall find equal.

Every change is drawn for each image on its own and applied to the whole batch on its device. What they keep:

- flips, any rotation and shifts below a pixel: nothing about a lens depends on how the camera was turned;
- noise and a wider point-spread function: the same lens, observed worse. They wipe out faint substructure, so their
  defaults are mild;
- contrast of each band: zero points that are not known.

There is no zoom unless it is asked for: it changes the Einstein radius, and with it the mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from deeplense_core.augment import AugmentConfig, augment
from deeplense_core.spec import knob

BLUR_REACH = 3.0
"""Half width of the blur's kernel, in its widest sigma."""
TURNS = AugmentConfig(flips_and_turns=True)


@dataclass(frozen=True)
class ViewConfig:
    flips: bool = knob(True, "Flips and quarter turns (exact)", group="views")
    rotation: bool = knob(True, "Rotation by any angle (resampled)", group="views")
    shift: float = knob(2.0, "Largest shift in x and y, fractions of a pixel included", ge=0, le=64, unit="pixels",
                        group="views")
    zoom: float = knob(0.0, "Largest change of size, as a fraction: changes the Einstein radius", ge=0, le=0.5,
                       group="views")
    blur: float = knob(0.0, "Widest Gaussian (sigma) by which an image is blurred further", ge=0, le=8, unit="pixels",
                       group="views")
    noise: float = knob(0.02, "Most Gaussian noise added, in units of each image's spread", ge=0, le=2, group="views")
    jitter: float = knob(0.1, "Largest change of each band's contrast, as a fraction", ge=0, le=1, group="views")


def view(
    images: Float[Tensor, "b c h w"], cfg: ViewConfig, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """One view of each image, before it is scaled and stretched; a function of the generator's state alone."""
    if cfg.flips:
        images = augment(images, TURNS, generator)
    if cfg.rotation or cfg.shift or cfg.zoom:
        images = moved(images, cfg, generator)
    if cfg.blur:
        images = blurred(images, cfg.blur, generator)
    if cfg.noise:
        images = noised(images, cfg.noise, generator)
    return images


def _drawn(images: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers in [0, 1) for each image, (b, *shape), on the images' device."""
    return torch.rand(len(images), *shape, generator=generator).to(images)


def moved(images: Float[Tensor, "b c h w"], cfg: ViewConfig, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Rotation, shift and zoom about the centre in one bilinear resampling; the border is mirrored."""
    h, w = images.shape[-2:]
    u = _drawn(images, generator, 4)
    angle = 2 * math.pi * u[:, 0] if cfg.rotation else torch.zeros_like(u[:, 0])
    size = 1 + cfg.zoom * (2 * u[:, 1] - 1)
    dx, dy = (cfg.shift * (2 * u[:, i] - 1) for i in (2, 3))
    cos, sin = angle.cos() / size, angle.sin() / size
    # Coordinates run from -1 to 1 along each side, so a rotation of a frame that is not square needs both sides.
    theta = torch.stack([torch.stack([cos, -sin * h / w, 2 * dx / w], 1),
                         torch.stack([sin * w / h, cos, 2 * dy / h], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def blurred(images: Float[Tensor, "b c h w"], widest: float, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Convolved with a Gaussian whose sigma is drawn from 0 to ``widest`` pixels for each image."""
    b, c, h, w = images.shape
    sigma = (widest * _drawn(images, generator)).clamp_min(1e-3)
    reach = min(math.ceil(BLUR_REACH * widest), h - 1, w - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]  # (b c, 1, k)
    x = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, b * c, h + 2 * reach, w + 2 * reach)
    x = F.conv2d(F.conv2d(x, kernel[:, :, :, None], groups=b * c), kernel[:, :, None], groups=b * c)
    return x.reshape(b, c, h, w)


def noised(images: Float[Tensor, "b c h w"], most: float, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """White noise of a strength drawn from 0 to ``most`` times each band's spread."""
    strength = most * _drawn(images, generator, 1, 1, 1) * images.std((2, 3), keepdim=True)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    on_device = torch.Generator(images.device).manual_seed(seed)
    z = torch.randn(images.shape, generator=on_device, device=images.device, dtype=images.dtype)
    return images + strength * z


def jittered(
    inputs: Float[Tensor, "b c h w"], most: float, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Scaled and stretched images with the contrast of each band changed by up to ``most``.

    It comes after the scaling, which would undo it.
    """
    return inputs * (1 + most * (2 * _drawn(inputs, generator, inputs.shape[1], 1, 1) - 1))
