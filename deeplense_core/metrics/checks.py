"""What every metric demands of its input: one clear message each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deeplense_core.errors import UserError


def binary(labels01: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Truth as bool (n,) and scores as float64 (n,), with both classes present.

    Raises:
        UserError: empty, unequal lengths, NaN or infinite scores, labels other than 0 and 1, one class only.
    """
    truth, score = np.asarray(labels01), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or score.shape != truth.shape:
        raise UserError(
            f"Labels {truth.shape} and scores {score.shape} must both be one number per image, equally long."
        )
    if truth.size == 0:
        raise UserError("There are no images to score. Choose a split that is not empty.")
    if not np.isfinite(score).all():
        bad = int((~np.isfinite(score)).sum())
        raise UserError(
            f"{bad} of {score.size} scores are NaN or infinite. "
            "The model diverged or an image holds bad pixels."
        )
    if not np.isin(truth, (0, 1)).all():
        raise UserError("Binary labels must be 0 or 1. Compare one class against the rest.")
    truth = truth.astype(bool)
    if truth.all() or not truth.any():
        raise UserError(f"ROC undefined: only {'positives' if truth[0] else 'negatives'} are present.")
    return truth, score


def multiclass(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 (n,) and probabilities as float64 (n, k), rows that add up to one.

    Raises:
        UserError: empty, wrong shape, NaN, labels outside 0..k-1, rows that are no probabilities.
    """
    truth, prob = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if prob.ndim != 2 or truth.shape != prob.shape[:1] or prob.shape[1] < 2:
        raise UserError(
            f"Labels {truth.shape} and probabilities {prob.shape} do not fit: "
            "need (n,) and (n, classes) with 2 classes or more."
        )
    if truth.size == 0:
        raise UserError("There are no images to score. Choose a split that is not empty.")
    if not np.isfinite(prob).all():
        bad = int((~np.isfinite(prob).all(axis=1)).sum())
        raise UserError(
            f"{bad} of {len(prob)} images have NaN or infinite probabilities. "
            "The model diverged or an image holds bad pixels."
        )
    if not np.issubdtype(truth.dtype, np.integer):
        raise UserError(f"Labels must be whole class numbers, not {truth.dtype}.")
    if truth.min() < 0 or truth.max() >= prob.shape[1]:
        bad = int(truth.min() if truth.min() < 0 else truth.max())
        raise UserError(
            f"Label {bad} is outside 0..{prob.shape[1] - 1} (-1 means unlabelled). "
            "Score labelled images only."
        )
    if prob.min() < 0 or np.abs(prob.sum(axis=1) - 1).max() > 1e-3:
        raise UserError("Probabilities must be 0 or more and add up to 1 per image. Apply softmax to logits.")
    return truth.astype(np.int64), prob


def class_names(classes: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The given names, checked against the number of columns; '0', '1' ... when none are given."""
    names = tuple(str(i) for i in range(count)) if classes is None else tuple(classes)
    if len(names) != count:
        raise UserError(f"{len(names)} class names for {count} columns of probabilities: {', '.join(names)}.")
    return names
