"""Small sets of lenses in two surveys, and settings of a network that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import Dataset, DatasetWriter

SMALL = {"width": 2, "radii": 16, "angles": 64, "batch_size": 16, "epochs": 2, "compile": "off",
         "precision": "float32", "patience": 0}


def blobs(count: int, seed: int, noise: float = 0.05, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A disc in each image, with a ring round it where it is a lens; (n, 3, side, side) and class names."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius, lens = np.hypot(x, y), np.arange(count) % 2 == 0
    images = np.exp(-radius**2 / 8) + 0.7 * lens[:, None, None] * np.exp(-((radius - 8) ** 2) / 3)
    images = images[:, None] * rng.uniform(0.7, 1.3, (count, 3, 1, 1)) + rng.normal(0, noise, (count, 3, side, side))
    return images.astype(np.float32), np.where(lens, *LENS_CLASSES)


def write(folder: Path, count: int = 96, seed: int = 0, labelled: float = 1.0, noise: float = 0.05,
          poison: bool = False, **columns) -> Dataset:
    """A data set of :func:`blobs`; what is unlabelled has its class in ``truth_label``, or a wrong one (``poison``)."""
    images, labels = blobs(count, seed, noise)
    shown = np.random.default_rng(seed + 1).random(count) < labelled
    truth = np.where(labels == LENS_CLASSES[0], *(LENS_CLASSES[::-1] if poison else LENS_CLASSES))
    splits = np.array(["train", "train", "train", "train", "val", "val", "test", "test"])[np.arange(count) % 8]
    with DatasetWriter(folder, classes=LENS_CLASSES, shape=images.shape[1:], source={"kind": "test"}, seed=0) as out:
        out.append(images, {
            "label": np.where(shown, labels, ""), "split": splits, "truth_label": np.where(shown, labels, truth),
            "truth_theta_E": np.full(count, 9.0 if poison else 1.0), **columns})
        return out.finish()
