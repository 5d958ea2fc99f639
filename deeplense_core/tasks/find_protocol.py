"""The protocol of lens finding: metrics of a ranking with intervals, beside what simpler things reach."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from deeplense_core import metrics
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.sources import DataInfo, Images
from deeplense_core.tasks.base import Outcome, Progress
from deeplense_core.tasks.class_answers import answers, known_labels
from deeplense_core.trained import Trained

TRUST = ("accuracy", "ece", "log_loss")
"""Metrics of classification that say how far a calibrated score can be taken at its word."""


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """Scores a finder: AUROC, AUPRC, TPR0, TPR10 and calibration, each with its interval.

    Raises:
        UserError: data with a class that the network does not know, or with one class only.
    """
    labels, lens = known_labels(model, data, part), model.classes.index(LENS_CLASSES[0])
    raw = answers(model, data, part, progress=progress)
    probabilities = model.calibrate(raw)
    scores = probabilities[:, lens]
    trust = metrics.classification_metrics(labels, probabilities, model.classes)
    once = model.calibrate(answers(model, data, part, averaged=False))[:, lens]
    rows = metrics.find_baselines(labels == lens)
    if not np.array_equal(once, scores):
        rows["as it lies, not averaged over flips and turns"] = metrics.find_metrics(labels == lens, once)
    return Outcome(
        metrics.find_metrics(labels == lens, scores) | {name: trust[name] for name in TRUST}, rows,
        {"labels": labels, "logits": raw, "probabilities": probabilities, "scores": scores, **truth_of(part)},
        {"classes": list(model.classes)} | ({"leaky": True} if model.leaky else {}),
    )


def truth_of(part: Images) -> dict[str, Float[np.ndarray, " n"]]:
    """What a simulator knows of every image, to see which lenses were found."""
    return {name: values for name, values in part.columns.items() if name.startswith("truth_")}
