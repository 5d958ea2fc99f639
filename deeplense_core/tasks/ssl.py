"""Self-supervised learning: an encoder that learns from images without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.familiarity import familiar_ranges
from deeplense_core.models.equivariant_transformer import EquivariantTransformer, equivariance_error
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sim.partners import AUGMENT, PARTNERS, check_partner
from deeplense_core.sources import SIM, Batch, DataInfo, Images, Source
from deeplense_core.spec import config_from, knob
from deeplense_core.ssl.collapse import effective_rank
from deeplense_core.ssl.methods import METHODS, MethodConfig, TwoViews
from deeplense_core.ssl.probes import NEIGHBOURS, neighbour_votes
from deeplense_core.ssl.views import ViewConfig, jittered, view
from deeplense_core.tasks.base import TASKS, StepOut
from deeplense_core.tasks.ssl_scores import evaluate, feature_blocks

FEWEST_LABELLED = 2 * NEIGHBOURS
"""Labelled validation images below which neighbours say little, and the effective rank picks the best epoch."""
MOST_SCORED = 3_000
"""Validation images whose neighbours and rank are looked at; the time of both grows faster than their number."""
TURNED = 8
"""Validation images on which it is measured how well a map turns with its image."""


@dataclass(frozen=True)
class SslConfig:
    pairs: str = knob(AUGMENT, "Second view: augment, of the same image; of simulations also source, the same lens "
                      "with another source, or survey, the same sky in another survey", choices=(AUGMENT, *PARTNERS),
                      group="method")
    collapse_below: float = knob(3.0, "Effective rank of a batch's features below which a run is said to collapse",
                                 ge=1, le=1000, group="method")


@TASKS.register("ssl", configs=(SslConfig, MethodConfig, ViewConfig, PreprocessConfig), labelled=False,
                evaluate=evaluate, label="Self-supervised",
                defaults={"val_images": 900, "test_images": 1500, "curriculum_start": 1.0, "weight_decay": 1e-4,
                          "patience": 0})
class SslTask:
    """Learn features of lenses without labels: two views of one lens shall look alike to the network."""

    def __init__(self, settings: Mapping[str, Any], data: DataInfo):
        self.data = data
        self.cfg = config_from(SslConfig, settings)
        self.method_cfg = config_from(MethodConfig, settings)
        self.views = config_from(ViewConfig, settings)
        self.input = config_from(PreprocessConfig, settings)
        self.best = "effective_rank"
        self.method: nn.Module | None = None
        self.turning: float | None = None
        name = self.method_cfg.method
        if METHODS[name].about["labels"] and len(data.classes) < 2:
            raise UserError(f"{data.name!r} has no two classes: {name} pairs images by their labels. "
                            "Take method=margin, which needs none.")
        if self.cfg.pairs != AUGMENT:
            if not data.location.startswith(SIM):
                raise UserError(f"pairs={self.cfg.pairs} needs the simulator to see a lens a second time: take data "
                                f"such as {SIM}common-test, or pairs={AUGMENT}.")
            check_partner(data.location.removeprefix(SIM), self.cfg.pairs)

    def look(self, source: Source) -> None:
        """Neighbours pick the best epoch where validation images carry labels."""
        labels = source.part("val").labels
        known = labels[labels >= 0]
        if len(known) >= FEWEST_LABELLED and len(np.unique(known)) > 1:
            self.best = "knn_accuracy"

    def model_args(self) -> dict[str, int]:
        return {"in_channels": self.data.shape[0], "out_features": 0}

    def companion(self, net: nn.Module) -> nn.Module:
        side = next(net.parameters())
        shape = (self.input.crop, self.input.crop) if self.input.crop else self.data.shape[1:]
        with torch.no_grad():
            size = net.eval()(torch.zeros(1, self.data.shape[0], *shape, device=side.device)).shape[1]
        method: nn.Module = METHODS[self.method_cfg.method].build(self.method_cfg, net.train(), size)
        self.method = method
        return method

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> StepOut:
        assert self.method is not None, "companion comes first"
        second = batch.images if batch.partner is None else batch.partner
        inputs = self._input(batch.images, generator), self._input(second, generator)
        first, other = model(torch.cat(inputs)).chunk(2)
        loss = self.method(TwoViews(inputs, (first, other), batch.labels, generator, progress))
        rank = effective_rank(first.detach().float().cpu().numpy())
        return StepOut(loss, {"effective_rank": rank}, self._collapse(rank))

    def _input(self, images: Tensor, generator: torch.Generator) -> Tensor:
        x = preprocess(view(images, self.views, generator), self.input)
        return jittered(x, self.views.jitter, generator) if self.views.jitter else x

    def _collapse(self, rank: float) -> str:
        if rank >= self.cfg.collapse_below:
            return ""
        return (f"Collapse: the features of a batch use {rank:.1f} directions (effective rank), fewer than "
                f"{self.cfg.collapse_below:g}. Lower lr, widen the views, or take method=vicreg.")

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> Float[np.ndarray, "n d"]:
        if isinstance(model, EquivariantTransformer):
            first = next(part.batches(TURNED, device))[:TURNED]
            self.turning = equivariance_error(model, preprocess(first, self.input))
        return np.concatenate(list(feature_blocks(model, part.batches(batch_size, device), self.input)))

    def score(self, outputs: Float[np.ndarray, "n d"], part: Images) -> dict[str, float]:
        shown = np.unique(np.linspace(0, len(outputs) - 1, MOST_SCORED).astype(int))
        features, labels = outputs[shown].astype(np.float64), part.labels[shown]
        rank = effective_rank(features)
        found = {"effective_rank": rank, "rank_share": rank / min(features.shape)}
        if self.turning is not None:
            found["equivariance_error"] = self.turning
        if self.best == "knn_accuracy":
            known = labels >= 0
            votes = neighbour_votes(features[known], labels[known], features[known], len(self.data.classes),
                                    leave_out=True)
            found["knn_accuracy"] = float((votes.argmax(1) == labels[known]).mean())
        return found

    def card(self, outputs: Float[np.ndarray, "n d"], part: Images) -> dict[str, Any]:
        picked = ("nearest neighbours among labelled validation images, which no weight has learnt from"
                  if self.best == "knn_accuracy" else "the effective rank of validation images, which carry no labels")
        return {
            "classes": list(self.data.classes), "preprocess": asdict(self.input),
            "familiar": familiar_ranges(part.blocks(256)), "features": outputs.shape[1],
            "method": self.method_cfg.method, "pairs": self.cfg.pairs,
            "labels_used": bool(METHODS[self.method_cfg.method].about["labels"]), "best_epoch_by": picked,
        }
