"""The seed's encoder: convolutions of four quarter turns, added up, then attention; and an exact version of it.

A convolutional network reads the image in its four quarter turns. As the seed has it, the four feature maps are added
as they are (``combine=added``): the sum no longer knows where things were, since each map lies turned by another
quarter. Its value does not change when the image turns, but the map does not turn with it, so places of different
light are mixed. In our version (``combine=turned-back``) each map is turned back before it is added: then the map
turns with the image exactly, whatever the network in the middle, and attention over its places, which know only their
distance from the centre, gives features that no quarter turn changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.names import MODELS
from deeplense_core.models.weights import replace_first_conv, with_pretrained
from deeplense_core.spec import knob

COMBINATIONS = ("turned-back", "added")
BACKBONES = ("resnet50", "resnet18")
FREQUENCIES = 8
"""Cosines of the distance from the centre that tell a place."""


@dataclass(frozen=True)
class EquivariantTransformerConfig:
    combine: str = knob("turned-back", "How the maps of the four quarter turns are combined: turned back and added "
                        "(exactly equivariant), or added as they are (the seed)", choices=COMBINATIONS)
    backbone: str = knob("resnet50", "Convolutional network that reads each turn", choices=BACKBONES)
    pretrained: bool = knob(True, "Start from ImageNet weights where they can be fetched")
    width: int = knob(256, "Length of the vectors that attend to each other, a multiple of the heads", ge=16, le=2048)
    layers: int = knob(2, "Layers of attention", ge=1, le=12)
    heads: int = knob(4, "Heads of attention", ge=1, le=16)
    dropout: float = knob(0.0, "Dropout before the last layer", ge=0, le=0.9)


@MODELS.register("equivariant-transformer", config=EquivariantTransformerConfig, tasks=("classify", "find", "ssl"),
                 source="the seed's; Vaswani et al. 2017, arXiv:1706.03762", label="Equivariant transformer (seed)")
class EquivariantTransformer(nn.Module):
    """Equivariant transformer: convolutions of four quarter turns added up, then attention (the seed's encoder)."""

    def __init__(self, cfg: EquivariantTransformerConfig, in_channels: int, out_features: int):
        super().__init__()
        self.turned_back = cfg.combine == "turned-back"
        self.backbone, size = _backbone(cfg, in_channels)
        self.weights_origin = self.backbone.weights_origin
        width = cfg.heads * max(1, round(cfg.width / cfg.heads))
        self.shrink = nn.Conv2d(size, width, 1)
        self.place = nn.Linear(FREQUENCIES, width)
        layer = nn.TransformerEncoderLayer(width, cfg.heads, 2 * width, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.attention = nn.TransformerEncoder(layer, cfg.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head: nn.Module = nn.Identity()
        if out_features:
            self.head = nn.Sequential(nn.Dropout(cfg.dropout), nn.Linear(width, out_features))

    def feature_map(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """The four turns combined. Images that are not square are read in two: as they are and upside down."""
        turns = range(4) if images.shape[-1] == images.shape[-2] else (0, 2)
        combined = []
        for turn in turns:
            turned = self.backbone(images.rot90(turn, (-2, -1)).contiguous(memory_format=torch.channels_last))
            combined.append(turned.rot90(-turn, (-2, -1)) if self.turned_back else turned)
        return torch.stack(combined).sum(0)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        x = self.shrink(self.feature_map(images))
        tokens = x.flatten(2).mT + self.place(_distances(x)).flatten(0, 1)  # (b, y x, d)
        return self.head(self.norm(self.attention(tokens)).mean(1))


def _distances(x: Float[Tensor, "b d y x"]) -> Float[Tensor, "y x f"]:
    """Cosines of the distance of each place from the centre: the same after any quarter turn or flip."""
    h, w = x.shape[-2:]
    row = (2 * torch.arange(h, device=x.device, dtype=torch.float32) + 1 - h) / max(h, w)
    column = (2 * torch.arange(w, device=x.device, dtype=torch.float32) + 1 - w) / max(h, w)
    square = row[:, None].square() + column.square()
    frequencies = torch.pi * torch.arange(FREQUENCIES, device=x.device)
    return (square.sqrt()[..., None] * frequencies).cos().to(x.dtype)


def _backbone(cfg: EquivariantTransformerConfig, in_channels: int) -> tuple[nn.Module, int]:
    """A ResNet without its pooling and its last layer, and the number of its channels."""
    import torchvision  # seconds to import: forms that only list the networks do not wait for it

    def build(with_weights: bool) -> nn.Module:
        weights = "IMAGENET1K_V1" if with_weights else None
        return torchvision.models.get_model(cfg.backbone, weights=weights)

    net = with_pretrained(cfg.pretrained, build, f"ImageNet weights of {cfg.backbone}")
    assert isinstance(net, torchvision.models.ResNet)
    net.conv1 = replace_first_conv(net.conv1, in_channels)
    body = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4)
    body.weights_origin = net.weights_origin  # pyright: ignore[reportArgumentType]
    return body, net.fc.in_features


@torch.no_grad()
def equivariance_error(net: EquivariantTransformer, images: Float[Tensor, "b c h w"]) -> float:
    """How far the combined map is from turning with the image: the largest difference over the three quarter turns,
    in units of the map's spread. 0 is exact."""
    net.eval()
    straight = net.feature_map(images)
    turned = [(net.feature_map(images.rot90(k, (-2, -1))) - straight.rot90(k, (-2, -1))).abs().amax()
              for k in (1, 2, 3)]
    return float(torch.stack(turned).amax() / straight.std().clamp_min(1e-12))
