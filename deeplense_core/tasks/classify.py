"""Classification of a lens image by its substructure: none, subhalo (CDM), vortex (axion)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from deeplense_core import metrics
from deeplense_core.augment import AugmentConfig, augment
from deeplense_core.forward import logits
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import Batch, DataInfo, Images, Source
from deeplense_core.spec import config_from, knob
from deeplense_core.tasks.base import TASKS, Outcome, Progress, StepOut
from deeplense_core.tasks.class_answers import answers, card_of_classes, check_classes, known_labels
from deeplense_core.trained import Trained


@dataclass(frozen=True)
class ClassifyConfig:
    label_smoothing: float = knob(0.0, "Probability mass spread over the other classes", ge=0, le=0.5,
                                  group="loss")


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """The classification protocol: metrics with intervals beside chance and majority.

    Raises:
        UserError: data with a class that the network does not know.
    """
    labels = known_labels(model, data, part)
    raw = answers(model, data, part, progress=progress)
    probabilities = model.calibrate(raw)
    return Outcome(
        metrics.classification_metrics(labels, probabilities, model.classes),
        metrics.baseline_rows(labels, model.classes),
        {"labels": labels, "logits": raw, "probabilities": probabilities},
        {"classes": list(model.classes)},
    )


@TASKS.register("classify", configs=(ClassifyConfig, PreprocessConfig, AugmentConfig), labelled=True,
                calibrated=True, evaluate=evaluate, label="Classify substructure")
class ClassifyTask:
    """Classify a lens image: no substructure, subhalo or vortex."""

    best = "auc_macro"

    def __init__(self, settings: Mapping[str, Any], data: DataInfo):
        check_classes(data)
        self.data = data
        self.cfg = config_from(ClassifyConfig, settings)
        self.input = config_from(PreprocessConfig, settings)
        self.augmentation = config_from(AugmentConfig, settings)

    def look(self, source: Source) -> None:
        """Nothing: the preprocessing needs no numbers of the data."""

    def model_args(self) -> dict[str, int]:
        return {"in_channels": self.data.shape[0], "out_features": len(self.data.classes)}

    def companion(self, net: nn.Module) -> None:
        return None

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> StepOut:
        images = preprocess(augment(batch.images, self.augmentation, generator), self.input)
        logits = model(images)
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=self.cfg.label_smoothing)
        return StepOut(loss)

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> Float[np.ndarray, "n k"]:
        blocks = [logits(model, images, self.input, averaged) for images in part.batches(batch_size, device)]
        return torch.cat(blocks).cpu().numpy().astype(np.float64)

    def score(self, outputs: Float[np.ndarray, "n k"], part: Images) -> dict[str, float]:
        probabilities = metrics.softmax(outputs)
        return {
            "loss": metrics.log_loss(part.labels, probabilities),
            "auc_macro": metrics.auc_macro(part.labels, probabilities),
            "accuracy": metrics.accuracy(part.labels, probabilities),
        }

    def card(self, outputs: Float[np.ndarray, "n k"], part: Images) -> dict[str, Any]:
        return card_of_classes(self.data.classes, outputs, part, self.input)
