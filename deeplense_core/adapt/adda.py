"""Adversarial discriminative adaptation: a network of its own for the target, made to answer like the source's."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplense_core.adapt.critics import Judge, domain_accuracy, domain_loss
from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step
from deeplense_core.models.features import feature_size
from deeplense_core.sources import Batch
from deeplense_core.spec import knob


@dataclass(frozen=True)
class AddaConfig:
    adda_from: float = knob(0.6, "Part of the training that goes to the source; from then on the network adapts",
                            ge=0.05, le=0.95, group="adaptation")
    adda_weight: float = knob(0.1, "Weight of the adversarial loss of the target's encoder", ge=0, le=10,
                              group="adaptation")


class SourceEncoder(nn.Module):
    """The network as the source taught it, frozen when adaptation begins, and the judge of both encoders."""

    taken: Tensor

    def __init__(self, net: nn.Module):
        super().__init__()
        self.judge = Judge(feature_size(net))
        self.frozen = copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("taken", torch.zeros((), dtype=torch.bool))

    def take(self, net: nn.Module) -> None:
        """Keeps the weights of ``net`` the first time; a checkpoint knows whether it has."""
        if not bool(self.taken):
            self.frozen.load_state_dict(net.state_dict())
            self.taken.fill_(True)


@ADAPTATIONS.register("adda", config=AddaConfig, labels="none", label="Adversarial target encoder (ADDA)",
                      source="Tzeng et al. 2017, arXiv:1702.05464")
class Adda:
    """After the source has taught it, the encoder learns on the target alone to fool a judge; the head stays."""

    def __init__(self, cfg: AddaConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> nn.Module:
        self.source = SourceEncoder(net)
        return self.source

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        if learner.progress < self.cfg.adda_from:
            logits, _ = learner.run(source)
            return learner.criterion(logits, source.labels), {}
        self.source.take(learner.net)
        self.source.frozen.eval()
        with torch.no_grad():
            _, of_source = learner.run(source, net=self.source.frozen)
        _, of_target = learner.run(target)
        judged = self.source.judge(of_source), self.source.judge(of_target.detach())
        domain = domain_loss(*judged)
        return domain + self.cfg.adda_weight * fooling_loss(self.source.judge, of_target), {
            "domain_loss": domain.detach(), "domain_accuracy": domain_accuracy(*judged)
        }  # fmt: skip


def fooling_loss(judge: Judge, of_target: Tensor) -> Tensor:
    """The encoder's loss: the target taken for the source (arXiv:1702.05464, equation 9). The judge learns nothing."""
    fixed = {name: value.detach() for name, value in judge.named_parameters()}
    judged = torch.func.functional_call(judge, fixed, (of_target,))
    return F.softplus(-judged).mean()
