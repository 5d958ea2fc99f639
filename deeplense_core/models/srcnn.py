"""SRCNN: enlarge first, then three convolutions on the fine grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from deeplense_core.models.interpolation import enlarge
from deeplense_core.models.names import MODELS
from deeplense_core.models.superres_net import BICUBIC_REACH, OverBicubic, conv, initialise
from deeplense_core.spec import knob


@dataclass(frozen=True)
class SrcnnConfig:
    width: int = knob(64, "Channels of the first layer", ge=4, le=256)
    narrow: int = knob(32, "Channels of the second layer", ge=4, le=256)
    first: int = knob(9, "Side of the first layer's filters", choices=(5, 7, 9, 11, 13), unit="pixels")
    middle: int = knob(1, "Side of the second layer's filters", choices=(1, 3, 5), unit="pixels")
    last: int = knob(5, "Side of the last layer's filters", choices=(3, 5, 7), unit="pixels")


class SrcnnBody(nn.Module):
    """Bicubic, then filters of sides 9, 1 and 5."""

    def __init__(self, cfg: SrcnnConfig, channels: int, scale: int):
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            conv(channels, cfg.width, cfg.first), nn.ReLU(),
            conv(cfg.width, cfg.narrow, cfg.middle), nn.ReLU(),
            conv(cfg.narrow, channels, cfg.last),
        )
        initialise(self, self.layers[-1])  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(enlarge(x, self.scale))  # (b, c, h, w) -> (b, c, h s, w s)


@MODELS.register("srcnn", config=SrcnnConfig, tasks=("superres",), source="Dong et al. 2014, arXiv:1501.00092",
                 label="SRCNN", learns=True)
def srcnn(cfg: SrcnnConfig, in_channels: int, scale: int, unit: float) -> nn.Module:
    """SRCNN, three layers after bicubic interpolation; they learn what bicubic lacks (8 thousand parameters)."""
    beyond = (cfg.first + cfg.middle + cfg.last - 3) // 2  # new pixels
    return OverBicubic(SrcnnBody(cfg, in_channels, scale), scale, unit, -(-beyond // scale) + BICUBIC_REACH)
