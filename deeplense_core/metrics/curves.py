"""Curves and counts of a binary decision: ROC, precision-recall, completeness and purity, recovery.

``labels01`` is 1 for the class in question and 0 for the rest; higher ``scores`` mean more likely 1.
Ties share one threshold, so every value equals scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deeplense_core.errors import UserError
from deeplense_core.metrics import checks

Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


def wilson(successes: ArrayLike, trials: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """95 % Wilson score interval of a share (Wilson 1927); (0, 1) where there were no trials.

    Returns:
        (low, high), each of the broadcast shape of the inputs.
    """
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    safe = np.maximum(n, 1)
    share = k / safe
    middle = (share + Z95**2 / (2 * safe)) / (1 + Z95**2 / safe)
    half = Z95 * np.sqrt(share * (1 - share) / safe + Z95**2 / (4 * safe**2)) / (1 + Z95**2 / safe)
    # Exactly 0 and 1 at the ends: rounding must not push the share out of its own interval.
    low = np.where((n == 0) | (k == 0), 0.0, np.maximum(middle - half, 0))
    high = np.where((n == 0) | (k == n), 1.0, np.minimum(middle + half, 1))
    return low, high


def tie_groups(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order from the highest score down (n,), and the last position (g,) of every run of equal scores."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    return order, ends


def cumulative(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and threshold (g,) as it falls, one entry a distinct score."""
    order, ends = tie_groups(score)
    hits = np.cumsum(truth[order])[ends]
    return hits, 1 + ends - hits, score[order][ends]


def roc_curve(labels01: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ROC at every distinct score, as scikit-learn's with ``drop_intermediate=False``.

    Returns:
        False positive rate, true positive rate, thresholds, each (g + 1,): from (0, 0) at infinity to (1, 1).
    """
    truth, score = checks.binary(labels01, scores)
    hits, false, thresholds = cumulative(truth, score)
    fpr = np.append(0.0, false / false[-1])
    tpr = np.append(0.0, hits / hits[-1])
    return fpr, tpr, np.append(np.inf, thresholds)


def pr_curve(labels01: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall at every distinct score, in scikit-learn's order.

    Returns:
        Precision (g + 1,), recall (g + 1,), thresholds (g,), thresholds rising; the last point is (1, 0).
    """
    truth, score = checks.binary(labels01, scores)
    hits, false, thresholds = cumulative(truth, score)
    precision = hits / (hits + false)
    return np.append(precision[::-1], 1.0), np.append((hits / hits[-1])[::-1], 0.0), thresholds[::-1]


def auc_binary(labels01: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a 1 outscores a 0, a tie counting one half (Mann-Whitney)."""
    truth, score = checks.binary(labels01, scores)
    below = np.sort(score[~truth])
    wins = np.searchsorted(below, score[truth], "left") + np.searchsorted(below, score[truth], "right")
    return float(wins.sum() / 2 / (truth.sum() * (~truth).sum()))


def average_precision(labels01: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall steps, sum of (R_i - R_i-1) P_i, without interpolation."""
    truth, score = checks.binary(labels01, scores)
    hits, false, _ = cumulative(truth, score)
    return float((np.diff(hits, prepend=0) * hits / (hits + false)).sum() / hits[-1])


def tpr_at(labels01: ArrayLike, scores: ArrayLike, false_positives: int) -> float:
    """Highest completeness with at most this many false positives.

    TPR0 of the Bologna challenge (Metcalf et al. 2019) is 0, its TPR10 ("fewer than ten") is 9.
    """
    truth, score = checks.binary(labels01, scores)
    hits, false, _ = cumulative(truth, score)
    return float(hits[false <= false_positives].max(initial=0) / hits[-1])


def purity_at(tpr: np.ndarray, fpr: np.ndarray, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """Purity, and false positives per true positive (inf where nothing true is kept), at a prevalence."""
    if not 0 < prevalence < 1:
        raise UserError(f"Prevalence {prevalence} must lie between 0 and 1, as 0.001 for 1 lens in 1000.")
    true, false = prevalence * tpr, (1 - prevalence) * fpr
    with np.errstate(divide="ignore", invalid="ignore"):
        # Nothing kept at all is neither pure nor impure: purity 1, no false positives.
        purity = np.where(true + false > 0, true / (true + false), 1.0)
        per_true = np.where(true + false > 0, false / true, 0.0)
    return purity, per_true


def threshold_table(
    labels01: ArrayLike, scores: ArrayLike, prevalence: float = 1e-3
) -> dict[str, np.ndarray]:
    """What each threshold keeps, for a sky where ``prevalence`` of the objects are true.

    The set's own class balance does not matter: purity = p TPR / (p TPR + (1 - p) FPR).

    Returns:
        "threshold", "completeness", "fpr", "purity", "false_per_true", each (g,), thresholds falling.
    """
    fpr, tpr, thresholds = (part[1:] for part in roc_curve(labels01, scores))
    purity, per_true = purity_at(tpr, fpr, prevalence)
    return {
        "threshold": thresholds,
        "completeness": tpr,
        "fpr": fpr,
        "purity": purity,
        "false_per_true": per_true,
    }


def operating_point(
    labels01: ArrayLike, scores: ArrayLike, threshold: float, prevalence: float = 1e-3
) -> dict[str, dict[str, float | None]]:
    """Completeness, false positive rate and purity at one threshold (score >= threshold is kept).

    Completeness and false positive rate carry Wilson intervals; purity runs from the worst to the best
    combination of their ends.
    """
    truth, score = checks.binary(labels01, scores)
    kept = score >= threshold
    hits, false = int(kept[truth].sum()), int(kept[~truth].sum())
    return kept_point(hits, int(truth.sum()), false, int((~truth).sum()), prevalence)


def kept_point(
    hits: int, positives: int, false: int, negatives: int, prevalence: float
) -> dict[str, dict[str, float | None]]:
    """As :func:`operating_point`, from how many of the positives and of the negatives are kept."""
    ends = {}
    for name, k, n in (("completeness", hits, positives), ("fpr", false, negatives)):
        low, high = wilson(k, n)
        ends[name] = {"value": k / n, "low": float(low), "high": float(high)}
    tpr, fpr = ends["completeness"], ends["fpr"]
    corners = np.array([(tpr["value"], fpr["value"]), (tpr["low"], fpr["high"]), (tpr["high"], fpr["low"])])
    purity, per_true = purity_at(corners[:, 0], corners[:, 1], prevalence)
    value, low, high = (float(p) for p in purity)
    ends["purity"] = {"value": value, "low": min(low, value), "high": max(high, value)}
    bounds = [float(p) if np.isfinite(p) else None for p in per_true]
    ends["false_per_true"] = {"value": bounds[0], "low": bounds[2], "high": bounds[1]}
    return ends


def recovery(
    labels01: ArrayLike,
    scores: ArrayLike,
    truth_values: ArrayLike,
    bins: int | Sequence[float] = 10,
    threshold: float = 0.5,
) -> dict[str, list]:
    """Share of the true objects that are found, in bins of a true quantity (theta_E, S/N ...).

    Args:
        labels01: (n,) truth; only the ones count.
        scores: (n,) an object with score >= threshold is found.
        truth_values: (n,) the quantity; objects without a finite value are left out.
        bins: number of equal-width bins over the range met, or their rising edges (m + 1,).
        threshold: the decision.

    Returns:
        "low_edge", "high_edge", "count", "found", and "completeness", "low", "high" (Wilson 95 %; None where
        a bin is empty), each a list of length m.
    """
    truth, score = checks.binary(labels01, scores)
    values = np.asarray(truth_values, dtype=np.float64)
    if values.shape != truth.shape:
        raise UserError(f"Truth values {values.shape} must be one number per image, {truth.shape}.")
    use = truth & np.isfinite(values)
    if not use.any():
        raise UserError("No true object has a finite value of this quantity. Choose another column.")
    edges = np.histogram_bin_edges(values[use], bins) if isinstance(bins, int) else np.asarray(bins, float)
    if edges.ndim != 1 or edges.size < 2 or (np.diff(edges) <= 0).any():
        raise UserError("Bin edges must rise and number two or more.")
    count, _ = np.histogram(values[use], edges)
    found, _ = np.histogram(values[use & (score >= threshold)], edges)
    low, high = wilson(found, count)

    return {
        "low_edge": edges[:-1].tolist(),
        "high_edge": edges[1:].tolist(),
        "count": count.tolist(),
        "found": found.tolist(),
        "completeness": where_any(found / np.maximum(count, 1), count),
        "low": where_any(low, count),
        "high": where_any(high, count),
    }


def where_any(column: np.ndarray, count: np.ndarray) -> list[float | None]:
    """A column of numbers by bin, None where the bin is empty."""
    return [float(v) if c else None for v, c in zip(column, count, strict=True)]
