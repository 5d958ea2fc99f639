"""What a method of domain adaptation is, and the registry of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deeplense_core.registry import Registry
from deeplense_core.sources import Batch

ADAPTATIONS = Registry("adaptation")
"""Methods by name. Entries carry

- ``labels``: of the target's training images: ``none`` (all are hidden), ``some`` (labelled and unlabelled images,
  half of each batch) or ``only`` (labelled images alone);
- ``label``: the method in words;
- ``source``: where it is from.
"""


BASELINE = "none"
"""The method that does not adapt: what all others are held against."""
Step = tuple[Float[Tensor, ""], Mapping[str, Tensor | float]]
"""The loss to go down, and what to log beside it."""


class Run(Protocol):
    """A network on a batch, in a fresh view of each image."""

    def __call__(
        self, batch: Batch, strong: bool = False, net: nn.Module | None = None
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d"]]:
        """Class logits and features.

        Args:
            batch: Images as they are stored.
            strong: Views that differ as much as images of one object may.
            net: Another network than the one that learns.
        """
        ...


@dataclass(frozen=True)
class Learner:
    """What a method may ask of the task in one step."""

    run: Run
    """The network on a batch: class logits and features."""
    criterion: Callable[[Float[Tensor, "b k"], Int[Tensor, " b"]], Float[Tensor, ""]]
    """The task's loss over the images that carry a label; 0, with a gradient of 0, where none does."""
    net: nn.Module
    """The network itself, for methods that keep a copy of it."""
    progress: float
    """From 0 to 1 over the training."""


class Adaptation(Protocol):
    """A way to learn from labelled source images and from images of the target."""

    def companion(self, net: nn.Module, classes: int) -> nn.Module | None:
        """What learns along and is left behind: a discriminator, a critic, a frozen source network."""
        ...

    def step(self, learner: Learner, source: Batch, target: Batch) -> Step:
        """The loss of one step. Labels of ``target`` are -1 where hidden."""
        ...


def joined(first: Batch, second: Batch) -> Batch:
    """Two batches as one, with the columns that both have: one pass, so that both share the statistics of
    normalisation layers, as they will in evaluation."""
    columns = {name: torch.cat([values, second.columns[name]]) for name, values in first.columns.items()
               if name in second.columns}  # fmt: skip
    return Batch(torch.cat([first.images, second.images]), torch.cat([first.labels, second.labels]), None, columns)


def chosen(batch: Batch, rows: Bool[Tensor, " b"]) -> Batch:
    """The images of a batch where ``rows`` holds."""
    return Batch(batch.images[rows], batch.labels[rows], None, {k: v[rows] for k, v in batch.columns.items()})


def rising(progress: float, steepness: float = 10.0) -> float:
    """From 0 to 1 over the training: 2 / (1 + exp(-steepness p)) - 1 (Ganin et al. 2016, arXiv:1505.07818)."""
    return 2 / (1 + math.exp(-steepness * progress)) - 1
