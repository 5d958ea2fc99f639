"""Columns of a catalogue as a matrix for a network, and never the truth among them.

Published scores of 1.0000 came from truth of the simulator given as a feature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deeplense_core.data import Dataset
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

FEATURE, TRUTH = "feature_", "truth_"
_NEVER = ("id", "split", "label")


def feature_names(dataset: Dataset) -> list[str]:
    """The catalogue's columns of observable features that hold numbers."""
    table = dataset.catalog
    return [name for name in table.columns if name.startswith(FEATURE) and pd.api.types.is_numeric_dtype(table[name])]


def feature_columns(
    dataset: Dataset, names: Sequence[str] | None = None, leaky_ablation: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Features of every image and their names.

    Args:
        dataset: With a catalogue.
        names: Columns wanted, with or without ``feature_``; None takes all observable features.
        leaky_ablation: Let ``truth_*`` columns through, to show what they do. Whoever sets it says so on every result.

    Returns:
        float32 (n, k), NaN where an image has no value, and the k full names.

    Raises:
        UserError: a truth column, an unknown column, one of text, or no features at all.
    """
    table = dataset.catalog
    known = feature_names(dataset)
    if names is None:
        names = known
    full = [name if name in table.columns or f"{FEATURE}{name}" not in table.columns else f"{FEATURE}{name}"
            for name in names]  # fmt: skip
    if not full:
        raise UserError(f"Data set {dataset.name!r} has no features in its catalogue. Make or ingest it again as a "
                        "set of lens and nonlens, or use a network of images only.")
    truth = [name for name in full if name.startswith(TRUTH) or f"{TRUTH}{name}" in table.columns]
    if truth and not leaky_ablation:
        raise UserError(f"{', '.join(truth)} {'is' if len(truth) == 1 else 'are'} known to a simulator and not to an "
                        "observer: as a feature it gives the answer away. Leave it out, or set leaky_ablation to show "
                        "what it does; all results are then marked leaky.")
    full = [name if name in table.columns else f"{TRUTH}{name}" if name in truth else name for name in full]
    for name in full:
        if name in _NEVER or name not in table.columns:
            raise UserError(f"Data set {dataset.name!r} has no feature {name!r}. {nearest(name, known)}")
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise UserError(f"Column {name!r} of {dataset.name!r} holds text, not numbers. Leave it out.")
    return table[full].to_numpy(dtype=np.float32), full
