"""The methods: heads and teachers that learn beside an encoder, and the loss they give two views.

Each is a module, so that all of it is in the checkpoints; the encoder alone is kept when the training has ended.
Heads and losses are lightly's, except for the contrastive loss with margin. lightly takes seconds to import, so it is
not loaded before a method is built.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deeplense_core.registry import Registry
from deeplense_core.spec import knob
from deeplense_core.ssl.losses import margin_loss

METHODS = Registry("method")
"""Entries carry ``labels``: whether the method pairs images by their labels; ``source``."""

NAMES = ("simclr", "vicreg", "byol", "dino", "margin", "margin-labels")


@dataclass(frozen=True)
class MethodConfig:
    method: str = knob("simclr", "How it learns without labels; margin-labels pairs images by their labels, as the "
                       "seed's code did", choices=NAMES, group="method")
    projection: int = knob(128, "Length of the vectors that the loss compares", ge=2, le=8192, group="method")
    hidden: int = knob(512, "Width of the projection head", ge=8, le=8192, group="method")
    temperature: float = knob(0.2, "Temperature of simclr", ge=0.01, le=2, group="method")
    margin: float = knob(1.0, "Distance that two different images shall have, for margin and margin-labels", ge=0.01,
                         le=100, group="method")
    teacher_momentum: float = knob(0.99, "Decay at the start of the teacher's average, for byol and dino; rises to 1",
                                   ge=0, le=0.9999, group="method")
    prototypes: int = knob(1024, "Outputs of the head of dino", ge=2, le=65536, group="method")
    teacher_temperature: float = knob(0.04, "Temperature of dino's teacher", ge=0.005, le=1, group="method")


@dataclass(frozen=True)
class TwoViews:
    """Two views of each of b images, as the encoder reads them, and what it made of them."""

    inputs: tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]
    features: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]
    labels: Int[Tensor, " b"]
    """-1 where unlabelled."""
    generator: torch.Generator
    progress: float
    """0 to 1 over the training."""


def exactly(loss: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
    """The loss of float32 vectors, whatever the precision of the networks."""
    with torch.autocast(vectors[0].device.type, enabled=False):
        return loss(*(v.float() for v in vectors))


def together(net: Callable[[Tensor], Tensor], views: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Both views through a network in one pass."""
    first, second = net(torch.cat(views)).chunk(2)
    return first, second


@METHODS.register("simclr", labels=False, source="Chen et al. 2020, arXiv:2002.05709")
class SimClr(nn.Module):
    """SimCLR: two views of an image are found among all other images of the batch."""

    def __init__(self, cfg: MethodConfig, net: nn.Module, size: int):
        from lightly.loss import NTXentLoss
        from lightly.models.modules.heads import SimCLRProjectionHead

        super().__init__()
        self.head = SimCLRProjectionHead(size, cfg.hidden, cfg.projection)
        self.loss = NTXentLoss(cfg.temperature)

    def forward(self, views: TwoViews) -> Tensor:
        return exactly(self.loss, *together(self.head, views.features))


@METHODS.register("vicreg", labels=False, source="Bardes et al. 2022, arXiv:2105.04906")
class VicReg(nn.Module):
    """VICReg: equal views, spread over every direction, no two directions alike."""

    def __init__(self, cfg: MethodConfig, net: nn.Module, size: int):
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        super().__init__()
        self.head = VICRegProjectionHead(size, cfg.hidden, cfg.projection)
        self.loss = VICRegLoss()

    def forward(self, views: TwoViews) -> Tensor:
        return exactly(self.loss, *together(self.head, views.features))


class Teacher(nn.Module):
    """An average over time of an encoder and its head, which gives the targets and is not optimised."""

    def __init__(self, net: nn.Module, head: nn.Module, same_head: nn.Module, momentum: float):
        super().__init__()
        same_head.load_state_dict(head.state_dict())
        self.averaged = nn.Sequential(copy.deepcopy(net), same_head).requires_grad_(False)
        self.momentum = momentum
        self._students = (net, head)  # a tuple is not registered: they are not the teacher's own

    @torch.no_grad()
    def forward(self, views: TwoViews) -> tuple[Tensor, Tensor]:
        """Follows the student by one step, then both views' targets."""
        from lightly.models.utils import update_momentum

        rest = 0.5 * (1 - self.momentum) * (1 + math.cos(math.pi * views.progress))
        update_momentum(nn.Sequential(*self._students), self.averaged, 1 - rest)
        return together(self.averaged, views.inputs)


@METHODS.register("byol", labels=False, source="Grill et al. 2020, arXiv:2006.07733")
class Byol(nn.Module):
    """BYOL: one view predicts what a slower teacher makes of the other; no image is pushed away."""

    def __init__(self, cfg: MethodConfig, net: nn.Module, size: int):
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead

        super().__init__()
        self.head, same = (BYOLProjectionHead(size, cfg.hidden, cfg.projection) for _ in range(2))
        self.predictor = BYOLPredictionHead(cfg.projection, cfg.hidden, cfg.projection)
        self.teacher = Teacher(net, self.head, same, cfg.teacher_momentum)
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: TwoViews) -> Tensor:
        target_a, target_b = self.teacher(views)
        said_a, said_b = together(lambda x: self.predictor(self.head(x)), views.features)
        return 0.5 * (exactly(self.loss, said_a, target_b) + exactly(self.loss, said_b, target_a))


@METHODS.register("dino", labels=False, source="Caron et al. 2021, arXiv:2104.14294")
class Dino(nn.Module):
    """DINO: one view gives the class, of many without a name, that a slower teacher gives the other.

    Both views are of the whole image: small crops would cut the ring, so there are none.
    """

    def __init__(self, cfg: MethodConfig, net: nn.Module, size: int):
        from lightly.loss import DINOLoss
        from lightly.models.modules.heads import DINOProjectionHead

        super().__init__()
        with warnings.catch_warnings():  # lightly still uses torch's former weight_norm
            warnings.simplefilter("ignore", FutureWarning)
            self.head, same = (DINOProjectionHead(size, cfg.hidden, cfg.projection, cfg.prototypes) for _ in range(2))
        self.teacher = Teacher(net, self.head, same, cfg.teacher_momentum)
        self.loss = DINOLoss(cfg.prototypes, cfg.teacher_temperature, cfg.teacher_temperature)

    def forward(self, views: TwoViews) -> Tensor:
        targets, said = self.teacher(views), together(self.head, views.features)
        return exactly(lambda *v: self.loss(list(v[:2]), list(v[2:])), *targets, *said)


class _Margin(nn.Module):
    """Vectors whose distances the margin is about, a linear layer above the features."""

    by_label: bool

    def __init__(self, cfg: MethodConfig, net: nn.Module, size: int):
        super().__init__()
        self.head, self.margin = nn.Linear(size, cfg.projection), cfg.margin

    def forward(self, views: TwoViews) -> Tensor:
        """Each first view with the second view of its own image and with that of another, always the same step on."""
        first, second = together(self.head, views.features)
        b, labels = len(first), views.labels
        step = int(torch.randint(1, max(2, b), (1,), generator=views.generator))
        others = labels.roll(step)
        same = (labels == others) if self.by_label else torch.zeros_like(labels, dtype=torch.bool)
        known = ((labels >= 0) & (others >= 0)) if self.by_label else torch.ones_like(same)
        pairs = (torch.cat([first, first[known]]), torch.cat([second, second.roll(step, 0)[known]]))
        alike = torch.cat([torch.ones_like(same), same[known]])
        return exactly(lambda x, y: margin_loss(x, y, alike, self.margin), *pairs)


@METHODS.register("margin", labels=False, source="Hadsell et al. 2006, doi:10.1109/CVPR.2006.100")
class Margin(_Margin):
    """Contrastive loss with margin: views of one image together, those of two images apart."""

    by_label = False


@METHODS.register("margin-labels", labels=True, source="Hadsell et al. 2006, as the seed's code")
class MarginLabels(_Margin):
    """Contrastive loss with margin over pairs by label: supervised, as the seed's public code was."""

    by_label = True
