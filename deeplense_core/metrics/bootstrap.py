"""95 % bootstrap intervals by weights: nothing is sorted twice and no image is copied.

A resample is a weight per image, how often it was drawn. Every metric here is a function of weights
(n, b), b resamples at once; with weights of one it is the plain metric, so value and interval share
one formula. Draws are stratified: each class keeps its number of images, so no resample loses a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from deeplense_core.metrics import checks
from deeplense_core.metrics.curves import tie_groups, wilson

Counts = tuple[np.ndarray, np.ndarray]  # true and false positives, each (g, b)
Statistic = Callable[[np.ndarray], dict[str, np.ndarray]]  # weights (n, b) -> name -> (b,)
CHUNK_NUMBERS = 2_000_000  # weights held at once: 16 MB, so 100,000 images need no more memory than 3,000


def resample_weights(strata: np.ndarray, n_boot: int, seed: int) -> Iterator[np.ndarray]:
    """Weights (n, b) of stratified resamples, in chunks of b that fit in memory, ``n_boot`` in all.

    Args:
        strata: (n,) class of each image; the weights of a class always sum to its size.
        n_boot: number of resamples.
        seed: same seed, same weights.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    step = max(1, CHUNK_NUMBERS // len(strata))
    for start in range(0, n_boot, step):
        b = min(step, n_boot - start)
        weights = np.empty((len(strata), b))
        for index in members:
            drawn = rng.integers(0, len(index), size=(len(index), b)) * b + np.arange(b)
            weights[index] = np.bincount(drawn.ravel(), minlength=len(index) * b).reshape(-1, b)
        yield weights


def auc_statistic(truth: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Weighted Mann-Whitney AUC as a function of weights (n, b) -> (b,); the sort happens here, once."""
    positive = np.flatnonzero(truth)
    negative = np.flatnonzero(~truth)
    negative = negative[np.argsort(score[negative], kind="stable")]
    below = np.searchsorted(score[negative], score[positive], "left")
    not_above = np.searchsorted(score[negative], score[positive], "right")

    def auc(weights: np.ndarray) -> np.ndarray:
        passed = np.zeros((len(negative) + 1, weights.shape[1]))
        np.cumsum(weights[negative], axis=0, out=passed[1:])
        ones = weights[positive]
        wins = np.einsum("pb,pb->b", ones, passed[below]) + np.einsum("pb,pb->b", ones, passed[not_above])
        return wins / 2 / (ones.sum(axis=0) * passed[-1])

    return auc


def interval(values: np.ndarray, point: float, *, recentre: bool = False) -> tuple[float, float]:
    """Percentile interval (2.5 to 97.5 %) of resampled values (b,), widened to hold the point value.

    ``recentre`` takes out the bootstrap's own bias first: resampling adds scatter to every bin of the
    calibration error, which shifts all its resamples upward.
    """
    shift = values.mean() - point if recentre else 0.0
    low, high = np.quantile(values - shift, (0.025, 0.975))
    return min(float(low), point), max(float(high), point)


def mean_with_interval(values: np.ndarray, n_boot: int = 1000) -> dict[str, float]:
    """Mean of values (n,) and its interval as {"value", "low", "high"}."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (n_boot, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}


def perfect_low(low: float, point: float, trials: int) -> float:
    """Low end for a perfect score, whose resamples are all perfect too and would claim certainty.

    Wilson's bound for ``trials`` successes in as many trials, ``trials`` being the independent comparisons
    made: the smaller class for an AUC, the images for an accuracy.
    """
    return float(wilson(trials, trials)[0]) if point >= 1 and low >= 1 else low


def collect(statistic: Statistic, strata: np.ndarray, n_boot: int, seed: int) -> dict[str, np.ndarray]:
    """Every named value over all resamples, each (n_boot,)."""
    chunks = [statistic(weights) for weights in resample_weights(strata, n_boot, seed)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def weighted_counts(truth: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], Counts]:
    """Weights (n, b) -> true and false positives (g, b) as the threshold falls through distinct scores."""
    order, ends = tie_groups(score)
    sorted_truth = truth[order][:, None]

    def counts(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sorted_weights = weights[order]
        hits = np.cumsum(sorted_weights * sorted_truth, axis=0)[ends]
        return hits, np.cumsum(sorted_weights, axis=0)[ends] - hits

    return counts


def average_precisions(hits: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Average precision (b,) from true and false positives (g, b)."""
    gained = np.diff(hits, axis=0, prepend=0)
    return (gained * hits / np.maximum(hits + false, 1)).sum(axis=0) / hits[-1]


def precision_metric(labels01: ArrayLike, scores: ArrayLike, n_boot: int = 1000, seed: int = 0) -> dict:
    """Average precision as {"value", "low", "high"}."""
    truth, score = checks.binary(labels01, scores)
    counts = weighted_counts(truth, score)
    trials = {"auprc": int(min(truth.sum(), (~truth).sum()))}
    return summarise(
        lambda weights: {"auprc": average_precisions(*counts(weights))}, truth, n_boot, seed, trials
    )["auprc"]


def summarise(
    statistic: Statistic,
    strata: np.ndarray,
    n_boot: int,
    seed: int,
    trials: dict[str, int],
    recentre: tuple[str, ...] = (),
) -> dict[str, dict]:
    """Value and interval of every metric of a statistic; without resamples low and high are None.

    Args:
        statistic: weights (n, b) -> values (b,) by name.
        strata: (n,) class of each image.
        n_boot: resamples; 0 skips the intervals.
        seed: of the resamples.
        trials: for metrics whose best is 1, the comparisons behind a perfect score (:func:`perfect_low`).
        recentre: metrics whose resamples are biased (:func:`interval`).
    """
    points = {name: float(v[0]) for name, v in statistic(np.ones((len(strata), 1))).items()}
    if n_boot == 0:
        return {name: {"value": point, "low": None, "high": None} for name, point in points.items()}
    drawn = collect(statistic, strata, n_boot, seed)
    out = {}
    for name, point in points.items():
        low, high = interval(drawn[name], point, recentre=name in recentre)
        if name in trials:
            low = perfect_low(low, point, trials[name])
        out[name] = {"value": point, "low": max(low, 0.0), "high": high}
    return out


def roc_grid(n_negative: int, points: int = 201) -> np.ndarray:
    """False positive rates for a band: even steps, and even steps in the logarithm below 0.1."""
    log_part = np.geomspace(min(1 / n_negative, 0.05), 0.1, 60)
    return np.unique(np.concatenate([np.linspace(0, 1, points), log_part]))


def roc_band(
    labels01: ArrayLike, scores: ArrayLike, n_boot: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Pointwise 95 % band of the ROC curve.

    Returns:
        "fpr" (m,), "low" (m,) and "high" (m,) of the true positive rate there.
    """
    truth, score = checks.binary(labels01, scores)
    counts, grid = weighted_counts(truth, score), roc_grid(int((~truth).sum()))
    curves = []
    for weights in resample_weights(truth, n_boot, seed):
        hits, false = counts(weights)
        # A leading (0, 0); where the curve rises vertically, interp takes its top.
        tpr = np.vstack([np.zeros_like(hits[:1]), hits / hits[-1]])
        fpr = np.vstack([np.zeros_like(false[:1]), false / false[-1]])
        curves += [np.interp(grid, fpr[:, i], tpr[:, i]) for i in range(weights.shape[1])]
    low, high = np.quantile(np.array(curves), (0.025, 0.975), axis=0)
    return {"fpr": grid, "low": low, "high": high}


def pr_band(
    labels01: ArrayLike, scores: ArrayLike, n_boot: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Pointwise 95 % band of the precision-recall steps, the steps that average precision sums.

    Returns:
        "recall" (m,), "low" (m,) and "high" (m,) of the precision where that recall is first reached.
    """
    truth, score = checks.binary(labels01, scores)
    counts, grid = weighted_counts(truth, score), np.linspace(0.005, 1, 200)
    curves = []
    for weights in resample_weights(truth, n_boot, seed):
        hits, false = counts(weights)
        precision = hits / np.maximum(hits + false, 1)
        wanted = grid * hits[-1, 0]  # strata keep their size, so every resample has as many positives
        for i in range(weights.shape[1]):
            first = np.searchsorted(hits[:, i], wanted - 1e-9)
            curves.append(precision[first, i])
    low, high = np.quantile(np.array(curves), (0.025, 0.975), axis=0)
    return {"recall": grid, "low": low, "high": high}
