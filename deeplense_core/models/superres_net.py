"""What every super-resolution network shares: fixed units, a start at bicubic, and how far it looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.interpolation import KERNELS, enlarge

BICUBIC_REACH = KERNELS["bicubic"].reach


class OverBicubic(nn.Module):
    """A network's correction on top of bicubic interpolation, in and out in surface brightness.

    Values are divided by one fixed number, ``unit``, on the way in and multiplied by it on the way out: the same
    for every image, so no image is normalised by itself and flux survives.

    Attributes:
        reach: Old pixels beyond its own that can change a new pixel: what tiles must overlap by.
    """

    def __init__(self, body: nn.Module, scale: int, unit: float, reach: int):
        super().__init__()
        self.body, self.scale, self.unit = body, scale, unit
        self.reach = max(reach, BICUBIC_REACH)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        x = images.float() / self.unit
        correction = self.body(x).float()
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has three digits: fewer than noise leaves
            return (correction + enlarge(x, self.scale)) * self.unit


def conv(inputs: int, outputs: int, side: int = 3) -> nn.Conv2d:
    """A convolution that keeps the image's size."""
    return nn.Conv2d(inputs, outputs, side, padding=side // 2)


def initialise(net: nn.Module, last: nn.Conv2d) -> None:
    """He's initialisation; the ``last`` layer starts at zero, so that the net starts at bicubic."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)


class SubPixel(nn.Sequential):
    """Sub-pixel upsampling (Shi et al. 2016, arXiv:1609.05158): steps of 2, each a convolution and a shuffle."""

    def __init__(self, width: int, scale: int):
        steps: list[nn.Module] = []
        for factor in factors(scale):
            steps += [conv(width, width * factor**2), nn.PixelShuffle(factor)]
        super().__init__(*steps)


def factors(scale: int) -> Sequence[int]:
    """``scale`` as steps: none for 1 (a network that refines), 2, 3, and 4 as 2 and 2."""
    return {1: (), 4: (2, 2)}.get(scale, (scale,))


def sub_pixel_reach(scale: int) -> int:
    """Old pixels that :class:`SubPixel` and a 3 x 3 convolution after it look beyond their own, rounded up."""
    return len(factors(scale)) + 1
