"""Classification of a lens image by its substructure: none, subhalo (CDM), vortex (axion)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core import metrics
from deeplense_core.augment import AugmentConfig, augment, d4
from deeplense_core.errors import UserError
from deeplense_core.familiarity import familiar_ranges
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import Batch, DataInfo, Images
from deeplense_core.spec import config_from, knob
from deeplense_core.tasks.base import TASKS, StepOut


@dataclass(frozen=True)
class ClassifyConfig:
    label_smoothing: float = knob(0.0, "Probability mass spread over the other classes", ge=0, le=0.5,
                                  group="loss")


@TASKS.register("classify", configs=(ClassifyConfig, PreprocessConfig, AugmentConfig),
                label="Classify substructure")
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

    def model_args(self) -> dict[str, int]:
        return {"in_channels": self.data.shape[0], "out_features": len(self.data.classes)}

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> StepOut:
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


@torch.no_grad()
def logits(
    model: nn.Module, images: Float[Tensor, "b c h w"], cfg: PreprocessConfig, averaged: bool
) -> Float[Tensor, "b k"]:
    """Class logits; ``averaged`` takes the mean over the eight flips and quarter turns.

    Networks that are exactly equivariant say so (``model.d4_invariant``) and are run once.
    """
    model.eval()
    x = preprocess(images, cfg)
    if not averaged or getattr(model, "d4_invariant", False) or x.shape[-1] != x.shape[-2]:
        return model(x).float()
    turned = [model(d4(x, element)).float() for element in range(8)]
    return torch.stack(turned).mean(0)
