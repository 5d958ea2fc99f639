"""No adaptation: the baseline that every method is held against."""

from __future__ import annotations

from torch import nn

from deeplense_core.adapt.names import ADAPTATIONS, BASELINE, Learner, Step
from deeplense_core.sources import Batch


@ADAPTATIONS.register(BASELINE, labels="none", label="No adaptation (source only)", source="")
class SourceOnly:
    """Learns from the source alone; the target serves to choose the best epoch and to compare."""

    def companion(self, net: nn.Module, classes: int) -> None:
        return None

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        logits, _ = learner.run(source)
        return learner.criterion(logits, source.labels), {}
