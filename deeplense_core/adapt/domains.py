"""How far apart two surveys lie in a network's features: a linear probe, and both in one plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.metrics import find_metrics
from deeplense_core.metrics.logistic import logistic

FOLDS = 5


def domain_auc(
    source: Float[np.ndarray, "n d"], target: Float[np.ndarray, "m d"], seed: int = 0
) -> dict[str, Any]:
    """How well a logistic probe on the features tells target from source: AUC with its interval.

    Each image is judged by a probe that has not seen it, one of :data:`FOLDS`. Near 0.5 the domains look alike, at 1
    one line divides them.
    """
    features = np.concatenate([source, target]).astype(np.float64)
    is_target = np.arange(len(features)) >= len(source)
    rng, fold = np.random.default_rng(seed), np.empty(len(features), dtype=np.int64)
    for rows in (np.flatnonzero(~is_target), np.flatnonzero(is_target)):
        fold[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    scores = np.empty(len(features))
    for number in range(FOLDS):
        held = fold == number
        centre, spread = features[~held].mean(0), features[~held].std(0)
        scaled = (features - centre) / np.where(spread > 0, spread, 1.0)
        weights, offset = logistic(scaled[~held], is_target[~held])
        scores[held] = scaled[held] @ weights + offset
    return find_metrics(is_target.astype(np.int64), scores)["auroc"]


def plane(source: Float[np.ndarray, "n d"], target: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n+m 2"]:
    """Both domains on the two first principal components of all features, each feature in units of its spread.

    The sign of a component is chosen so that its largest coefficient is positive: the same features, the same plane.
    """
    features = np.concatenate([source, target]).astype(np.float64)
    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    _, _, rows = np.linalg.svd(scaled, full_matrices=False)
    axes = rows[:2] * np.sign(rows[:2][np.arange(len(rows[:2])), np.abs(rows[:2]).argmax(1)])[:, None]
    return (scaled @ axes.T).astype(np.float32)


def thinned(count: int, most: int, seed: int) -> Int[np.ndarray, " k"]:
    """At most ``most`` of ``count`` rows, by chance, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])
