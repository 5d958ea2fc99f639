"""Super-resolution of a stack of images by EDSR, against the inference that most people write.

The peer: the same weights in a plain module, float32, NCHW, batches of 16, the same number of threads. The limit is
the arithmetic of a large matrix product divided by that of one image. Beside it, the memory that files of two sizes
need when they go through in tiles: it must not grow with the file.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from astropy.io import fits
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.bench.memory import peak_of
from deeplense_core.machine import describe
from deeplense_core.models.interpolation import enlarge
from deeplense_core.superres.enhance import enhance
from deeplense_core.trained import load_model

MODEL = "edsr-x2"
IMAGES, SIDE, BATCH = 48, 75, 16
FILES = (1024, 4096)
"""Sides of the files that go through in tiles."""
ROUNDS = 3
AGREEMENT = 1e-4
"""Largest difference between the two, of the brightest pixel."""


def run(images: int = IMAGES, files: tuple[int, ...] = FILES, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Images per second, best of some rounds in turn; peak memory of both, and of files in tiles."""
    net = load_model(MODEL).net
    plain = PlainEdsr(net).eval()
    stack = 100 * torch.rand(images, 1, SIDE, SIDE)
    ways: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: enhance(net, stack, False), "peer": lambda: by_batches(plain, stack),
    }  # fmt: skip
    seconds, made = dict.fromkeys(ways, math.inf), {}
    for _ in range(rounds):  # in turn, so that a drifting machine is fair to both
        for way, work in ways.items():
            start = time.perf_counter()
            made[way] = work()
            seconds[way] = min(seconds[way], time.perf_counter() - start)
    difference = float((made["ours"] - made["peer"]).abs().max() / made["peer"].abs().max())
    if difference > AGREEMENT:
        raise AssertionError(f"the two differ by {difference:.1e}: the bench compares unlike things")
    ours, peer = (images / seconds[way] for way in ("ours", "peer"))
    memory = {way: peak_memory(way, images) for way in ways}
    tiles = {f"{side} x {side}": peak_memory("file", side) for side in files}
    return {"superres": {
        "ours": ours, "peer": peer, "ratio": ours / peer, "limit": matrix_gflops() / gflop_per_image(net),
        "peak_mb": memory, "peak_mb_of_files": tiles, "unit": "images/s", "machine": describe(),
        "note": f"{images} images of {SIDE} x {SIDE} made twice as fine by {MODEL}, {torch.get_num_threads()} threads; "
                "limit: a matrix product's arithmetic",
    }}  # fmt: skip


class PlainEdsr(nn.Module):
    """EDSR as its paper draws it, with the weights of a trained one."""

    def __init__(self, trained: nn.Module):
        super().__init__()
        self.unit, self.scale = float(trained.unit), int(trained.scale)  # pyright: ignore
        weights = {name.removeprefix("body."): value for name, value in trained.state_dict().items()}
        self.weights = {name: value.detach().contiguous() for name, value in weights.items()}
        self.blocks = sum(name.endswith("first.weight") for name in weights)

    def conv(self, x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=1)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        images = images / self.unit
        head = x = self.conv(images, "head")
        for i in range(self.blocks):
            x = x + self.conv(self.conv(x, f"blocks.{i}.first").relu(), f"blocks.{i}.second")
        x = head + self.conv(x, f"blocks.{self.blocks}")
        x = F.pixel_shuffle(self.conv(x, "up.0"), self.scale)
        return (self.conv(x, "tail") + enlarge(images, self.scale)) * self.unit


@torch.no_grad()
def by_batches(net: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
    return torch.cat([net(batch) for batch in images.split(BATCH)])


def gflop_per_image(net: nn.Module) -> float:
    """Multiplications and additions of one image."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 1, SIDE, SIDE))
    return counter.get_total_flops() / 1e9


def matrix_gflops() -> float:
    """What a large float32 matrix product reaches on the same threads, best of five."""
    a, best = torch.randn(1536, 1536), 0.0
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        best = max(best, 2 * 1536**3 / (time.perf_counter() - start) / 1e9)
    return best


_MEASURE = """
import sys
from deeplense_core.bench import superres
superres.alone(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""


def peak_memory(way: str, size: int) -> float:
    """Largest resident memory (MB) of a process that does one thing: see :func:`alone`."""
    with tempfile.TemporaryDirectory() as folder:
        return peak_of(_MEASURE, way, size, folder)


def alone(way: str, size: int, folder: str) -> None:
    """``ours`` or ``peer`` on ``size`` images, or a FITS ``file`` of that side through tiles."""
    model = load_model(MODEL)
    if way == "file":
        from deeplense_core.superres.enhance_files import enhance_files

        path = Path(folder, "wide.fits")
        fits.PrimaryHDU(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)).writeto(path)
        enhance_files(model, [path], Path(folder, "fine.fits"))
        return
    stack = 100 * torch.rand(size, 1, SIDE, SIDE)
    if way == "ours":
        enhance(model.net, stack, False)
    else:
        by_batches(PlainEdsr(model.net), stack)
