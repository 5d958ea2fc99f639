"""Augmentation of a whole batch on its device, a function of its generator's seed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from deeplense_core.spec import knob


@dataclass(frozen=True)
class AugmentConfig:
    flips_and_turns: bool = knob(True, "One of the eight flips and quarter turns for each image (exact)",
                                 group="augmentation")
    rotation: bool = knob(False, "Any angle of rotation (bilinear resampling)", group="augmentation")
    shift: int = knob(0, "Largest shift in x and y", ge=0, le=64, unit="pixels", group="augmentation")
    noise: float = knob(0.0, "Extra Gaussian noise, as a fraction of each image's spread", ge=0, le=1,
                        group="augmentation")


def strong_view(cfg: AugmentConfig) -> AugmentConfig:
    """Views that differ as much as images of one object may: turned by any angle, shifted, in more noise."""
    return replace(cfg, flips_and_turns=True, rotation=True, shift=max(4, cfg.shift), noise=max(0.2, cfg.noise))


def augment(
    images: Float[Tensor, "b c h w"], cfg: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Draws one transform an image from ``generator`` and applies it to the batch at once.

    Non-square images get flips and half turns only, since a quarter turn would change their shape.
    """
    if cfg.flips_and_turns:
        images = _flips_and_turns(images, generator)
    if cfg.rotation:
        images = _rotate(images, generator)
    if cfg.shift:
        images = _shift(images, cfg.shift, generator)
    if cfg.noise:
        spread = images.std((1, 2, 3), keepdim=True)
        noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        there = images.amax((2, 3), keepdim=True) > images.amin((2, 3), keepdim=True)  # a missing band stays missing
        images = images + cfg.noise * spread * noise * there
    return images


def d4(images: Float[Tensor, "b c h w"], element: int) -> Float[Tensor, "b c h2 w2"]:
    """Element 0..7 of the symmetry group of the square: ``element % 4`` quarter turns, then a
    left-right flip first if ``element >= 4``."""
    if element >= 4:
        images = images.flip(-1)
    return images.rot90(element % 4, (-2, -1))


def d4_undone(images: Float[Tensor, "b c h w"], element: int) -> Float[Tensor, "b c h2 w2"]:
    """The inverse of :func:`d4`."""
    images = images.rot90(-(element % 4), (-2, -1))
    return images.flip(-1) if element >= 4 else images


def _flips_and_turns(images: Tensor, generator: torch.Generator) -> Tensor:
    choice = torch.randint(8, (len(images),), generator=generator, device=generator.device).to(images.device)
    square = images.shape[-1] == images.shape[-2]
    out = torch.empty_like(images)
    for element in range(8):
        rows = choice == element
        turned = element if square else element - element % 2  # keep half turns and flips only
        out[rows] = d4(images[rows], turned)
    return out


def _rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    angle = torch.rand(len(images), generator=generator, device=generator.device).to(images) * 2 * math.pi
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Whole-pixel shifts, the border repeated: no resampling, so noise stays as it is."""
    b, _, h, w = images.shape
    moves = torch.randint(-most, most + 1, (2, b, 1), generator=generator, device=generator.device)
    dy, dx = moves.to(images.device)
    rows = (torch.arange(h, device=images.device) + dy).clamp(0, h - 1)  # (b, h)
    cols = (torch.arange(w, device=images.device) + dx).clamp(0, w - 1)  # (b, w)
    batch = torch.arange(b, device=images.device)[:, None, None]
    return images.movedim(1, 3)[batch, rows[:, :, None], cols[:, None, :]].movedim(3, 1)
