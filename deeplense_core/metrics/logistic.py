"""Logistic regression, for probes and baselines of a few dozen numbers; equal to scikit-learn's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

NEWTON_STEPS = 50
FREE = 1e-8
"""Penalty of the offset: so small that it only keeps the equations solvable."""


def logistic(
    x: Float[np.ndarray, "n d"], positive: Bool[np.ndarray, " n"], penalty: float = 1.0, balanced: bool = False
) -> tuple[Float[np.ndarray, " d"], float]:
    """Coefficients and offset that minimise the sum of cross entropies + penalty / 2 |coefficients|^2.

    Newton's method (Hastie et al. 2009, eq. 4.26), each step halved until the loss falls.

    Args:
        x: Features, best of unit spread.
        positive: Which rows are of the class whose log odds the features give; both classes must be there.
        penalty: 1 over scikit-learn's C.
        balanced: Both classes count alike, however rare one of them is.
    """
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(x.shape[1], penalty), FREE)
    each = np.where(positive, 0.5 / positive.mean(), 0.5 / (~positive).mean()) if balanced else np.ones(len(x))
    w = np.zeros(design.shape[1])

    def loss(w: np.ndarray) -> float:
        z = design @ w
        return float((each * np.logaddexp(0, np.where(positive, -z, z))).sum() + 0.5 * (ridge * w * w).sum())

    for _ in range(NEWTON_STEPS):
        p = sigmoid(design @ w)
        slope = design.T @ (each * (p - positive)) + ridge * w
        curvature = (design * (each * p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step, now, size = np.linalg.solve(curvature, slope), loss(w), 1.0
        while size > 1e-6 and loss(w - size * step) > now:
            size /= 2
        w = w - size * step
        if np.abs(slope).max() < 1e-8 * len(x):
            break
    return w[:-1], float(w[-1])


def sigmoid(z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Probability of these log odds, without overflow."""
    return np.exp(-np.logaddexp(0, -z))
