"""Runs side by side: which settings differ, and whether their scores do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.errors import UserError
from deeplense_core.evaluations.predictions import Predictions
from deeplense_core.metrics import FIND_NAMES, find_difference, paired_difference
from deeplense_core.spec import RunSpec


def flat_settings(spec: RunSpec) -> dict[str, Any]:
    """Every setting of a run under one name each."""
    head = {"task": spec.task, "data": spec.data, "model": spec.model, "seed": spec.seed}
    return {**head, **spec.model_settings, **spec.train_settings, **spec.resources}


def differing_settings(specs: Mapping[str, RunSpec]) -> dict[str, dict[str, Any]]:
    """Settings that are not alike in all runs: setting -> run -> value, None where a run has none."""
    flat = {name: flat_settings(spec) for name, spec in specs.items()}
    names = dict.fromkeys(setting for settings in flat.values() for setting in settings)
    rows = {name: {run: settings.get(name) for run, settings in flat.items()} for name in names}
    return {name: values for name, values in rows.items() if len(set(map(repr, values.values()))) > 1}


def paired(a: Predictions, b: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), probabilities of A (n, k) and of B (n, k) on the same images in the same order.

    Raises:
        UserError: when the two were not scored on the same images and classes.
    """
    if a.classes != b.classes:
        raise UserError(
            f"The runs tell apart {', '.join(a.classes)} and {', '.join(b.classes)}: they cannot be compared."
        )
    order_a, order_b = np.argsort(a.ids), np.argsort(b.ids)
    same = np.array_equal(a.ids[order_a], b.ids[order_b])
    if not same or not np.array_equal(a.labels[order_a], b.labels[order_b]):
        raise UserError(
            "The runs were scored on different images: rows of different data are not compared. "
            "Evaluate both on the same data set."
        )
    return a.labels[order_a], a.probabilities[order_a], b.probabilities[order_b]


def difference(a: Predictions, b: Predictions, metric: str = "auc_macro") -> dict[str, float | str]:
    """Metric of A minus metric of B on the same images, as ``metrics.paired_difference`` gives it; metrics of lens
    finding as ``metrics.find_difference`` does."""
    labels, of_a, of_b = paired(a, b)
    if metric in FIND_NAMES and LENS_CLASSES[0] in a.classes:
        lens = a.classes.index(LENS_CLASSES[0])
        return find_difference(labels == lens, of_a[:, lens], of_b[:, lens], metric)
    return paired_difference(labels, of_a, of_b, metric, a.classes)


def verdict(found: Mapping[str, float | str], name_a: str, name_b: str) -> str:
    """A difference as one sentence, with its interval."""
    interval = f"{found['value']:+.4f}, 95 % {found['low']:+.4f} to {found['high']:+.4f}".replace("-", "−")
    if found["verdict"] == "not distinguishable":
        return f"{name_a} and {name_b} are not distinguishable ({interval})"
    better, other = (name_a, name_b) if found["verdict"] == "A better" else (name_b, name_a)
    return f"{better} is better than {other} ({interval})"
