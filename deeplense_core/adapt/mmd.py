"""Adaptation by the maximum mean discrepancy of features, under kernels of several widths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.adapt.names import ADAPTATIONS, Learner, Step, joined, rising
from deeplense_core.sources import Batch
from deeplense_core.spec import knob

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Variances of the Gaussian kernels, in units of the mean squared distance of two features."""


@dataclass(frozen=True)
class MmdConfig:
    mmd_weight: float = knob(1.0, "Weight of the discrepancy, reached as training goes on", ge=0, le=100,
                             group="adaptation")


@ADAPTATIONS.register("mmd", config=MmdConfig, labels="none", label="Mean discrepancy (MMD)",
                      source="Gretton et al. 2012, JMLR 13, 723; Long et al. 2015, arXiv:1502.02791")
class Mmd:
    """Both surveys' features are given the same mean under five Gaussian kernels at once."""

    def __init__(self, cfg: MmdConfig):
        self.cfg = cfg

    def companion(self, net: nn.Module, classes: int) -> None:
        return None

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        logits, features = learner.run(joined(source, target))
        n = len(source.images)
        loss = learner.criterion(logits[:n], source.labels)
        apart = discrepancy(features[:n].float(), features[n:].float())
        weight = self.cfg.mmd_weight * rising(learner.progress)
        return loss + weight * apart, {"class_loss": loss.detach(), "discrepancy": apart.detach()}


def discrepancy(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy, mean over the kernels of :data:`WIDTHS` (Gretton et al. 2012, equation 5).

    k(a, b) = exp(-|a - b|^2 / (2 s w)), s the mean of |a - b|^2 over all pairs of different points, w of WIDTHS; s is a
    scale, through which no gradient passes. The estimate that includes the pairs of a point with itself: never below 0.
    """
    both = torch.cat([x, y])
    squares = both.square().sum(1)
    distance = (squares[:, None] + squares - 2 * both @ both.T).clamp_min(0)
    scale = distance.detach().sum() / (len(both) * (len(both) - 1))
    kernel = torch.stack([torch.exp(-distance / (2 * scale.clamp_min(1e-12) * w)) for w in WIDTHS]).mean(0)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
