"""Collapse: features that say the same of every image, found by their effective rank."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def effective_rank(features: Float[np.ndarray, "n d"]) -> float:
    """How many directions features really use: 1 where all are the same vector, at most min(n, d).

    The exponential of the entropy of the singular values' shares: RankMe, Garrido et al. 2023 (arXiv:2210.02885).
    """
    values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    total = values.sum()
    if not total > 0:
        return 1.0
    shares = values / total
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
