"""A finder whose image tokens come from any backbone, beside one token a feature, joined by a small transformer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.features import FeatureConfig
from deeplense_core.models.cutout_resnet import CutoutResNetConfig, cutout_tokens
from deeplense_core.models.fusion import Attention, FeatureScale, places
from deeplense_core.models.names import MODELS
from deeplense_core.models.timm_models import check_backbone
from deeplense_core.models.weights import replace_first_conv, with_pretrained
from deeplense_core.spec import knob


@dataclass(frozen=True)
class FusionResNetConfig:
    backbone: str = knob("resnet18", "What makes the image tokens: resnet18, cutout-resnet, or timm:NAME")
    pretrained: bool = knob(False, "Start the backbone from ImageNet weights where they can be fetched")
    width: int = knob(128, "Numbers in a token", ge=8, le=1024)
    layers: int = knob(2, "Layers of attention", ge=1, le=12)
    dropout: float = knob(0.1, "Dropout within the layers of attention, and of the features of the whole image", ge=0,
                          le=0.9)  # fmt: skip
    hide: float = knob(0.05, "Part of the bands, and of the features, that training hides, so that the network knows "
                       "what to do without them", ge=0, le=0.9)  # fmt: skip
    alone: float = knob(0.8, "Part of the images that training judges by the whole image alone: features are learnt "
                        "first, and what they explain is not looked for in the image", ge=0, le=1)  # fmt: skip


@MODELS.register("fusion-resnet", config=FusionResNetConfig, tasks=("find",), brings=(FeatureConfig,),
                 label="Backbone and features by attention",
                 source="Gorishniy et al. 2021, arXiv:2106.11959 (feature tokens); He et al. 2016, arXiv:1512.03385")
class FusionResNet(nn.Module):
    """Image tokens of a backbone and a token a feature; what is missing has learned embeddings and is no zero.

    The whole image, as a network of images alone sees it, has its say beside them: joined with features from the first
    step, a backbone learns little, because the features explain the easy part at once (Huang et al. 2022,
    arXiv:2203.12221).
    """

    def __init__(self, cfg: FusionResNetConfig, in_channels: int, out_features: int, features: Mapping[str, Any]):
        super().__init__()
        self.hide, self.alone, width, count = cfg.hide, cfg.alone, cfg.width, len(features["names"])
        self.backbone, channels = token_backbone(cfg.backbone, cfg.pretrained, in_channels)
        self.weights_origin = self.backbone.weights_origin
        self.project = nn.Conv2d(channels, width, 1)
        self.scale = FeatureScale(features)
        self.slope, self.level, self.unknown = (nn.Parameter(0.02 * torch.randn(count, width)) for _ in range(3))
        self.fill = nn.Parameter(torch.zeros(in_channels))
        self.no_band = nn.Parameter(0.02 * torch.randn(in_channels, width))
        self.asked = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList(Layer(width, cfg.dropout) for _ in range(cfg.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out_features)
        self.image_head = nn.Sequential(nn.Dropout(cfg.dropout), nn.Linear(channels, out_features))

    def forward(self, images: Float[Tensor, "b c h w"], features: Float[Tensor, "b f"]) -> Float[Tensor, "b k"]:
        missing = images.amax((2, 3)) == images.amin((2, 3))
        values, known = self.scale(features)
        if self.training:
            missing = missing | _drawn(missing, self.hide)
            known = known & ~_drawn(known, self.hide)
        images = torch.where(missing[:, :, None, None], self.fill[:, None, None].to(images.dtype), images)
        maps = self.backbone(images)
        of_image = self.image_head(maps.mean((2, 3)))
        maps = self.project(maps)  # (b, width, h', w')
        maps = maps + places(*maps.shape[1:]).to(maps)
        # What is known of the bands goes to every image token.
        maps = maps + (missing.to(maps) @ self.no_band)[:, :, None, None]
        of_features = torch.where(known[..., None], values[..., None] * self.slope + self.level, self.unknown)
        asked = self.asked.expand(len(images), 1, -1)
        tokens = torch.cat([asked, maps.flatten(2).mT, of_features], 1)  # (b, 1 + h' w' + f, width)
        for layer in self.layers:
            tokens = layer(tokens)
        of_tokens = self.head(self.norm(tokens[:, 0]))
        if self.training:
            of_tokens = of_tokens * ~_drawn(of_tokens[:, :1], self.alone)
        return of_image + of_tokens

    def read_off(self, tokens: Float[Tensor, "b n n"]) -> tuple[Float[Tensor, "b n"], int]:
        """What the head reads of a matrix over tokens, and the place of the first image token."""
        return tokens[:, 0], 1

    def image_grid(self, images: Float[Tensor, "b c h w"]) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        height, width = self.backbone(images[:1]).shape[-2:]
        return height, width


def _drawn(like: Tensor, part: float) -> Tensor:
    """A part of the elements, by chance."""
    return torch.rand(like.shape, device=like.device) < part


class Layer(nn.Module):
    """Pre-norm transformer layer (Xiong et al. 2020, arXiv:2002.04745)."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        heads = next(n for n in range(max(1, width // 32), 0, -1) if width % n == 0)
        self.attend = Attention(width, heads)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout),
                                   nn.Linear(2 * width, width))  # fmt: skip
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.dropout(self.attend(self.first(tokens)))
        return tokens + self.dropout(self.dense(self.second(tokens)))


def token_backbone(name: str, pretrained: bool, in_channels: int) -> tuple[nn.Module, int]:
    """A network that gives a map of tokens (b, channels, h', w'), and its channels.

    Raises:
        UserError: a backbone that timm does not have.
    """
    if name == "resnet18":
        return _resnet18_tokens(pretrained, in_channels), 512
    if name == "cutout-resnet":
        plain = CutoutResNetConfig()
        body, channels = cutout_tokens(plain.width, plain.blocks, in_channels)
        return with_pretrained(False, lambda _: body, name), channels
    if not name.startswith("timm:"):
        raise UserError(f"Unknown backbone {name!r}. Choose from: resnet18, cutout-resnet, timm:NAME.")
    check_backbone(name.removeprefix("timm:"))
    return _timm_tokens(name.removeprefix("timm:"), pretrained, in_channels)


def _resnet18_tokens(pretrained: bool, in_channels: int) -> nn.Module:
    """ResNet18 without its head, its last stage at the step of the one before: 4 x 4 tokens of 64 x 64 pixels."""
    import torchvision  # seconds to import: forms that only list the networks do not wait for it

    def build(with_weights: bool) -> nn.Module:
        net: Any = torchvision.models.get_model("resnet18", weights="IMAGENET1K_V1" if with_weights else None)
        net.conv1 = replace_first_conv(net.conv1, in_channels)
        net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
        parts = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        return nn.Sequential(OrderedDict((part, getattr(net, part)) for part in parts))

    return with_pretrained(pretrained, build, "ImageNet weights of resnet18")


def _timm_tokens(name: str, pretrained: bool, in_channels: int) -> tuple[nn.Module, int]:
    import timm

    def build(with_weights: bool) -> nn.Module:
        return timm.create_model(name, pretrained=with_weights, in_chans=in_channels, num_classes=0, global_pool="")

    net: Any = with_pretrained(pretrained, build, f"timm weights of {name}")
    return TimmTokens(net), net.num_features


class TimmTokens(nn.Module):
    """The last features of a timm backbone as a map, whether it makes maps or a row of tokens."""

    def __init__(self, net: Any):
        super().__init__()
        self.net, self.weights_origin = net, net.weights_origin
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self.extra = getattr(net, "num_prefix_tokens", 0)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        x = self.net.forward_features(images)
        if x.ndim == 4:
            return x.movedim(3, 1) if self.channels_last else x
        x = x[:, self.extra :]
        rows = self.net.patch_embed.grid_size[0]
        return x.mT.unflatten(2, (rows, -1))
