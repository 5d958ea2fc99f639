"""Training speed of ResNet18 at 150 x 150 against the loop that most people write.

The peer: float32, NCHW, a DataLoader over .npy files' worth of arrays with torchvision transforms for each image
(flips and a quarter turn), the same network, batch, optimizer and number of threads. Both read the same images.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from deeplense_core.data import DatasetWriter
from deeplense_core.machine import describe
from deeplense_core.models import build_model
from deeplense_core.sources import Batch, Source
from deeplense_core.spec import RunSpec
from deeplense_core.train import plan, setup, train_step

SHAPE, BATCH, IMAGES = (1, 150, 150), 64, 512
ROUNDS, STEPS = 3, 4
LONG_RUN = 1000
"""Epochs of the run whose first steps are timed."""


def run() -> dict[str, dict]:
    """Images per second of our loop, of the plain loop, and of a synthetic batch that stays on the device."""
    with tempfile.TemporaryDirectory() as folder:
        spec, images, labels = _data(Path(folder) / "bench")
        ours, synthetic, plain = _ours(spec, False), _ours(spec, True), _plain(images, labels)
        best = {"ours": 0.0, "synthetic": 0.0, "plain": 0.0}
        for _ in range(ROUNDS):  # in turn, so that a drifting machine is fair to all
            for name, step in (("ours", ours), ("synthetic", synthetic), ("plain", plain)):
                best[name] = max(best[name], _rate(step))
    return {"train_resnet18": {
        "ours": best["ours"], "peer": best["plain"], "ratio": best["ours"] / best["plain"],
        "limit": best["synthetic"], "overhead_of_loading": 1 - best["ours"] / best["synthetic"],
        "gflops": best["ours"] * _training_gflop(), "gflops_limit": _peak_gflops(),
        "unit": "images/s", "machine": describe(),
    }}


def _data(folder: Path) -> tuple[RunSpec, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.random((IMAGES, *SHAPE), dtype=np.float32)
    names = np.array(("no", "sphere", "vort"))[np.arange(IMAGES) % 3]
    with DatasetWriter(folder, classes=("no", "sphere", "vort"), shape=SHAPE, source={"kind": "bench"}) as out:
        out.append(images, {"label": names, "split": np.where(np.arange(IMAGES) % 8 == 0, "val", "train")})
        out.finish()
    settings = {"batch_size": BATCH, "epochs": LONG_RUN}  # what gains by being compiled here is
    return plan("classify", str(folder), "resnet18", settings), images, np.arange(IMAGES) % 3


def _ours(spec: RunSpec, synthetic: bool) -> Callable[[], None]:
    """One step of the product's own loop; ``synthetic`` replaces loading and augmentation by a fixed batch."""
    if synthetic:
        spec = dataclasses.replace(spec, train_settings={**spec.train_settings, "flips_and_turns": False})
    job = setup(spec)
    if synthetic:
        job.source = _Fixed(job.source)

    def step() -> None:
        train_step(job)
        job.state.step = (job.state.step + 1) % job.steps

    return step


class _Fixed:
    """A source that gives the same batch over and over: what training costs without loading."""

    blind = False

    def __init__(self, source: Source):
        self.info, self.part, self.steps = source.info, source.part, source.steps
        self.fixed = source.batch(0, 0, BATCH, 1)

    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch:
        return self.fixed


class _Files(Dataset):
    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels
        self.transform = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(),
                                     v2.RandomChoice([v2.RandomRotation((a, a)) for a in (0, 90, 180, 270)])])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(torch.from_numpy(self.images[i])), int(self.labels[i])


def _plain(images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    net = build_model("resnet18", {}, in_channels=1, out_features=3).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    loader = DataLoader(_Files(images, labels), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=0)

    def endless() -> Iterator:
        while True:
            yield from loader

    batches = endless()

    def step() -> None:
        x, y = next(batches)
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _rate(step: Callable[[], None]) -> float:
    step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return STEPS * BATCH / (time.perf_counter() - start)


def _training_gflop() -> float:
    """Arithmetic of one image, forward and back: three times the multiply-adds of the forward pass, twice."""
    from torch.utils.flop_counter import FlopCounterMode

    net = build_model("resnet18", {}, in_channels=1, out_features=3)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, *SHAPE)).sum().backward()
    return counter.get_total_flops() / 2 / 1e9


def _peak_gflops() -> float:
    """What a large float32 matrix product reaches on this device: the arithmetic limit."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(2048, 2048, device=device)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
    return best
