"""ResNets: the seed's ResNet50 with its own head, and a plain ResNet18."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from deeplense_core.models.names import MODELS
from deeplense_core.models.weights import replace_first_conv, with_pretrained
from deeplense_core.spec import knob

if TYPE_CHECKING:
    from torchvision.models import ResNet

SOURCE = "He et al. 2016, arXiv:1512.03385"


@dataclass(frozen=True)
class ResNet50Config:
    pretrained: bool = knob(True, "Start from ImageNet weights where they can be fetched")
    dropout: float = knob(0.5, "Dropout before the last layer", ge=0, le=0.9)


@dataclass(frozen=True)
class ResNet18Config:
    pretrained: bool = knob(False, "Start from ImageNet weights where they can be fetched")
    dropout: float = knob(0.0, "Dropout before the last layer", ge=0, le=0.9)


@MODELS.register("resnet18", config=ResNet18Config, tasks=("classify", "find", "ssl"), source=SOURCE,
                 label="ResNet18")
def resnet18(cfg: ResNet18Config, in_channels: int, out_features: int) -> nn.Module:
    """ResNet18: the plain, fast baseline of the field (11.2 million parameters)."""
    net = _torchvision("resnet18", cfg.pretrained, in_channels)
    head = nn.Sequential(nn.Dropout(cfg.dropout), nn.Linear(512, out_features)) if out_features else nn.Identity()
    net.fc = head  # pyright: ignore[reportAttributeAccessIssue]
    return net


@MODELS.register("resnet50", config=ResNet50Config, tasks=("classify", "find", "ssl"), source=SOURCE,
                 label="ResNet50 (seed)")
def resnet50(cfg: ResNet50Config, in_channels: int, out_features: int) -> nn.Module:
    """ResNet50 with the seed's head: flatten, batch norm, dropout, dense (23.5 million parameters).

    The softmax of the recipe is part of the loss while training and of the prediction afterwards.
    """
    net = _torchvision("resnet50", cfg.pretrained, in_channels)
    head: nn.Module = nn.Identity()
    if out_features:
        head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2048), nn.Dropout(cfg.dropout), nn.Linear(2048, out_features))
    net.fc = head  # pyright: ignore[reportAttributeAccessIssue]
    return net


def _torchvision(name: str, pretrained: bool, in_channels: int) -> ResNet:
    import torchvision  # seconds to import: forms that only list the networks do not wait for it

    def build(with_weights: bool) -> nn.Module:
        return torchvision.models.get_model(name, weights="IMAGENET1K_V1" if with_weights else None)

    net = with_pretrained(pretrained, build, f"ImageNet weights of {name}")
    assert isinstance(net, torchvision.models.ResNet)
    net.conv1 = replace_first_conv(net.conv1, in_channels)
    return net
