"""Networks for lens finding that see an image and features of a catalogue at once, joined by attention.

:mod:`deeplense_core.models.fusion_weights` says which places of the image and which features carried a decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from deeplense_core.features import FeatureConfig
from deeplense_core.models.names import MODELS
from deeplense_core.spec import knob

CLIP = 5.0
"""Standardised features beyond this many spreads are as far out as they get."""


@dataclass(frozen=True)
class FusionAttentionConfig:
    width: int = knob(32, "Channels of the first convolution; the second has twice as many, or as the heads can share",
                      ge=4, le=256)
    heads: int = knob(4, "Heads of the attention", ge=1, le=16)
    dropout: float = knob(0.2, "Dropout between the dense layers", ge=0, le=0.9)


@MODELS.register("fusion-attention", config=FusionAttentionConfig, tasks=("find",), brings=(FeatureConfig,),
                 label="Image and features by attention (seed)",
                 source="The seed project's lens finder; Vaswani et al. 2017, arXiv:1706.03762")
class FusionAttention(nn.Module):
    """Two convolutions on the bands, a dense branch on the features, self-attention over both, two dense layers."""

    def __init__(self, cfg: FusionAttentionConfig, in_channels: int, out_features: int, features: Mapping[str, Any]):
        super().__init__()
        width = cfg.heads * max(1, round(2 * cfg.width / cfg.heads))
        self.image = nn.Sequential(
            nn.Conv2d(in_channels, cfg.width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
            nn.Conv2d(cfg.width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.scale = FeatureScale(features)
        self.dense = nn.Sequential(nn.Linear(len(features["names"]), width), nn.ReLU())
        self.attend = Attention(width, cfg.heads)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(cfg.dropout),
                                  nn.Linear(width, out_features))  # fmt: skip

    def forward(self, images: Float[Tensor, "b c h w"], features: Float[Tensor, "b f"]) -> Float[Tensor, "b k"]:
        values, _ = self.scale(features)
        maps = self.image(images)
        tokens = torch.cat([maps.flatten(2).mT, self.dense(values)[:, None]], 1)  # (b, places + 1, width)
        return self.head((tokens + self.attend(tokens)).mean(1))

    def image_grid(self, images: Float[Tensor, "b c h w"]) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        height, width = self.image(images[:1]).shape[-2:]
        return height, width

    def read_off(self, tokens: Float[Tensor, "b n n"]) -> tuple[Float[Tensor, "b n"], int]:
        """What the head reads of a matrix over tokens, and the place of the first image token."""
        return tokens.mean(1), 0


class FeatureScale(nn.Module):
    """Features in units of their spread about their middle, and which of them are known."""

    centre: Tensor
    spread: Tensor

    def __init__(self, features: Mapping[str, Any]):
        super().__init__()
        self.register_buffer("centre", torch.tensor(features["centre"]))
        self.register_buffer("spread", torch.tensor(features["spread"]))

    def forward(self, features: Float[Tensor, "b f"]) -> tuple[Float[Tensor, "b f"], Bool[Tensor, "b f"]]:
        known = features.isfinite()
        values = (features.float() - self.centre) / self.spread
        return torch.where(known, values, 0.0).clamp(-CLIP, CLIP), known


def places(width: int, rows: int, columns: int) -> Float[Tensor, "width rows columns"]:
    """Where a token lies: sines and cosines of its row and of its column, a quarter of ``width`` each."""
    quarter = width // 4
    rate = torch.exp(-math.log(100.0) * torch.arange(quarter) / max(1, quarter))
    out = torch.zeros(width, rows, columns)
    for first, angle in ((0, torch.arange(rows)[:, None] * rate), (2 * quarter, torch.arange(columns)[:, None] * rate)):
        waves = torch.cat([angle.sin(), angle.cos()], 1).T  # (2 quarter, length)
        out[first : first + 2 * quarter] = waves[:, :, None] if first == 0 else waves[:, None, :]
    return out


class Attention(nn.Module):
    """Self-attention (Vaswani et al. 2017), whose weights pass through a module of their own to be seen."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.weights = nn.Identity()

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        b, n, d = tokens.shape
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2).flatten(0, 1)  # (b heads, n, d / heads)
                   for part in self.qkv(tokens).chunk(3, 2))  # fmt: skip
        weights = self.weights((q @ k.mT / math.sqrt(q.shape[2])).softmax(2))
        return self.out((weights @ v).unflatten(0, (b, self.heads)).transpose(1, 2).reshape(b, n, d))
