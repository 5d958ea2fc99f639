"""Classification of a lens image by its substructure: none, subhalo (CDM), vortex (axion)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from deeplense_core import metrics
from deeplense_core.augment import AugmentConfig, augment
from deeplense_core.errors import UserError
from deeplense_core.familiarity import familiar_ranges
from deeplense_core.forward import logits
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import Batch, DataInfo, Images, Source
from deeplense_core.spec import config_from, knob
from deeplense_core.tasks.base import TASKS, Outcome, Progress, StepOut
from deeplense_core.trained import Trained

BLOCK = 256
"""Images held in memory at once by an evaluation."""


@dataclass(frozen=True)
class ClassifyConfig:
    label_smoothing: float = knob(0.0, "Probability mass spread over the other classes", ge=0, le=0.5,
                                  group="loss")


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """The classification protocol: metrics with intervals beside chance and majority.

    Raises:
        UserError: data with a class that the network does not know.
    """
    if unknown := [name for name in data.classes if name not in model.classes]:
        raise UserError(f"{data.name!r} has class {unknown[0]!r}, which {model.name!r} does not know: it tells "
                        f"apart {', '.join(model.classes)}.")
    labels = np.array([model.classes.index(name) for name in data.classes])[part.labels]
    outputs = []
    for block in part.blocks(BLOCK):
        fitted, _ = model.fit(block, data.pixel_scale_arcsec)
        outputs.append(model.logits(fitted))
        if progress:
            progress(min(len(outputs) * BLOCK, len(part)), len(part))
    raw = np.concatenate(outputs)
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
        if len(data.classes) < 2:
            only = f"only class {data.classes[0]!r}" if data.classes else "no class at all"
            raise UserError(f"{data.name!r} holds {only}: a classifier needs at least two. "
                            "Add images of another class.")
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
        return {
            "classes": list(self.data.classes),
            "temperature": metrics.fit_temperature(outputs, part.labels),
            "preprocess": asdict(self.input),
            "familiar": familiar_ranges(part.blocks(256)),
        }
