"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deeplense_core.registry import Registry
from deeplense_core.sources import Batch, DataInfo, Images, Source

TASKS = Registry("task")
"""Entries carry

- ``configs``: the settings classes of that task, flat names, no name twice;
- ``labelled``: whether only labelled images serve to train and to score;
- ``calibrated`` (absent: False): whether its outputs are class logits, for :mod:`deeplense_core.calibrate`;
- ``defaults``, optional: defaults of this task for settings of the loop and of the source; a model has its own;
- ``evaluate``: ``(model: Trained, data: DataInfo, part: Images, progress) -> Outcome``.
"""

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class StepOut:
    """Outcome of one training step: the loss to go down and what to log beside it."""

    loss: Tensor
    logs: Mapping[str, float | Tensor] = field(default_factory=dict)
    """Single numbers by name."""
    warning: str = ""
    """What a reader must be told at once, where there is something."""


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found."""

    metrics: Mapping[str, Any]
    """Name -> value, low, high."""
    rows: Mapping[str, Mapping[str, Any]]
    """The same for each baseline, and for each variant of the model, by name."""
    arrays: Mapping[str, np.ndarray]
    """What is kept for each image, its axis first."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a reader of the report must know besides."""


class Task(Protocol):
    """All mathematics of one task; the loop around it is the same for every task."""

    best: str
    """Name of the validation metric that picks the best epoch; larger is better."""

    def __init__(self, settings: Mapping[str, Any], data: DataInfo): ...

    def look(self, source: Source) -> None:
        """Measures what the network must know of the data before it is built: called once, before all others."""
        ...

    def model_args(self) -> dict[str, Any]:
        """Keyword arguments for :func:`deeplense_core.models.build_model`."""
        ...

    def companion(self, net: nn.Module) -> nn.Module | None:
        """What learns along with ``net`` and is left behind when it has: a discriminator, a projection head,
        a teacher. Its parameters that require a gradient are optimised; all of it is in the checkpoints."""
        ...

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> StepOut:
        """Augment, run forward, and give the loss; ``progress`` runs from 0 to 1 over the training."""
        ...

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> np.ndarray:
        """Outputs for a held-out part, one row an image, with or without test-time averaging."""
        ...

    def score(self, outputs: np.ndarray, part: Images) -> dict[str, float]:
        """Validation metrics, quick: no intervals."""
        ...

    def card(self, outputs: np.ndarray, part: Images) -> dict[str, Any]:
        """What the model card must hold beyond the weights: calibration, preprocessing."""
        ...
