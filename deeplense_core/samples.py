"""A few validation images with what the network said of them, kept anew at every validation of a run."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.runs import Run

COUNT = 8
FILE = "samples.npz"


@dataclass(frozen=True, eq=False)
class Samples:
    """The same images at every validation.

    Attributes:
        images: float32 (n, c, h, w).
        outputs: Of the network: (n, k) class logits, or (n, c, H, W) images.
        labels: (n,) true classes, -1 where unlabelled.
        targets: float32 (n, c, H, W), or None.
        epoch: When this was said, from 1.
    """

    images: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None
    epoch: int


def places(count: int) -> np.ndarray:
    """Which of ``count`` validation images are shown: at equal steps from first to last."""
    return np.unique(np.linspace(0, count - 1, min(COUNT, count)).round().astype(int))


def keep(run: Run, samples: Samples) -> None:
    """Replaces the samples of a run."""
    arrays = {name: value for name, value in vars(samples).items() if value is not None}
    payload = io.BytesIO()
    np.savez_compressed(payload, **arrays)
    run.save_file(FILE, payload.getvalue())


def read(run: Run) -> Samples | None:
    """The samples of the last validation; None before the first, or where the file is damaged."""
    try:
        with np.load(io.BytesIO(run.read_file(FILE)), allow_pickle=False) as file:
            return Samples(file["images"], file["outputs"], file["labels"], file.get("targets"), int(file["epoch"]))
    except (UserError, OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
