"""The protocol of lens finding: metrics of a ranking with intervals, beside what simpler things reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from deeplense_core import metrics
from deeplense_core.augment import d4
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.sources import DataInfo, Images
from deeplense_core.tasks.base import Outcome, Progress
from deeplense_core.tasks.class_answers import answers, known_labels
from deeplense_core.trained import Trained

TRUST = ("accuracy", "ece", "log_loss")
"""Metrics of classification that say how far a calibrated score can be taken at its word."""
TURNED = 256
"""Images that are looked at in all eight orientations."""
ONE_VIEW = "one orientation instead of the mean over eight"


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """Scores a finder: AUROC, AUPRC, TPR0, TPR10, calibration and steadiness, each with its interval.

    Raises:
        UserError: data with a class that the network does not know, or with one class only.
    """
    # Loads scipy, which a form that lists the tasks does not need.
    from deeplense_core.tasks.find_baselines import baseline_scores

    labels, lens = known_labels(model, data, part), model.classes.index(LENS_CLASSES[0])
    is_lens = labels == lens
    raw = answers(model, data, part, progress=progress)
    probabilities = model.calibrate(raw)
    scores = probabilities[:, lens]
    trust = metrics.classification_metrics(labels, probabilities, model.classes)
    once = model.calibrate(answers(model, data, part, averaged=False))[:, lens]
    rows = metrics.find_baselines(is_lens)
    rows |= {name: metrics.find_metrics(is_lens, found) for name, found in baseline_scores(model, data, part).items()}
    if not np.array_equal(once, scores):
        rows[ONE_VIEW] = metrics.find_metrics(is_lens, once)
    found = metrics.find_metrics(is_lens, scores) | {name: trust[name] for name in TRUST}
    return Outcome(
        found | {"rotation_change": rotation_change(model, data, part, lens)}, rows,
        {"labels": labels, "logits": raw, "probabilities": probabilities, "scores": scores, **truth_of(part)},
        {"classes": list(model.classes)} | ({"leaky": True} if model.leaky else {}),
    )


def rotation_change(model: Trained, data: DataInfo, part: Images, lens: int) -> dict[str, Any]:
    """How much the score of one orientation changes under flips and quarter turns: the largest difference between
    two of the eight, its mean over at most :data:`TURNED` images, 95 % interval by bootstrap.

    Of an exactly equivariant network it is the rounding of its arithmetic.
    """
    few = part.some(np.unique(np.linspace(0, len(part) - 1, min(TURNED, len(part))).round().astype(int)))
    images, _ = model.fit(next(few.blocks(TURNED)), data.pixel_scale_arcsec)
    if images.shape[-1] != images.shape[-2]:
        return {"value": None, "low": None, "high": None, "undefined": "the images are not square"}
    turned = [model.calibrate(model.logits(_turned(images, element), False, few.columns))[:, lens]
              for element in range(8)]  # fmt: skip
    return metrics.mean_with_interval(np.ptp(turned, axis=0))


def _turned(images: Float[np.ndarray, "n c h w"], element: int) -> Float[np.ndarray, "n c h w"]:
    return d4(torch.from_numpy(images), element).numpy()


def truth_of(part: Images) -> dict[str, Float[np.ndarray, " n"]]:
    """What a simulator knows of every image, to see which lenses were found."""
    return {name: values for name, values in part.columns.items() if name.startswith("truth_")}
