"""Small data sets that a small network can learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter

SMALL = {"width": 2, "radii": 16, "angles": 64, "batch_size": 16, "epochs": 2, "compile": "off",
         "precision": "float32"}
"""Settings of a D4Net that trains an epoch of the small set in well under a second."""


def rings(count: int, seed: int, classes=("no", "sphere", "vort"), side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Rings with none, one or two bright spots, noisy: images (n, 1, side, side) and class names."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    labels = np.arange(count) % len(classes)
    images = np.exp(-((np.hypot(x, y)[None] - rng.uniform(7, 10, (count, 1, 1))) ** 2) / 4)
    for spot in range(1, len(classes)):
        angle, bright = rng.uniform(0, 2 * np.pi, count), 3.0 * (labels >= spot)
        cx, cy = 9 * np.cos(angle), 9 * np.sin(angle)
        images += bright[:, None, None] * np.exp(
            -((x[None] - cx[:, None, None]) ** 2 + (y[None] - cy[:, None, None]) ** 2) / 3)
    images += rng.normal(0, 0.05, images.shape)
    return images[:, None].astype(np.float32), np.array(classes)[labels]


def write(folder: Path, count: int = 120, seed: int = 0, classes=("no", "sphere", "vort"), **options):
    images, labels = rings(count, seed, classes)
    with DatasetWriter(folder, classes=classes, shape=images.shape[1:], source={"kind": "test"},
                       pixel_scale_arcsec=0.1, seed=seed) as out:
        out.append(images, {"label": labels})
        return out.finish(**options)


@pytest.fixture(scope="session")
def small_set(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("sets") / "rings").path
