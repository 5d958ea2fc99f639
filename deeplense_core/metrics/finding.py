"""Metrics of a lens finder: few lenses among many other objects, so what counts is the top of the ranking.

``labels01`` is 1 for a lens and 0 for anything else; higher ``scores`` mean more likely a lens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from deeplense_core.errors import UserError
from deeplense_core.metrics import bootstrap, checks
from deeplense_core.metrics.curves import cumulative, kept_point, purity_at, tpr_at
from deeplense_core.registry import nearest

FIND_NAMES = ("auroc", "auprc", "tpr0", "tpr10")
TEN = 10


def tpr_at_zero_fp(labels01: ArrayLike, scores: ArrayLike) -> float:
    """TPR0: the highest completeness without a single false positive (Metcalf et al. 2019, arXiv:1802.03609).

    Lenses that share their score with a non-lens are not separated from it: they do not count.
    """
    return tpr_at(labels01, scores, 0)


def tpr_at_ten_fp(labels01: ArrayLike, scores: ArrayLike) -> float:
    """TPR10: the highest completeness with fewer than ten false positives (Metcalf et al. 2019)."""
    return tpr_at(labels01, scores, TEN - 1)


def find_metrics(
    labels01: ArrayLike, scores: ArrayLike, n_boot: int = 1000, seed: int = 0
) -> dict[str, dict]:
    """ "auroc", "auprc", "tpr0" and "tpr10" of a finder, each {"value", "low", "high"} (95 % bootstrap).

    With fewer than ten non-lenses every threshold has fewer than ten false positives: TPR10 then says nothing,
    its three numbers are None and "undefined" says why.
    """
    truth, score = checks.binary(labels01, scores)
    trials = int(min(truth.sum(), (~truth).sum()))
    found = bootstrap.summarise(find_statistic(truth, score), truth, n_boot, seed, dict.fromkeys(FIND_NAMES, trials))
    others = int((~truth).sum())
    if others < TEN:
        found["tpr10"] = {"value": None, "low": None, "high": None,
                          "undefined": f"TPR10 undefined: only {others} non-lenses"}  # fmt: skip
    return found


def find_baselines(labels01: ArrayLike) -> dict[str, dict[str, dict]]:
    """What guessing reaches, in the format of :func:`find_metrics`: the expected values of a random ranking.

    With P lenses among n objects, N of them no lenses: a lens comes before all but k of the non-lenses with
    probability (k + 1) / (N + 1), and the average precision is (H_n + (P - 1) / (n - 1) (n - H_n)) / n, H_n the
    n-th harmonic number.
    """
    truth, _ = checks.binary(labels01, np.zeros(np.shape(labels01)))
    n, lenses = len(truth), int(truth.sum())
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    precision = (harmonic + (lenses - 1) / (n - 1) * (n - harmonic)) / n
    expected = {"auroc": 0.5, "auprc": precision, "tpr0": 1 / (n - lenses + 1),
                "tpr10": min(1.0, TEN / (n - lenses + 1))}  # fmt: skip
    return {"chance": {name: {"value": v, "low": v, "high": v} for name, v in expected.items()}}


def find_difference(
    labels01: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, metric: str = "auroc",
    n_boot: int = 1000, seed: int = 0,
) -> dict[str, float | str]:  # fmt: skip
    """Metric of finder A minus that of finder B on the same objects, resampled together, so shared luck cancels.

    Returns:
        {"value", "low", "high", "verdict"}, verdict "A better", "B better" or "not distinguishable" (the interval
        holds 0).
    """
    if metric not in FIND_NAMES:
        raise UserError(f"Unknown metric {metric!r}. {nearest(metric, list(FIND_NAMES))}")
    truth, score_a = checks.binary(labels01, scores_a)
    _, score_b = checks.binary(labels01, scores_b)
    of_a, of_b = find_statistic(truth, score_a), find_statistic(truth, score_b)

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {metric: of_a(weights)[metric] - of_b(weights)[metric]}

    point = float(difference(np.ones((len(truth), 1)))[metric][0])
    low, high = bootstrap.interval(bootstrap.collect(difference, truth, n_boot, seed)[metric], point)
    return {"value": point, "low": low, "high": high, "verdict": verdict_of(low, high)}


def verdict_of(low: float, high: float) -> str:
    """What the interval of A minus B says, in a metric of which more is better."""
    return "A better" if low > 0 else "B better" if high < 0 else "not distinguishable"


def find_statistic(truth: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The four metrics as one function of weights (n, b) -> (b,) each."""
    auc, counts = bootstrap.auc_statistic(truth, score), bootstrap.weighted_counts(truth, score)

    def values(weights: np.ndarray) -> dict[str, np.ndarray]:
        hits, false = counts(weights)
        return {
            "auroc": auc(weights),
            "auprc": bootstrap.average_precisions(hits, false),
            "tpr0": np.where(false <= 0, hits, 0).max(axis=0) / hits[-1],
            "tpr10": np.where(false < TEN, hits, 0).max(axis=0) / hits[-1],
        }

    return values


@dataclass(frozen=True, eq=False)
class Ranking:
    """A finder's scores sorted once: what any threshold keeps is then a look-up.

    Attributes:
        thresholds: Distinct scores, falling.
        hits: Lenses with at least that score.
        false: Non-lenses with at least that score.
    """

    thresholds: Float[np.ndarray, " g"]
    hits: Int[np.ndarray, " g"]
    false: Int[np.ndarray, " g"]

    @property
    def lenses(self) -> int:
        return int(self.hits[-1])

    @property
    def others(self) -> int:
        return int(self.false[-1])

    @property
    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates (g + 1,), from (0, 0): above every score nothing is kept."""
        return np.append(0.0, self.false / self.others), np.append(0.0, self.hits / self.lenses)

    def kept(self, threshold: float) -> tuple[int, int]:
        """Lenses and non-lenses with a score of at least the threshold."""
        place = int(np.searchsorted(-self.thresholds, -threshold, "right"))
        return (int(self.hits[place - 1]), int(self.false[place - 1])) if place else (0, 0)

    def point(self, threshold: float, prevalence: float = 1e-3) -> dict[str, dict[str, float | None]]:
        """As :func:`deeplense_core.metrics.operating_point`."""
        hits, false = self.kept(threshold)
        return kept_point(hits, self.lenses, false, self.others, prevalence)

    def table(self, prevalence: float = 1e-3) -> dict[str, np.ndarray]:
        """As :func:`deeplense_core.metrics.threshold_table`."""
        tpr, fpr = self.hits / self.lenses, self.false / self.others
        purity, per_true = purity_at(tpr, fpr, prevalence)
        return {"threshold": self.thresholds, "completeness": tpr, "fpr": fpr, "purity": purity,
                "false_per_true": per_true}  # fmt: skip

    def threshold_for(self, false_positives: int) -> float:
        """The lowest threshold with at most this many non-lenses; just above the highest score where there is none."""
        allowed = np.flatnonzero(self.false <= false_positives)
        return float(self.thresholds[allowed[-1]]) if len(allowed) else float(np.nextafter(self.thresholds[0], np.inf))


def rank(labels01: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sorts a finder's scores, highest first; ties share one threshold."""
    hits, false, thresholds = cumulative(*checks.binary(labels01, scores))
    return Ranking(thresholds, hits, false)


def expected_counts(point: dict[str, dict], prevalence: float, objects: int = 1_000_000) -> dict[str, float]:
    """What a threshold keeps of a sky of so many objects.

    Args:
        point: From :meth:`Ranking.point`.
        prevalence: Share of lenses among the objects.
        objects: How many there are.

    Returns:
        "lenses" that there are, "found", "missed", "false" (objects kept that are no lenses), "kept".
    """
    lenses = objects * prevalence
    found, false = lenses * point["completeness"]["value"], (objects - lenses) * point["fpr"]["value"]
    return {"lenses": lenses, "found": found, "missed": lenses - found, "false": false, "kept": found + false}
