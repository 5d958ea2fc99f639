"""Adaptation by the Wasserstein distance between the features of both surveys, which a critic estimates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.adapt.critics import Judge, OwnAdam
from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step, joined, rising
from deeplense_core.models.features import feature_size
from deeplense_core.sources import Batch
from deeplense_core.spec import knob


@dataclass(frozen=True)
class WdgrlConfig:
    wdgrl_weight: float = knob(0.3, "Weight of the distance, reached as training goes on", ge=0, le=10,
                               group="adaptation")
    wdgrl_steps: int = knob(5, "Steps of the critic for one of the network", ge=1, le=50, group="adaptation")
    wdgrl_penalty: float = knob(10.0, "Weight of the gradient penalty of the critic", ge=0, le=100, group="adaptation")
    wdgrl_lr: float = knob(1e-3, "Learning rate of the critic", ge=1e-6, le=0.1, group="adaptation")


@ADAPTATIONS.register("wdgrl", config=WdgrlConfig, labels="none", label="Wasserstein distance (WDGRL)",
                      source="Shen et al. 2018, arXiv:1707.01217; penalty: Gulrajani et al. 2017, arXiv:1704.00028")
class Wdgrl:
    """A critic of bounded slope measures how far the surveys' features lie apart, and the network brings them close."""

    def __init__(self, cfg: WdgrlConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> nn.Module:
        self.critic = Judge(feature_size(net))
        self.optimizer = OwnAdam(self.critic, self.cfg.wdgrl_lr)
        return self.optimizer

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        logits, features = learner.run(joined(source, target))
        n = len(source.images)
        loss, features = learner.criterion(logits[:n], source.labels), features.float()
        for _ in range(self.cfg.wdgrl_steps):
            self._teach(features[:n].detach(), features[n:].detach())
        distance = self.critic(features[:n]).mean() - self.critic(features[n:]).mean()
        weight = self.cfg.wdgrl_weight * rising(learner.progress)
        return loss + weight * distance, {"class_loss": loss.detach(), "distance": distance.detach()}

    def _teach(self, of_source: Tensor, of_target: Tensor) -> None:
        """One step of the critic towards the largest difference of means, its slope kept at 1."""
        names = dict(self.critic.named_parameters())
        free = {name: value.detach().clone().requires_grad_() for name, value in names.items()}

        def critic(x: Tensor) -> Tensor:
            return torch.func.functional_call(self.critic, free, (x,))

        with torch.enable_grad(), torch.autocast(of_source.device.type, enabled=False):
            loss = critic(of_target).mean() - critic(of_source).mean()
            between = mixtures(of_source, of_target)
            loss = loss + self.cfg.wdgrl_penalty * gradient_penalty(critic, between)
            gradients = torch.autograd.grad(loss, list(free.values()))
        self.optimizer.learn(gradients)


def mixtures(of_source: Float[Tensor, "b d"], of_target: Float[Tensor, "c d"]) -> Float[Tensor, "n d"]:
    """Where the penalty is taken: random points on lines between both domains, and the points of both
    (arXiv:1707.01217, section 3.2)."""
    n = min(len(of_source), len(of_target))
    part = torch.rand(n, 1, device=of_source.device)
    return torch.cat([of_source[:n].lerp(of_target[:n], part), of_source, of_target])


def gradient_penalty(critic, points: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of (|gradient of the critic| - 1)^2 over the points (arXiv:1704.00028, equation 3)."""
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (slope.square().sum(1).add(1e-12).sqrt() - 1).square().mean()
