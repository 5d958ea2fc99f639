"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deeplense_core.registry import Registry
from deeplense_core.sources import Batch, DataInfo, Images

TASKS = Registry("task")
"""Entries carry ``configs``: the settings classes of that task, flat names, no name twice."""


@dataclass(frozen=True)
class StepOut:
    """Outcome of one training step: the loss to go down and what to log beside it."""

    loss: Tensor
    logs: Mapping[str, float] = field(default_factory=dict)


class Task(Protocol):
    """All mathematics of one task; the loop around it is the same for every task."""

    best: str
    """Name of the validation metric that picks the best epoch; larger is better."""

    def __init__(self, settings: Mapping[str, Any], data: DataInfo): ...

    def model_args(self) -> dict[str, int]:
        """Keyword arguments for :func:`deeplense_core.models.build_model`."""
        ...

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> StepOut:
        """Augment, run forward, and give the loss."""
        ...

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> np.ndarray:
        """Outputs for a held-out part, with or without test-time averaging."""
        ...

    def score(self, outputs: np.ndarray, part: Images) -> dict[str, float]:
        """Validation metrics, quick: no intervals."""
        ...

    def card(self, outputs: np.ndarray, part: Images) -> dict[str, Any]:
        """What the model card must hold beyond the weights: calibration, preprocessing."""
        ...
