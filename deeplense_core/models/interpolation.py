"""Enlarging without learning: nearest, bilinear, bicubic and Lanczos, as rows of a table and as the start of networks.

Each is one fixed set of taps for each of the ``scale`` phases of a new pixel, applied along both axes. Pixel values
are surface brightness and every set of taps sums to 1, so flux per area is kept. Pixel centres follow the
convention that a pixel is an area: new pixel ``i`` lies at ``(i + 0.5) / scale - 0.5`` of the old grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.names import MODELS

KEYS_A = -0.5
"""Keys' cubic with a = -1/2, the only one of third order (Keys 1981, IEEE TASSP 29, 1153); PIL and MATLAB use it."""
LANCZOS_LOBES = 3


def _nearest(x: float) -> float:
    return float(-0.5 <= x < 0.5)


def _linear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (KEYS_A + 2) * x**3 - (KEYS_A + 3) * x**2 + 1
    return KEYS_A * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    if abs(x) >= LANCZOS_LOBES:
        return 0.0
    return math.sin(math.pi * x) * math.sin(math.pi * x / LANCZOS_LOBES) * LANCZOS_LOBES / (math.pi * x) ** 2


@dataclass(frozen=True)
class Kernel:
    """An interpolating function of the distance in old pixels, zero beyond ``reach``."""

    weight: Callable[[float], float]
    reach: int


KERNELS = {"nearest": Kernel(_nearest, 1), "bilinear": Kernel(_linear, 1), "bicubic": Kernel(_cubic, 2),
           "lanczos": Kernel(_lanczos, LANCZOS_LOBES)}


def taps(name: str, scale: int) -> Float[Tensor, "s k"]:
    """Weights of the 2 ``reach`` + 1 old pixels around the one that a new pixel lies in, for each phase; float64."""
    kernel = KERNELS[name]
    rows = []
    for phase in range(scale):
        place = (phase + 0.5) / scale - 0.5
        row = [kernel.weight(place - old) for old in range(-kernel.reach, kernel.reach + 1)]
        rows.append([weight / sum(row) for weight in row])
    return torch.tensor(rows, dtype=torch.float64)


def enlarge(images: Float[Tensor, "b c h w"], scale: int, name: str = "bicubic") -> Float[Tensor, "b c H W"]:
    """``images`` on a grid ``scale`` times finer; beyond the border the last pixel is repeated."""
    b, c, h, w = images.shape
    weights = taps(name, scale).to(images)
    reach = KERNELS[name].reach
    x = F.pad(images.reshape(b * c, 1, h, w), 4 * (reach,), mode="replicate")
    x = F.conv2d(x, weights[:, None, :, None])  # (bc, s, h, w + 2 reach): the phases of each row
    x = x.movedim(1, 2).reshape(b * c, 1, h * scale, w + 2 * reach)
    x = F.conv2d(x, weights[:, None, None, :])  # (bc, s, h s, w)
    return x.movedim(1, 3).reshape(b, c, h * scale, w * scale)


class Interpolation(nn.Module):
    """Enlarges by a fixed kernel; nothing in it learns."""

    def __init__(self, name: str, scale: int):
        super().__init__()
        self.name, self.scale = name, scale
        self.reach = KERNELS[name].reach

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        return enlarge(images, self.scale, self.name)


def _register(name: str, label: str, text: str, source: str) -> None:
    def build(cfg: None, in_channels: int, scale: int, unit: float) -> nn.Module:
        return Interpolation(name, scale)

    build.__doc__ = text
    MODELS.register(name, tasks=("superres",), source=source, label=label, learns=False)(build)


_register("nearest", "Nearest pixel", "Each new pixel takes the value of the old pixel it lies in.", "definition")
_register("bilinear", "Bilinear", "Straight lines between old pixels.", "definition")
_register("bicubic", "Bicubic", "Keys' cubic convolution with a = -1/2.", "Keys 1981, IEEE TASSP 29, 1153")
_register("lanczos", "Lanczos", "Sinc windowed to three lobes.", "Duchon 1979, J. Appl. Meteorol. 18, 1016")
