"""Domain-adversarial training: features from which no judge can tell the surveys apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.adapt.critics import Judge, domain_accuracy, domain_loss, reversed_gradient
from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step, joined, rising
from deeplense_core.models.features import feature_size
from deeplense_core.sources import Batch
from deeplense_core.spec import knob


@dataclass(frozen=True)
class DannConfig:
    dann_weight: float = knob(0.5, "Largest factor of the reversed gradient, reached as training goes on", ge=0, le=10,
                              group="adaptation")
    dann_conditional: bool = knob(False, "The judge sees features times class probabilities (CDAN), so that lenses "
                                  "are matched to lenses", group="adaptation")


@ADAPTATIONS.register("dann", config=DannConfig, labels="none", label="Domain-adversarial (DANN)",
                      source="Ganin et al. 2016, arXiv:1505.07818; conditional: Long et al. 2018, arXiv:1705.10667")
class Dann:
    """A judge learns to tell the surveys apart, and its gradient, reversed, teaches the network not to differ."""

    def __init__(self, cfg: DannConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> nn.Module:
        self.judge = Judge(feature_size(net) * (classes if self.cfg.dann_conditional else 1))
        return self.judge

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        logits, features = learner.run(joined(source, target))
        n = len(source.images)
        loss = learner.criterion(logits[:n], source.labels)
        seen = conditioned(features, logits.softmax(1).detach()) if self.cfg.dann_conditional else features
        factor = self.cfg.dann_weight * rising(learner.progress)
        judged = self.judge(reversed_gradient(seen, factor))
        domain = domain_loss(judged[:n], judged[n:])
        return loss + domain, {"class_loss": loss.detach(), "domain_loss": domain.detach(),
                               "domain_accuracy": domain_accuracy(judged[:n], judged[n:])}


def conditioned(features: Float[Tensor, "b d"], probabilities: Float[Tensor, "b k"]) -> Float[Tensor, "b dk"]:
    """Outer product of features and class probabilities, flattened (arXiv:1705.10667, equation 3)."""
    return torch.einsum("bd,bk->bdk", features, probabilities.to(features)).flatten(1)
