"""What frozen features know: nearest neighbours, a linear probe, and principal components of pixels to beat."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

NEIGHBOURS = 20
KNN_TEMPERATURE = 0.07
"""Of the neighbours' weights exp(cosine / T), as DINO evaluates: Caron et al. 2021."""
STRENGTHS = (0.003, 0.03, 0.3, 3.0)
"""Inverse regularisations that a linear probe tries."""
HELD_BACK = 0.25
"""Part of the labelled images by which it chooses one."""
COMPONENTS = 128


def unit(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Vectors of length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def neighbour_votes(
    bank: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"], queries: Float[np.ndarray, "n d"], classes: int,
    neighbours: int = NEIGHBOURS, leave_out: bool = False,
) -> Float[np.ndarray, "n k"]:
    """Shares of the classes among the nearest labelled images, weighted by their cosine.

    Args:
        bank: Features of labelled images.
        labels: Their classes.
        queries: Features to classify.
        classes: Number k of classes.
        neighbours: Images that vote.
        leave_out: The queries are the bank, and no image votes for itself.
    """
    known, asked = unit(bank), unit(queries)
    count = min(neighbours, len(bank) - leave_out)
    votes = np.zeros((len(queries), classes))
    for start in range(0, len(queries), 1024):
        near = asked[start : start + 1024] @ known.T
        rows = np.arange(len(near))
        if leave_out:
            near[rows, rows + start] = -np.inf
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        weights = np.exp((np.take_along_axis(near, best, 1) - 1) / KNN_TEMPERATURE)
        np.add.at(votes, (start + rows[:, None], labels[best]), weights)
    return votes / np.maximum(votes.sum(1, keepdims=True), 1e-300)


def linear_probe(
    features: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"], queries: Float[np.ndarray, "n d"], classes: int,
    seed: int = 0,
) -> Float[np.ndarray, "n k"]:
    """Probabilities that a logistic regression on frozen features gives the queries.

    Features are scaled to unit spread; the strength of the regularisation is the one that does best on a quarter of
    the labelled images, held back, and the probe is then fitted to all of them. Classes that no labelled image has
    get probability 0.
    """
    mean, spread = features.mean(0), features.std(0)
    # What hardly varies among the labelled images must not be blown up among the others.
    spread = np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12))
    x, q = (features - mean) / spread, (queries - mean) / spread
    fit, check = split_by_class(labels, 1 - HELD_BACK, seed)
    strength = STRENGTHS[1]
    if len(check) and len(np.unique(labels[fit])) > 1:
        losses = [_cost(_regress(x[fit], labels[fit], x[check], classes, s), labels[check]) for s in STRENGTHS]
        strength = STRENGTHS[int(np.argmin(losses))]
    return _regress(x, labels, q, classes, strength)


def _cost(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _regress(x: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, strength: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning  # seconds to import
    from sklearn.linear_model import LogisticRegression

    out = np.zeros((len(queries), classes))
    present = np.unique(labels)
    if len(present) == 1:
        out[:, present] = 1.0
        return out
    probe = LogisticRegression(C=strength, max_iter=300)
    with warnings.catch_warnings():  # a probe that has nearly converged serves as well
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(x, labels)
    out[:, present] = probe.predict_proba(queries)
    return out


def split_by_class(
    labels: Int[np.ndarray, " m"], share: float, seed: int
) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Places of a random ``share`` of each class, at least one of each, and of the rest; both in order."""
    rng = np.random.default_rng(seed)
    taken = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        taken[rng.permutation(members)[: max(1, round(share * len(members)))]] = True
    return np.flatnonzero(taken), np.flatnonzero(~taken)


def pixel_components(
    pixels: Float[np.ndarray, "m p"], flat: Callable[[np.ndarray], Float[np.ndarray, "n p"]], seed: int = 0
) -> Callable[[np.ndarray], Float[np.ndarray, "n d"]]:
    """A function that gives the principal components of images, at most 128, found on ``pixels``.

    Args:
        pixels: Of the images from which the components are taken.
        flat: Images as rows of pixels.
        seed: Of the randomised decomposition.
    """
    from sklearn.decomposition import PCA

    count = min(COMPONENTS, len(pixels) - 1, pixels.shape[1])
    pca = PCA(count, svd_solver="randomized", random_state=seed).fit(pixels)
    return lambda images: pca.transform(flat(images))
