"""Columns of a catalogue as a matrix for a network, and never the truth among them.

Published scores of 1.0000 came from truth of the simulator given as a feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.registry import nearest
from deeplense_core.spec import knob

FEATURE, TRUTH = "feature_", "truth_"
ALL = "all"


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of networks that see features of the catalogue beside the image."""

    features: str = knob(ALL, "Columns of the catalogue that the network sees beside the image, with commas between "
                         "them; all is every observable feature, measured from the image where the catalogue has none",
                         group="features")
    leaky_ablation: bool = knob(False, "Let truth_* columns of a simulator through, to show what they do; every result "
                                "is then marked leaky", group="features")


def wanted_names(cfg: FeatureConfig, columns: Sequence[str], measurable: Sequence[str], data: str) -> list[str]:
    """Full names of the columns that a network is to see.

    Args:
        cfg: What the user asked for, each with or without ``feature_``.
        columns: Numeric columns that the data has.
        measurable: Columns that can be measured from its images.
        data: What the data is called, for messages.

    Raises:
        UserError: a truth column without ``leaky_ablation``, or one that the data has not.
    """
    if cfg.features.strip() == ALL:
        return [name for name in columns if name.startswith(FEATURE)] or list(measurable)
    names = list(dict.fromkeys(name.strip() for name in cfg.features.split(",") if name.strip()))
    if not names:
        raise UserError(f"features = {cfg.features!r} names no column. Name some, or all.")
    known = [*columns, *(name for name in measurable if name not in columns)]
    full = [name if name in known or f"{FEATURE}{name}" not in known else f"{FEATURE}{name}" for name in names]
    truth = [name for name in full if name.startswith(TRUTH) or f"{TRUTH}{name}" in known]
    if truth and not cfg.leaky_ablation:
        raise UserError(f"{', '.join(truth)} {'is' if len(truth) == 1 else 'are'} known to a simulator and not to an "
                        "observer: as a feature it gives the answer away. Leave it out, or set leaky_ablation to show "
                        "what it does; all results are then marked leaky.")
    full = [name if name in known else f"{TRUTH}{name}" if name in truth else name for name in full]
    for name in full:
        if name not in known:
            hint = nearest(name, [column for column in known if column.startswith(FEATURE)])
            raise UserError(f"{data!r} has no column of numbers {name!r}. {hint}")
    return full


def is_leaky(names: Sequence[str]) -> bool:
    """Whether a network that sees these columns sees the truth."""
    return any(name.startswith(TRUTH) for name in names)


def feature_matrix(
    names: Sequence[str], columns: Mapping[str, np.ndarray], images: np.ndarray, bands: Sequence[str]
) -> np.ndarray:
    """What a network sees beside images (n, c, h, w): float32 (n, k).

    A column comes from ``columns``; where it is not there, it is measured from the images; what no one can know of
    these images is NaN.
    """
    found = dict(columns)
    if any(name not in found and name.startswith(FEATURE) for name in names):
        from deeplense_core.photometry import measure  # scipy, which networks of images alone do not wait for

        found = measure(images, bands) | found
    unknown = np.full(len(images), np.nan, np.float32)
    return np.stack([np.asarray(found.get(name, unknown), np.float32) for name in names], 1)


def robust_scale(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and normalised interquartile range of each column of (n, f); 0 and 1 where one is empty or constant."""
    known = np.where(np.isfinite(matrix), matrix, np.nan)
    known[:, np.isnan(known).all(0)] = 0
    low, centre, high = np.nanquantile(known.astype(np.float64), (0.25, 0.5, 0.75), axis=0)
    spread = (high - low) / 1.349
    return centre, np.where(spread > 0, spread, 1.0)
