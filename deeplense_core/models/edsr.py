"""EDSR: residual blocks without normalisation at the coarse scale, then sub-pixel upsampling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from deeplense_core.models.names import MODELS
from deeplense_core.models.superres_net import OverBicubic, SubPixel, conv, initialise, sub_pixel_reach
from deeplense_core.spec import knob


@dataclass(frozen=True)
class EdsrConfig:
    width: int = knob(32, "Channels", ge=4, le=256, quick=16)
    blocks: int = knob(8, "Residual blocks", ge=1, le=64, quick=4)
    residual_scale: float = knob(1.0, "Factor of each block's branch; 0.1 steadies wide networks", ge=0.01, le=1)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, width: int, scale: float):
        super().__init__()
        self.first, self.second, self.scale = conv(width, width), conv(width, width), scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.second(self.first(x).relu())


class EdsrBody(nn.Module):
    """Head, residual blocks with a skip around them all, upsampling, and the image."""

    def __init__(self, cfg: EdsrConfig, channels: int, scale: int):
        super().__init__()
        self.head = conv(channels, cfg.width)
        self.blocks = nn.Sequential(*(ResidualBlock(cfg.width, cfg.residual_scale) for _ in range(cfg.blocks)),
                                    conv(cfg.width, cfg.width))
        self.up = SubPixel(cfg.width, scale)
        self.tail = conv(cfg.width, channels)
        initialise(self, self.tail)
        for block in self.blocks:
            if isinstance(block, ResidualBlock):  # starts as the identity, so that depth does not blow values up
                nn.init.zeros_(block.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)  # (b, width, h, w)
        x = x + self.blocks(x)
        return self.tail(self.up(x))  # (b, c, h s, w s)


@MODELS.register("edsr", config=EdsrConfig, tasks=("superres",), source="Lim et al. 2017, arXiv:1707.02921",
                 label="EDSR", learns=True)
def edsr(cfg: EdsrConfig, in_channels: int, scale: int, unit: float) -> nn.Module:
    """EDSR, residual blocks without batch norm at the coarse scale (195 thousand parameters)."""
    reach = 2 + 2 * cfg.blocks + sub_pixel_reach(scale)
    return OverBicubic(EdsrBody(cfg, in_channels, scale), scale, unit, reach)
