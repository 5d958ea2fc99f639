"""A residual network for survey cutouts of some 40 to 100 pixels, where an arc is a few pixels wide."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.names import MODELS
from deeplense_core.spec import knob


@dataclass(frozen=True)
class CutoutResNetConfig:
    # Fewer than 8: backward of a 1x1 convolution of stride 2 writes past its memory (torch 2.15, CPU, channels last).
    width: int = knob(24, "Channels of the first stage; the next two double it", ge=8, le=128)
    blocks: int = knob(2, "Residual blocks in the second and third stage; the first has one", ge=1, le=8)
    dropout: float = knob(0.2, "Dropout before the last layer", ge=0, le=0.9)


@MODELS.register("cutout-resnet", config=CutoutResNetConfig, tasks=("find", "classify", "ssl"),
                 label="ResNet for cutouts", source="He et al. 2016, arXiv:1512.03385; the stem and widths are ours")
class CutoutResNet(nn.Module):
    """ResNet for small cutouts: its stem keeps every pixel, where that of ResNet18 keeps one in sixteen."""

    def __init__(self, cfg: CutoutResNetConfig, in_channels: int, out_features: int):
        super().__init__()
        self.body, features = cutout_tokens(cfg.width, cfg.blocks, in_channels)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head: nn.Module = nn.Identity()
        if out_features:
            self.head = nn.Sequential(nn.Dropout(cfg.dropout), nn.Linear(features, out_features))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.head(self.pool(self.body(images)))


def cutout_tokens(width: int, blocks: int, in_channels: int) -> tuple[nn.Sequential, int]:
    """The network without its head, (b, c, h, w) to (b, 4 width, h / 8, w / 8), and the channels it gives."""
    from torchvision.models.resnet import BasicBlock  # seconds to import, which forms need not wait for

    def stage(inputs: int, outputs: int, count: int) -> nn.Sequential:
        step = 1 if inputs == outputs else 2
        shorter = nn.Sequential(nn.Conv2d(inputs, outputs, 1, step, bias=False), nn.BatchNorm2d(outputs))
        first = BasicBlock(inputs, outputs, step, None if step == 1 else shorter)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(count - 1)))

    stem = nn.Sequential(nn.Conv2d(in_channels, width, 5, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.MaxPool2d(2))  # fmt: skip
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        stem=stem, layer1=stage(width, width, 1), layer2=stage(width, 2 * width, blocks),
        layer3=stage(2 * width, 4 * width, blocks),
    )  # fmt: skip
    return nn.Sequential(stages), 4 * width
