"""Which device there is, and which arithmetic is faster on it, found by timing it once."""

from __future__ import annotations

import functools
import time

import torch
from torch import nn


def best_device() -> str:
    """``cuda`` where there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache
def faster_precision(device: str) -> str:
    """``bf16`` or ``float32``: whichever trains a small convolution faster on ``device``.

    bf16 is faster with matrix units (GPUs, AVX512-bf16, AMX) and many times slower without, so it is
    measured, never guessed from a name.
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "float32"
    times = {name: _seconds(name == "bf16") for name in ("float32", "bf16")}
    return min(times, key=times.__getitem__)


def _seconds(bf16: bool) -> float:
    net = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.randn(8, 64, 24, 24).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            net(images).sum().backward()
        best = min(best, time.perf_counter() - start)
    return best
