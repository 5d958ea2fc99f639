"""The one-vs-rest curves of every class, with their bands and areas: what the evaluation page draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deeplense_core.metrics import bootstrap, checks
from deeplense_core.metrics.classification import classification_metrics
from deeplense_core.metrics.curves import pr_curve, roc_curve


@dataclass(frozen=True)
class ClassCurves:
    """One class against the rest.

    Attributes:
        name: The class.
        roc: False positive rate, true positive rate, thresholds, each (g + 1,).
        roc_band: "fpr", "low", "high", each (m,).
        auc: {"value", "low", "high"}.
        pr: Precision (g + 1,), recall (g + 1,), thresholds (g,).
        pr_band: "recall", "low", "high", each (m,).
        average_precision: {"value", "low", "high"}.
        positives: Images of the class.
        negatives: Images of the rest.
    """

    name: str
    roc: tuple[np.ndarray, np.ndarray, np.ndarray]
    roc_band: dict[str, np.ndarray]
    auc: dict
    pr: tuple[np.ndarray, np.ndarray, np.ndarray]
    pr_band: dict[str, np.ndarray]
    average_precision: dict
    positives: int
    negatives: int


def class_curves(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    n_boot: int = 1000,
    seed: int = 0,
) -> list[ClassCurves]:
    """Curves of each class that has images and is not alone; an empty list where no ROC exists.

    Args:
        labels: (n,) class numbers.
        probabilities: (n, k).
        classes: k names.
        n_boot: resamples of the bands and intervals, 1 or more.
        seed: of the resamples.
    """
    truth, prob = checks.multiclass(labels, probabilities)
    names = checks.class_names(classes, prob.shape[1])
    metrics = classification_metrics(truth, prob, names, n_boot, seed)
    curves = []
    for c, name in enumerate(names):
        is_class, score = truth == c, prob[:, c]
        if not 0 < is_class.sum() < len(truth):
            continue
        curves.append(
            ClassCurves(
                name=name,
                roc=roc_curve(is_class, score),
                roc_band=bootstrap.roc_band(is_class, score, n_boot, seed),
                auc=metrics[f"auc_{name}"],
                pr=pr_curve(is_class, score),
                pr_band=bootstrap.pr_band(is_class, score, n_boot, seed),
                average_precision=bootstrap.precision_metric(is_class, score, n_boot, seed),
                positives=int(is_class.sum()),
                negatives=int((~is_class).sum()),
            )
        )
    return curves
