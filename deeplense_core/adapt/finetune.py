"""Fine-tuning: first the source, then the few labelled images of the target."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step
from deeplense_core.sources import Batch
from deeplense_core.spec import knob


@dataclass(frozen=True)
class FinetuneConfig:
    finetune_from: float = knob(0.5, "Part of the training that goes to the source; the rest to the labelled target",
                                ge=0, le=0.95, group="adaptation")


@ADAPTATIONS.register("finetune", config=FinetuneConfig, labels="only", label="Fine-tuning on labelled images",
                      source="")
class Finetune:
    """Learns the source first and then the labelled images of the target alone."""

    def __init__(self, cfg: FinetuneConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> None:
        return None

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        batch = source if learner.progress < self.cfg.finetune_from else target
        logits, _ = learner.run(batch)
        return learner.criterion(logits, batch.labels), {}
