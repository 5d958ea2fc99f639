"""A small set in three bands that a small network can learn in seconds: discs, with an arc around half of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplense_core.data import DatasetWriter
from deeplense_core.photometry import measure

TINY = {"batch_size": 16, "epochs": 2, "compile": "off", "precision": "float32"}
FUSION = TINY | {"width": 8, "heads": 2, "features": "snr_r, residual_snr_g, colour_g_r, age"}
BANDS = ("g", "r", "i")


def discs(count: int, seed: int, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, side, side) of unit sky noise, every tenth without its band i, and names of classes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    labels = np.arange(count) % 2  # 0: lens
    disc = 60 * np.exp(-np.hypot(x, y) / 2)
    angle = rng.uniform(-np.pi, np.pi, (count, 1, 1))
    apart = np.angle(np.exp(1j * (np.arctan2(y, x) - angle)))
    arc = 12 * np.exp(-0.5 * (np.hypot(x, y) - 7) ** 2 - 0.5 * (apart / 0.6) ** 2)
    one = disc + (labels == 0)[:, None, None] * arc
    images = one[:, None] * np.array([1.0, 0.8, 0.6])[:, None, None] + rng.normal(0, 1, (count, 3, side, side))
    images[::10, 2] = 0
    return images.astype(np.float32), np.array(("lens", "nonlens"))[labels]


def write(folder: Path, count: int = 120, seed: int = 0, **options):
    """A data set with measured features, one column of the user's own (``feature_age``, often unknown) and truth."""
    images, labels = discs(count, seed)
    rng = np.random.default_rng(seed)
    age = np.where(rng.random(count) < 0.3, np.nan, rng.normal(5, 1, count))
    rows = {"label": labels, **measure(images, BANDS), "feature_age": age,
            "truth_theta_E": np.where(labels == "lens", 1.2, np.nan), "truth_is_lens": (labels == "lens").astype(float)}
    with DatasetWriter(folder, classes=("lens", "nonlens"), shape=images.shape[1:], source={"kind": "test"},
                       pixel_scale_arcsec=0.2, bands=BANDS, seed=seed) as out:
        out.append(images, rows)
        return out.finish(**options)
