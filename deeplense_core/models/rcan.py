"""RCAN: residual blocks that weigh their channels by what is around."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from deeplense_core.models.names import MODELS
from deeplense_core.models.superres_net import OverBicubic, SubPixel, conv, initialise, sub_pixel_reach
from deeplense_core.spec import knob


@dataclass(frozen=True)
class RcanConfig:
    width: int = knob(32, "Channels", ge=8, le=256, quick=16)
    groups: int = knob(2, "Residual groups", ge=1, le=16, quick=1)
    blocks: int = knob(4, "Attention blocks in a group", ge=1, le=32, quick=3)
    reduction: int = knob(4, "Channels are squeezed by this factor within the attention", choices=(2, 4, 8, 16))
    window: int = knob(15, "Side of the neighbourhood that the attention averages over", choices=(7, 11, 15, 21, 31),
                       unit="pixels")


class ChannelAttention(nn.Module):
    """A factor between 0 and 1 for each channel, from its mean around each pixel.

    The paper takes the mean over the whole image. Over a window, the answer does not depend on how large a cut-out
    is (Chu et al. 2022, arXiv:2112.04491), so training patches, stamps and tiles of a survey image agree.
    """

    def __init__(self, width: int, reduction: int, window: int):
        super().__init__()
        self.window = window
        self.squeeze = nn.Conv2d(width, width // reduction, 1)
        self.excite = nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        side, half = self.window, self.window // 2
        mean = F.avg_pool2d(x, (side, 1), 1, (half, 0), count_include_pad=False)
        mean = F.avg_pool2d(mean, (1, side), 1, (0, half), count_include_pad=False)
        return x * self.excite(self.squeeze(mean).relu()).sigmoid()


class AttentionBlock(nn.Module):
    """RCAB: convolution, ReLU, convolution, attention, added to the input."""

    def __init__(self, cfg: RcanConfig):
        super().__init__()
        self.first, self.second = conv(cfg.width, cfg.width), conv(cfg.width, cfg.width)
        self.attention = ChannelAttention(cfg.width, cfg.reduction, cfg.window)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.second(self.first(x).relu()))


class Group(nn.Module):
    """Attention blocks and a convolution, with a skip around them."""

    def __init__(self, cfg: RcanConfig):
        super().__init__()
        self.blocks = nn.Sequential(*(AttentionBlock(cfg) for _ in range(cfg.blocks)), conv(cfg.width, cfg.width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.blocks(x)


class RcanBody(nn.Module):
    """Head, residual groups with a skip around them all, upsampling, and the image."""

    def __init__(self, cfg: RcanConfig, channels: int, scale: int):
        super().__init__()
        self.head = conv(channels, cfg.width)
        self.groups = nn.Sequential(*(Group(cfg) for _ in range(cfg.groups)), conv(cfg.width, cfg.width))
        self.up = SubPixel(cfg.width, scale)
        self.tail = conv(cfg.width, channels)
        initialise(self, self.tail)
        for module in self.groups.modules():
            if isinstance(module, AttentionBlock):  # starts as the identity
                nn.init.zeros_(module.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        x = x + self.groups(x)
        return self.tail(self.up(x))


@MODELS.register("rcan", config=RcanConfig, tasks=("superres",), source="Zhang et al. 2018, arXiv:1807.02758",
                 label="RCAN", learns=True)
def rcan(cfg: RcanConfig, in_channels: int, scale: int, unit: float) -> nn.Module:
    """RCAN, residual groups with channel attention, which here looks at a neighbourhood (218 thousand parameters)."""
    per_group = cfg.blocks * (2 + cfg.window // 2) + 1
    reach = 2 + cfg.groups * per_group + sub_pixel_reach(scale)
    return OverBicubic(RcanBody(cfg, in_channels, scale), scale, unit, reach)
