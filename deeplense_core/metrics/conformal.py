"""Sets of classes that hold the true one with a stated probability, from held-out images alone.

Split conformal prediction, one threshold a class ("label-conditional", Vovk 2012, arXiv:1209.2673; the score is
the least ambiguous one of Sadinle, Lei & Wasserman 2019, arXiv:1609.00451). For an image of class c drawn like
the calibration images the set holds c with probability at least ``level``, whatever the network and whatever the
mixture of classes. It says nothing about images of another kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

from deeplense_core.errors import UserError
from deeplense_core.metrics import checks

LEVEL = 0.95


def fit_thresholds(labels: ArrayLike, probabilities: ArrayLike, level: float = LEVEL) -> list[float]:
    """The smallest probability at which each class still belongs to the set.

    With n calibration images of class c, its threshold is the ``ceil((n + 1) * level)``-th largest of the
    probabilities that they were given for c; with too few of them it is 0, and c is in every set.

    Args:
        labels: (n,) true classes of held-out images that training has not seen.
        probabilities: (n, k).
        level: Wanted coverage, between 0 and 1.

    Returns:
        k thresholds.
    """
    if not 0 < level < 1:
        raise UserError(f"A coverage of {level} must lie between 0 and 1.")
    truth, prob = checks.multiclass(labels, probabilities)
    thresholds = []
    for c in range(prob.shape[1]):
        falling = np.sort(prob[truth == c, c])[::-1]
        rank = math.ceil((len(falling) + 1) * level)
        thresholds.append(float(falling[rank - 1]) if rank <= len(falling) else 0.0)
    return thresholds


def class_sets(probabilities: ArrayLike, thresholds: Sequence[float]) -> Bool[np.ndarray, "n k"]:
    """Which classes are in the set of each image: those at or above their threshold, and always the likeliest.

    An empty set would be valid too and is of no use to a reader; adding a class only raises the coverage.
    """
    prob = np.asarray(probabilities, dtype=float)
    inside = prob >= np.asarray(thresholds)
    inside[np.arange(len(prob)), prob.argmax(axis=1)] = True
    return inside


def coverage(labels: ArrayLike, probabilities: ArrayLike, thresholds: Sequence[float]) -> list[float | None]:
    """Part of the images of each class whose set holds it; None for a class without images."""
    truth, prob = checks.multiclass(labels, probabilities)
    held = class_sets(prob, thresholds)[np.arange(len(truth)), truth]
    return [float(held[truth == c].mean()) if (truth == c).any() else None for c in range(prob.shape[1])]
