"""Do probabilities mean what they say: calibration error, reliability, temperature scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as _softmax

from deeplense_core.errors import UserError
from deeplense_core.metrics import checks
from deeplense_core.metrics.curves import where_any, wilson

ECE_BINS = 15
TEMPERATURE_RANGE = (0.05, 20.0)


def confidence_bins(probabilities: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Top-label class (n,), its probability (n,) and its equal-width bin (n,), right edge included."""
    top = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(top)), top]
    edges = np.linspace(0, 1, bins + 1)
    return top, confidence, np.searchsorted(edges[1:-1], confidence, side="left")


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> dict[str, list]:
    """Top-label reliability in equal-width bins of confidence.

    Returns:
        "low_edge", "high_edge", "count" and, None where a bin is empty, "confidence" (mean), "accuracy",
        "low" and "high" (Wilson 95 % of the accuracy), each a list of length ``bins``.
    """
    truth, prob = checks.multiclass(labels, probabilities)
    top, confidence, bin_of = confidence_bins(prob, bins)
    count = np.bincount(bin_of, minlength=bins)
    right = np.bincount(bin_of, weights=top == truth, minlength=bins)
    mean = np.bincount(bin_of, weights=confidence, minlength=bins) / np.maximum(count, 1)
    low, high = wilson(right, count)
    edges = np.linspace(0, 1, bins + 1)

    return {
        "low_edge": edges[:-1].tolist(),
        "high_edge": edges[1:].tolist(),
        "count": count.tolist(),
        "confidence": where_any(mean, count),
        "accuracy": where_any(right / np.maximum(count, 1), count),
        "low": where_any(low, count),
        "high": where_any(high, count),
    }


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the top label (Guo et al. 2017, arXiv:1706.04599), equal-width bins.

    Mean over images of |accuracy - confidence| of their bin. It is biased upward by the scatter in each
    bin, so a perfectly calibrated model does not read 0 on a finite set.
    """
    truth, prob = checks.multiclass(labels, probabilities)
    top, confidence, bin_of = confidence_bins(prob, bins)
    gap = np.bincount(bin_of, weights=(top == truth) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def softmax(logits: ArrayLike) -> np.ndarray:
    """Probabilities (n, k), float64, from logits (n, k)."""
    return _softmax(np.asarray(logits, dtype=np.float64), axis=-1)


def apply_temperature(logits: ArrayLike, temperature: float) -> np.ndarray:
    """Calibrated probabilities (n, k): softmax(logits / temperature)."""
    if not temperature > 0:
        raise UserError(f"Temperature {temperature} must be above 0.")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature in [0.05, 20] with the least negative log likelihood (Guo et al. 2017).

    The loss is convex in 1 / T, so the bounded search has one minimum. Fit on validation, never on test.

    Args:
        logits: (n, k), finite.
        labels: (n,) class numbers.
    """
    z = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(z).all():
        raise UserError("Some logits are NaN or infinite: the model diverged. Lower the learning rate.")
    truth, _ = checks.multiclass(labels, softmax(z))
    rows = np.arange(len(truth))

    def loss(log_inverse: float) -> float:
        return -log_softmax(z * np.exp(log_inverse), axis=1)[rows, truth].mean()

    low, high = TEMPERATURE_RANGE
    bounds = (-np.log(high), -np.log(low))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(-best.x))
