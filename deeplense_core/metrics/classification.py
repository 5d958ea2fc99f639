"""The classification protocol: every number with its interval, runs compared in pairs, and baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deeplense_core.errors import UserError
from deeplense_core.metrics import bootstrap, checks
from deeplense_core.metrics.calibration import ECE_BINS, confidence_bins
from deeplense_core.metrics.curves import auc_binary
from deeplense_core.registry import nearest

LOWER_IS_BETTER = ("ece", "log_loss", "brier")
_BIASED = ("ece",)


def confusion(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Counts (k, k), row = true class, column = most probable class."""
    truth, prob = checks.multiclass(labels, probabilities)
    k = prob.shape[1]
    return np.bincount(truth * k + prob.argmax(axis=1), minlength=k * k).reshape(k, k)


def accuracy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Share of images whose most probable class is the true one."""
    truth, prob = checks.multiclass(labels, probabilities)
    return float((prob.argmax(axis=1) == truth).mean())


def auc_macro(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over classes of the one-vs-rest AUC, each class counting the same.

    Raises:
        UserError: a class has no images, so its AUC is undefined.
    """
    truth, prob = checks.multiclass(labels, probabilities)
    k = prob.shape[1]
    reason = _undefined(truth, checks.class_names(None, k))
    if reason:
        raise UserError(reason)
    return float(np.mean([auc_binary(truth == c, prob[:, c]) for c in range(k)]))


def f1_macro(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean F1 over the classes that occur among the labels or the predictions, as scikit-learn's."""
    counts = confusion(labels, probabilities)
    return float(_f1_macro(counts.reshape(-1, 1), counts)[0])


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log of the true class's probability (nats), probabilities held above 2.2e-16."""
    return float(_log_losses(*checks.multiclass(labels, probabilities)).mean())


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared distance of probabilities from truth, summed over classes: 0 to 2 (Brier 1950)."""
    return float(_brier_scores(*checks.multiclass(labels, probabilities)).mean())


def _log_losses(truth: np.ndarray, prob: np.ndarray) -> np.ndarray:
    tiny = np.finfo(np.float64).eps
    return -np.log(np.clip(prob[np.arange(len(truth)), truth], tiny, 1 - tiny))


def _brier_scores(truth: np.ndarray, prob: np.ndarray) -> np.ndarray:
    return ((prob - np.eye(prob.shape[1])[truth]) ** 2).sum(axis=1)


def _f1_macro(cells: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Macro F1 (b,) from flattened confusions (k * k, b), over the classes that ``seen`` (k, k) holds."""
    k = len(seen)
    matrix = cells.reshape(k, k, -1)
    hits = np.einsum("kkb->kb", matrix)
    size = matrix.sum(axis=0) + matrix.sum(axis=1)
    f1 = 2 * hits / np.maximum(size, 1)
    return f1[(seen.sum(axis=0) + seen.sum(axis=1)) > 0].mean(axis=0)


def _undefined(truth: np.ndarray, names: Sequence[str]) -> str:
    """Why the macro AUC does not exist, or an empty text."""
    present = np.unique(truth)
    if len(present) == len(names):
        return ""
    if len(present) == 1:
        return f"ROC undefined: only class {names[present[0]]} is present"
    absent = [name for c, name in enumerate(names) if c not in present]
    return f"ROC undefined: class {', '.join(absent)} is absent"


def _statistic(truth: np.ndarray, prob: np.ndarray, names: Sequence[str]) -> bootstrap.Statistic:
    """All metrics that exist for these labels as one function of weights (n, b).

    Everything except AUC is built from weighted sums over images, so one matrix product gives them all.
    """
    n, k = prob.shape
    top, confidence, bin_of = confidence_bins(prob, ECE_BINS)
    cell = np.zeros((n, k * k))
    cell[np.arange(n), truth * k + top] = 1
    gap = np.zeros((n, ECE_BINS))
    gap[np.arange(n), bin_of] = (top == truth) - confidence
    columns = np.column_stack([cell, gap, _log_losses(truth, prob), _brier_scores(truth, prob)])  # (n, m)
    seen = cell.sum(axis=0).reshape(k, k)
    aucs = {
        f"auc_{name}": bootstrap.auc_statistic(truth == c, prob[:, c])
        for c, name in enumerate(names)
        if 0 < (truth == c).sum() < n
    }

    def values(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = columns.T @ weights  # (m, b)
        cells, gaps = sums[: k * k], sums[k * k : -2]
        out = {name: auc(weights) for name, auc in aucs.items()}
        if len(aucs) == k:
            out = {"auc_macro": np.mean(list(out.values()), axis=0), **out}
        out["accuracy"] = cells[:: k + 1].sum(axis=0) / n
        out["f1_macro"] = _f1_macro(cells, seen)
        out["ece"] = np.abs(gaps).sum(axis=0) / n
        out["log_loss"], out["brier"] = sums[-2] / n, sums[-1] / n
        return out

    return values


def metric_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the classification protocol, in the order shown."""
    return ("auc_macro", *(f"auc_{c}" for c in classes), "accuracy", "f1_macro", *LOWER_IS_BETTER)


def classification_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, dict]:
    """Every metric of the protocol with its 95 % bootstrap interval.

    Args:
        labels: (n,) class numbers.
        probabilities: (n, k), rows add up to 1.
        classes: k names.
        n_boot: resamples, stratified by class; 0 leaves low and high None.
        seed: of the resamples.

    Returns:
        {"auc_macro", "auc_<class>" ..., "accuracy", "f1_macro", "ece", "log_loss", "brier"} ->
        {"value", "low", "high"}. Where an AUC does not exist its three numbers are None and "undefined"
        says why. JSON-ready: no NaN.
    """
    truth, prob = checks.multiclass(labels, probabilities)
    names = checks.class_names(classes, prob.shape[1])
    sizes = np.bincount(truth, minlength=len(names))
    trials = {f"auc_{name}": int(min(s, len(truth) - s)) for name, s in zip(names, sizes, strict=True)}
    smallest = int(sizes[sizes > 0].min())
    trials |= {"auc_macro": smallest, "f1_macro": smallest, "accuracy": len(truth)}
    found = bootstrap.summarise(_statistic(truth, prob, names), truth, n_boot, seed, trials, recentre=_BIASED)
    reason = _undefined(truth, names)
    missing = {"value": None, "low": None, "high": None, "undefined": reason}
    return {name: found.get(name, dict(missing)) for name in metric_names(names)}


def paired_difference(
    labels: ArrayLike,
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    metric: str = "auc_macro",
    classes: Sequence[str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, float | str]:
    """Metric of A minus metric of B on the same images, resampled together, so shared luck cancels.

    Returns:
        {"value", "low", "high", "verdict"}, verdict "A better", "B better" or "not distinguishable" (the
        interval holds 0). Lower is better for ece, log_loss and brier.
    """
    truth, prob_a = checks.multiclass(labels, probabilities_a)
    _, prob_b = checks.multiclass(labels, probabilities_b)
    names = checks.class_names(classes, prob_a.shape[1])
    if prob_a.shape != prob_b.shape:
        raise UserError(f"The two runs know {prob_a.shape[1]} and {prob_b.shape[1]} classes: not comparable.")
    if metric not in metric_names(names):
        raise UserError(f"Unknown metric {metric!r}. {nearest(metric, list(metric_names(names)))}")
    of_a, of_b = _statistic(truth, prob_a, names), _statistic(truth, prob_b, names)

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = of_a(weights), of_b(weights)
        if metric not in a:
            raise UserError(f"{_undefined(truth, names)}.")
        return {metric: a[metric] - b[metric]}

    point = float(difference(np.ones((len(truth), 1)))[metric][0])
    drawn = bootstrap.collect(difference, truth, n_boot, seed)[metric]
    low, high = bootstrap.interval(drawn, point, recentre=metric in _BIASED)
    verdict = "not distinguishable"
    if low > 0 or high < 0:
        verdict = "A better" if (low > 0) != (metric in LOWER_IS_BETTER) else "B better"
    return {"value": point, "low": low, "high": high, "verdict": verdict}


def baseline_rows(labels: ArrayLike, classes: Sequence[str]) -> dict[str, dict[str, dict]]:
    """What no model must fall below, in the format of :func:`classification_metrics`.

    "chance" guesses every class alike (expected values, so low = high = value); "majority class" gives
    every image the class shares of these labels.
    """
    k = len(classes)
    truth, _ = checks.multiclass(labels, np.full((np.size(labels), k), 1 / k))
    shares = np.bincount(truth, minlength=k) / len(truth)
    majority = classification_metrics(truth, np.tile(shares, (len(truth), 1)), classes, n_boot=200)
    seen = shares > 0
    expected = {
        "accuracy": 1 / k,
        # A guess of class c is right with its share: hits share / k, of share true and 1 / k guessed ones.
        "f1_macro": float((2 * (shares / k) / (shares + 1 / k))[seen].mean()),
        "ece": 0.0,
        "log_loss": float(np.log(k)),
        "brier": 1 - 1 / k,
    }
    chance = {}
    for name, found in majority.items():
        exact = expected.get(name, 0.5)
        chance[name] = found if found["value"] is None else {"value": exact, "low": exact, "high": exact}
    return {"chance": chance, "majority class": majority}
