"""A super-resolution network at work: whole, averaged over the symmetries of the square, or tile by tile."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.augment import d4, d4_undone
from deeplense_core.familiarity import frame_statistics
from deeplense_core.lanes import side_by_side

AT_ONCE_PIXELS = 12_000
"""Coarse pixels that a core works on at once: what a layer leaves for the next is then still in its cache."""


def enhance(net: nn.Module, images: Float[Tensor, "b c h w"], averaged: bool) -> Float[Tensor, "b c H W"]:
    """Fine images, float32; ``averaged`` takes the mean of eight: turned, made fine, and turned back exactly."""
    net.eval()
    few = len(images)
    if images.device.type == "cpu":
        few = max(1, AT_ONCE_PIXELS // (images.shape[-2] * images.shape[-1]))

    @torch.no_grad()
    def finer(part: Tensor) -> Tensor:
        return _averaged(net, part) if averaged else net(part).float()

    return torch.cat(list(side_by_side(finer, images.split(few), images.device)))


def _averaged(net: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
    total = d4_undone(net(d4(images, 0)).float(), 0)
    for element in range(1, 8):
        total += d4_undone(net(d4(images, element)).float(), element)
    return total / 8


def in_unit(
    net: nn.Module, images: Float[Tensor, "b c h w"], averaged: bool, noise: float | None
) -> Float[Tensor, "b c H W"]:
    """:func:`enhance` of images in a unit that the network has not learnt, on the way of :func:`brightness_unit`."""
    if noise is None:
        return enhance(net, images, averaged)
    factor, level = (torch.from_numpy(x).to(images) for x in brightness_unit(images.cpu().numpy(), noise))
    return enhance(net, (images - level) * factor, averaged) / factor + level


def brightness_unit(
    pixels: Float[np.ndarray, "b c h w"], noise: float | None
) -> tuple[Float[np.ndarray, "b 1 1 1"], Float[np.ndarray, "b 1 1 1"]]:
    """Factor and level that bring images of any unit to the noise and the sky of a network's training images.

    A network has learnt what is noise in one unit; in another it would smooth what is real, or keep what is not.
    The way there, ``(pixels - level) * factor``, is linear and undone exactly on the result.

    Args:
        pixels: Images; what they are counted in is not known.
        noise: Standard deviation of the sky in the training images; None (an interpolation) changes nothing.

    Returns:
        Factor, 1 where the image has no noise to go by, and level: the median of the outer frame.
    """
    one = np.ones((len(pixels), 1, 1, 1), np.float32)
    if noise is None:
        return one, 0 * one
    found, level = frame_statistics(pixels)
    factor = np.where(found > 0, noise / np.where(found > 0, found, 1), 1)
    return one * factor[:, None, None, None].astype(np.float32), one * level[:, None, None, None].astype(np.float32)
