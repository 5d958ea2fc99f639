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
    mean, spread = _scale(features)
    x, q = (features - mean) / spread, (queries - mean) / spread
    return _regress(x, labels, q, classes, _strength(x, labels, classes, seed))


def probe_weights(
    features: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"], classes: int, seed: int = 0
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"], Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """The probe of :func:`linear_probe` as a layer: weights and offsets of the logits of scaled features, and the
    mean and spread by which they are scaled. All classes must be among the labels."""
    mean, spread = _scale(features)
    x = (features - mean) / spread
    probe = _probe(x, labels, _strength(x, labels, classes, seed))
    if classes == 2:  # scikit-learn has one logit for both
        weights, offsets = np.concatenate([-probe.coef_, probe.coef_]), np.append(-probe.intercept_, probe.intercept_)
        return weights / 2, offsets / 2, mean, spread
    return probe.coef_, probe.intercept_, mean, spread


def _scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = features.mean(0), features.std(0)
    # What hardly varies among the labelled images must not be blown up among the others.
    return mean, np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12))


def _strength(x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> float:
    """The inverse regularisation that does best on a quarter of the labelled images."""
    fit, check = split_by_class(labels, 1 - HELD_BACK, seed)
    if not len(check) or len(np.unique(labels[fit])) == 1:
        return STRENGTHS[1]
    losses = [_cost(_regress(x[fit], labels[fit], x[check], classes, s), labels[check]) for s in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _cost(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _regress(x: np.ndarray, labels: np.ndarray, queries: np.ndarray, classes: int, strength: float) -> np.ndarray:
    out = np.zeros((len(queries), classes))
    present = np.unique(labels)
    out[:, present] = _probe(x, labels, strength).predict_proba(queries) if len(present) > 1 else 1.0
    return out


def _probe(x: np.ndarray, labels: np.ndarray, strength: float):
    from sklearn.exceptions import ConvergenceWarning  # seconds to import
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # a probe that has nearly converged serves as well
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=300).fit(x, labels)


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
