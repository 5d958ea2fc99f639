"""Images of the survey to adapt to, beside those of the source: what is known of them, and what stays hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from deeplense_core.adapt.names import ADAPTATIONS
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.preprocess import center_crop, rescale
from deeplense_core.sim.generate import recipe
from deeplense_core.sources import (
    SIM,
    VALIDATION,
    Batch,
    DataInfo,
    Images,
    OnlineConfig,
    SimulatedSource,
    Source,
    StoredSource,
    describe,
    generator,
    simulated_images,
    stored_images,
)

FEWEST = 20
"""Labelled validation images of the target, of each class at least a quarter of this, from which they choose the
best epoch."""
APART = 1 << 32
"""Added to the seed of a simulated target, so that it shares no image with a source of the same recipe."""


def check_target(source: DataInfo, method: str, target: str) -> None:
    """Raises a UserError where ``method`` cannot adapt from ``source`` to ``target``, before anything starts."""
    if not target:
        if method != "none":
            raise UserError(f"adapt = {method!r} needs images of the survey to adapt to: set target to the folder of a "
                            "data set of them (labels are not needed), or to sim:RECIPE.")
        return
    info = describe(target)
    if info.shape[0] != source.shape[0]:
        raise UserError(f"The target {info.name!r} has {info.shape[0]} band(s) and the training images "
                        f"{source.shape[0]}: adaptation needs the same bands in both.")
    if unknown := [name for name in info.classes if name not in source.classes]:
        raise UserError(f"The target {info.name!r} has class {unknown[0]!r}, which {source.name!r} does not hold: it "
                        f"tells apart {', '.join(source.classes)}.")
    if target.startswith(SIM):
        few = recipe(target.removeprefix(SIM)).labelled_fraction == 0
    else:
        dataset = open_dataset(Path(target))
        few = (dataset.labels[dataset.rows("train")] >= 0).sum() < 2
    if few and ADAPTATIONS[method].about["labels"] != "none":
        raise UserError(f"adapt = {method!r} learns from labelled images of the target, and {info.name!r} has none "
                        "in its train split. Choose dann, adda, wdgrl or mmd, which need no label.")


def with_target(
    source: Source, settings: Mapping[str, Any], seed: int, device: torch.device, compiled: bool, online: OnlineConfig
) -> Source:
    """``source`` with batches of the run's target beside its own; itself where the run has none."""
    target = settings.get("target")
    if not target:
        return source
    labels = ADAPTATIONS[settings["adapt"]].about["labels"]
    if target.startswith(SIM):
        return TargetedSource(source, SimulatedTarget(target, source.info, labels, seed, device, compiled, online))
    return TargetedSource(source, StoredTarget(target, source.info, labels, seed, device))


class StoredTarget:
    """The training and validation images of a data set, brought to the size and scale of the source's.

    ``labels``: ``none`` hides every label of the training images, ``some`` shows those that the catalogue has, ``only``
    leaves unlabelled images out. Columns of the truth are never read.
    """

    def __init__(self, data: str, source: DataInfo, labels: str, seed: int, device: torch.device):
        self.data, self.labels, self.dataset = data, labels, open_dataset(Path(data))
        self.source, self.fitting = source, Fitting(describe(data), source)
        self.images = StoredSource(self.dataset, seed + APART, device, labelled=labels == "only")
        self.images.columns = {name: v for name, v in self.images.columns.items() if not name.startswith("truth_")}

    def batch(self, number: int, size: int) -> Batch:
        """Batch ``number`` of an endless row of shuffled passes over the images."""
        size = min(size, len(self.images.rows))
        epoch, step = divmod(number, self.images.steps(size))
        batch = self.images.batch(epoch, step, size, 1)
        labels = torch.full_like(batch.labels, -1) if self.labels == "none" else self.fitting.relabelled(batch.labels)
        return replace(batch, images=self.fitting(batch.images), labels=labels)

    def validation(self) -> Images:
        """The labelled images of the val split."""
        part = stored_images(self.dataset, "val")
        known = {name: values for name, values in part.columns.items() if not name.startswith("truth_")}
        part = replace(part, labels=self.fitting.relabelled(torch.from_numpy(part.labels)).numpy(), columns=known)
        if not len(part) or self.fitting.fits(part.store.shape[-2:]):
            return part
        store = np.concatenate([self.fitting(torch.from_numpy(block)).numpy() for block in part.blocks(256)])
        return replace(part, store=store, rows=np.arange(len(part)))


class SimulatedTarget:
    """The simulator as the target, fresh each step, with the labels that its recipe gives to a data set."""

    def __init__(self, data: str, source: DataInfo, labels: str, seed: int, device: torch.device, compiled: bool,
                 online: OnlineConfig):
        self.data, self.labels, self.recipe = data, labels, data.removeprefix(SIM)
        self.fraction = recipe(self.recipe).labelled_fraction
        self.fitting = Fitting(describe(data), source)
        self.seed, self.device, self.compiled, self.online = seed + APART, device, compiled, online
        self.images = SimulatedSource(self.recipe, online, self.seed, device, compiled)

    def batch(self, number: int, size: int) -> Batch:
        """Fresh images; labels are dealt out by chance to the recipe's fraction of them."""
        batch = self.images.batch(0, number, size, 1)
        chance = torch.rand(size, generator=generator(self.seed, number, 0x1ABE1)).to(self.device)
        shown = chance <= (1.0 if self.labels == "only" else 0.0 if self.labels == "none" else self.fraction)
        labels = torch.where(shown & (self.labels != "none"), self.fitting.relabelled(batch.labels), -1)
        return Batch(self.fitting(batch.images), labels)

    def validation(self) -> Images:
        """Held-out images, as many as the recipe would label of a validation set."""
        count = round(self.fraction * self.online.val_images)
        part = simulated_images(self.recipe, count, self.seed, VALIDATION, str(self.device), self.compiled)
        labels = self.fitting.relabelled(torch.from_numpy(part.labels)).numpy()
        return replace(part, store=self.fitting(torch.from_numpy(part.store)).numpy(), labels=labels, columns={})


class Fitting:
    """Brings images and labels of the target to the size, scale and class numbers of the source, as ``predict``
    does."""

    def __init__(self, target: DataInfo, source: DataInfo):
        self.shape = source.shape
        ours, theirs = source.pixel_scale_arcsec, target.pixel_scale_arcsec
        self.factor = theirs / ours if ours and theirs else None
        self.places = torch.tensor([source.classes.index(name) for name in target.classes] + [-1])

    def __call__(self, images: Tensor) -> Tensor:
        if self.fits(images.shape[-2:]):
            return images
        return center_crop(rescale(images, self._factor(images.shape[-2])), self.shape[1])

    def fits(self, size: tuple[int, ...]) -> bool:
        """Whether images of this (h, w) are left as they are."""
        return tuple(size) == self.shape[1:] and abs(self._factor(size[0]) - 1) < 1e-3

    def _factor(self, height: int) -> float:
        return self.factor or self.shape[1] / height

    def relabelled(self, labels: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Numbers of the source's classes; -1 stays -1."""
        return self.places.to(labels.device)[labels]


class TargetedSource:
    """A source whose batches bring images of the target along, and whose validation is the target's where it can be."""

    def __init__(self, source: Source, target: StoredTarget | SimulatedTarget):
        self.source, self.target, self.info = source, target, source.info
        self.val = target.validation()
        counts = np.bincount(self.val.labels, minlength=len(self.info.classes))
        self.blind = len(self.val) < FEWEST or bool(counts.min() < FEWEST / 4)
        """True: too few labels to choose an epoch by; the last one is kept."""

    def steps(self, batch_size: int) -> int:
        return self.source.steps(batch_size)

    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch:
        number = epoch * self.steps(batch_size) + step
        own = self.source.batch(epoch, step, batch_size, total_steps)
        return replace(own, other=self.target.batch(number, batch_size))

    def part(self, split: str) -> Images:
        return self.val if split == "val" and not self.blind else self.source.part(split)
