"""A super-resolution network at work: whole, averaged over the symmetries of the square, or tile by tile."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.augment import d4


def turn_back(images: Float[Tensor, "b c h w"], element: int) -> Float[Tensor, "b c h2 w2"]:
    """The inverse of :func:`deeplense_core.augment.d4`."""
    images = images.rot90(-(element % 4), (-2, -1))
    return images.flip(-1) if element >= 4 else images


@torch.no_grad()
def enhance(net: nn.Module, images: Float[Tensor, "b c h w"], averaged: bool) -> Float[Tensor, "b c H W"]:
    """Fine images, float32; ``averaged`` takes the mean of eight: turned, made fine, and turned back exactly."""
    net.eval()
    if not averaged:
        return net(images).float()
    total = turn_back(net(d4(images, 0)).float(), 0)
    for element in range(1, 8):
        total += turn_back(net(d4(images, element)).float(), element)
    return total / 8
