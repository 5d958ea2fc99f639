"""FixMatch: what the network is sure of in a plain view of an unlabelled image, it must also say of a distorted one."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step, chosen, joined, rising
from deeplense_core.sources import Batch
from deeplense_core.spec import knob


@dataclass(frozen=True)
class FixMatchConfig:
    fixmatch_confidence: float = knob(0.95, "Probability from which an answer counts as a label", ge=0.5, le=1,
                                      group="adaptation")
    fixmatch_weight: float = knob(1.0, "Weight of the loss on unlabelled images", ge=0, le=10, group="adaptation")


@ADAPTATIONS.register("fixmatch", config=FixMatchConfig, labels="some", label="Pseudo-labels (FixMatch)",
                      source="Sohn et al. 2020, arXiv:2001.07685")
class FixMatch:
    """Learns from source and labelled target images, and holds confident answers on the unlabelled ones steady."""

    def __init__(self, cfg: FixMatchConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> None:
        return None

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        n = len(source.images)
        logits, _ = learner.run(joined(source, target))
        # Each survey counts alike, however few labels the target has.
        known = learner.criterion(logits[:n], source.labels) + learner.criterion(logits[n:], target.labels)
        logs = {"class_loss": known.detach()}
        unlabelled = target.labels < 0
        if not bool(unlabelled.any()):
            return known, logs
        strong, _ = learner.run(chosen(target, unlabelled), strong=True)
        loss, sure = consistency(logits[n:][unlabelled].detach(), strong, self.cfg.fixmatch_confidence)
        logs |= {"consistency": loss.detach(), "confident": sure.float().mean()}
        return known + self.cfg.fixmatch_weight * rising(learner.progress) * loss, logs


def consistency(
    weak: Float[Tensor, "m k"], strong: Float[Tensor, "m k"], confidence: float
) -> tuple[Float[Tensor, ""], Bool[Tensor, " m"]]:
    """Cross entropy of the strong view with the weak view's class where its probability is at least ``confidence``,
    summed and divided by the number of images (arXiv:2001.07685, equation 4); and which images counted."""
    sureness, label = weak.float().softmax(1).max(1)
    sure = sureness >= confidence
    each = F.cross_entropy(strong.float(), label, reduction="none")
    return (each * sure).mean(), sure
