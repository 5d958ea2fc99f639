"""From a stored image to the network's input: one fixed, recorded chain of steps.

The same chain runs in training, evaluation and prediction, so what a network saw is what it gets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from deeplense_core.spec import knob

STRETCHES = ("sqrt", "log", "asinh", "none")
MANY_SCALES_SLACK = 0.05
"""A network that was trained at many pixel scales is given pixels up to this much beyond them as they are: HSC's 0.168
arcsec need no resampling where 0.17 was the smallest."""
FRAME = 8
"""The sky is measured in a frame that is one part in FRAME of the image wide on each side."""


@dataclass(frozen=True)
class PreprocessConfig:
    crop: int = knob(0, "Side of the central square that the network sees; 0 keeps the whole image",
                     ge=0, le=1024, unit="pixels", group="input")
    normalise: str = knob("minmax", "Scale each band of each image to [0, 1] by its own minimum and maximum "
                          "(as the published sets are); sky: in units of its own noise above its own sky, whatever the "
                          "zero point; or leave values as they are", choices=("minmax", "sky", "none"), group="input")
    stretch: str = knob("sqrt", "Brightness stretch; the square root makes photon noise equal everywhere, asinh "
                        "keeps faint things linear (for units of the sky noise)",
                        choices=STRETCHES, group="input")


def preprocess(
    images: Float[Tensor, "b c h w"], cfg: PreprocessConfig
) -> Float[Tensor, "b c h2 w2"]:
    """Crops the centre, scales and stretches. Values end near zero mean and unit spread."""
    x = center_crop(images, cfg.crop) if cfg.crop else images
    if cfg.normalise == "minmax":
        low = x.amin((2, 3), keepdim=True)
        x = (x - low) / (x.amax((2, 3), keepdim=True) - low).clamp_min(1e-12)
    if cfg.normalise == "sky":
        x = in_sky_noise(x)
    if cfg.stretch == "sqrt":
        # Offsets and factors bring common-test images to about zero mean and unit spread.
        return ((x.clamp_min(0) + 0.003).sqrt() - 0.15) * 8
    if cfg.stretch == "log":
        return torch.log1p(10 * x.clamp_min(0)) * 2 - 0.5
    return torch.asinh(x / 2) if cfg.stretch == "asinh" else x


def in_sky_noise(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each band in units of its own noise above its own sky: median and normalised median deviation of the frame.

    Pixels without data become 0, the sky; so does a whole band that is missing, and one that has no noise to measure.
    """
    h, w = images.shape[-2:]
    inside = torch.zeros(h, w, dtype=torch.bool, device=images.device)
    inside[max(1, h // FRAME) : h - max(1, h // FRAME), max(1, w // FRAME) : w - max(1, w // FRAME)] = True
    empty = without_data(images)
    frame = images.masked_fill(empty, torch.nan)[..., ~inside]
    sky = frame.nanmedian(2, keepdim=True).values
    noise = 1.4826 * (frame - sky).abs().nanmedian(2, keepdim=True).values[..., None]
    scaled = (images - sky[..., None]) / noise.clamp_min(1e-30)
    return torch.where((noise > 0) & ~empty, scaled, 0.0)


def without_data(images: Float[Tensor, "b c h w"]) -> Bool[Tensor, "b c h w"]:
    """Pixels that are not finite, or have the one value of their band that stands three times in a row or a column.

    Where several values do, as in whole counts or pictures of 8 bits, that means nothing.
    """
    across, down = images[..., 1:] == images[..., :-1], images[..., 1:, :] == images[..., :-1, :]
    across, down = across[..., 1:] & across[..., :-1], down[..., 1:, :] & down[..., :-1, :]
    high, low = (torch.maximum(images[..., 2:].masked_fill(~across, -torch.inf).amax((2, 3)),
                               images[..., 2:, :].masked_fill(~down, -torch.inf).amax((2, 3))),
                 torch.minimum(images[..., 2:].masked_fill(~across, torch.inf).amin((2, 3)),
                               images[..., 2:, :].masked_fill(~down, torch.inf).amin((2, 3))))
    value = torch.where(high == low, high, torch.nan)[..., None, None]
    return (images == value) | ~images.isfinite()


def center_crop(images: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c s s"]:
    """The central ``side`` x ``side`` pixels; smaller images are padded with their border value."""
    h, w = images.shape[-2:]
    short_h, short_w = max(0, side - h), max(0, side - w)
    if short_h or short_w:
        pad = (short_w // 2, short_w - short_w // 2, short_h // 2, short_h - short_h // 2)
        images = F.pad(images, pad, mode="replicate")
        h, w = images.shape[-2:]
    top, left = (h - side) // 2, (w - side) // 2
    return images[..., top : top + side, left : left + side]


def rescale(
    images: Float[Tensor, "b c h w"], factor: float
) -> Float[Tensor, "b c h2 w2"]:
    """Resamples by ``factor`` (new pixels per old pixel), surface brightness kept, antialiased."""
    size = rescaled_size(images.shape[-2:], factor)
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)


def resampling(
    size: Sequence[int], pixel_scale_arcsec: float | None, field: Sequence[int], scales: tuple[float, float] | None
) -> float:
    """By how much (new pixels per old pixel) to resample an image for a network that was trained on other images.

    Args:
        size: Height and width of the image.
        pixel_scale_arcsec: Of the image; None where unknown.
        field: Height and width of the training images.
        scales: Smallest and largest pixels of the training images in arcsec; None where unknown.

    Returns:
        1 for pixels as in training, else what brings them to the middle of the training scales. Where either scale is
        unknown, what brings the image to the height of the training images.
    """
    if pixel_scale_arcsec and scales:
        low, high = scales
        slack = 1 + (1e-3 if low == high else MANY_SCALES_SLACK)
        inside = low / slack < pixel_scale_arcsec < high * slack
        return 1.0 if inside else pixel_scale_arcsec / math.sqrt(low * high)
    return field[0] / size[0] if tuple(size) != tuple(field) else 1.0


def rescaled_size(size: Sequence[int], factor: float) -> tuple[int, int]:
    """Height and width after :func:`rescale`."""
    if abs(factor - 1) < 1e-3:
        return size[0], size[1]
    height, width = (max(8, round(side * factor)) for side in size)
    return height, width


def undo_fit(
    seen: Float[Tensor, "h w"], image: tuple[int, int], rescaled: tuple[int, int], sides: Sequence[int]
) -> Float[Tensor, "H W"]:
    """A map over what a network sees, laid back over the image that it was cut from; 0 where it saw nothing.

    Args:
        seen: The map, on the pixels of the network's input.
        image: Height and width of the image.
        rescaled: The same after :func:`rescale`.
        sides: Sides of the squares that :func:`center_crop` then took, one after the other.
    """
    places = []
    for old, new, length in zip(image, rescaled, seen.shape, strict=True):
        now, offset = new, 0
        for side in sides:
            offset += (now - side) // 2 if now >= side else -((side - now) // 2)
            now = side
        place = (torch.arange(old, device=seen.device) + 0.5) * (new / old) - offset  # from the edge of ``seen``
        places.append(2 * place / length - 1)
    grid = torch.stack(torch.meshgrid(places[1], places[0], indexing="xy"), -1).to(seen)
    return F.grid_sample(seen[None, None], grid[None], align_corners=False)[0, 0]
