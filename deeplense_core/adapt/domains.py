"""How far apart two surveys lie in a network's features: a linear probe, and both in one plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.metrics import find_metrics, softmax

FOLDS, NEWTON_STEPS = 5, 25
PENALTY = 1.0
"""Weight of half the squared coefficients, as scikit-learn's C = 1."""


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


def logistic(
    x: Float[np.ndarray, "n d"], positive: np.ndarray, penalty: float = PENALTY
) -> tuple[Float[np.ndarray, " d"], float]:
    """Coefficients and offset of a logistic regression: sum of cross entropies + penalty / 2 |w|^2, by Newton's steps,
    each halved until the loss falls."""
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(x.shape[1], penalty), 1e-8)
    w = np.zeros(design.shape[1])

    def loss(w: np.ndarray) -> float:
        z = design @ w
        return float(np.logaddexp(0, np.where(positive, -z, z)).sum() + 0.5 * (ridge * w * w).sum())

    for _ in range(NEWTON_STEPS):
        p = softmax(np.column_stack([np.zeros(len(x)), design @ w]))[:, 1]
        slope = design.T @ (p - positive) + ridge * w
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step, now, size = np.linalg.solve(curvature, slope), loss(w), 1.0
        while size > 1e-6 and loss(w - size * step) > now:
            size /= 2
        w = w - size * step
        if np.abs(slope).max() < 1e-8 * len(x):
            break
    return w[:-1], float(w[-1])


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
