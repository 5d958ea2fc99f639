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

from deeplense_core.adapt.names import ADAPTATIONS, BASELINE, joined
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.preprocess import center_crop, resampling, rescale
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
        if method != BASELINE:
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
        images = SimulatedTarget(target, source.info, labels, seed, device, compiled, online)
    else:
        images = StoredTarget(target, source.info, labels, seed, device)
    val = target_validation(target, source.info, seed, online.val_images, str(device))
    return TargetedSource(source, images, val)


class StoredTarget:
    """The training images of a data set, brought to the size and scale of the source's.

    ``labels``: ``none`` hides every label of the training images; ``some`` shows those that the catalogue has, and
    fills half of each batch with such images, however few they are; ``only`` leaves unlabelled images out. Columns of
    the truth are never read.
    """

    def __init__(self, data: str, source: DataInfo, labels: str, seed: int, device: torch.device):
        self.labels, self.fitting = labels, Fitting(describe(data), source)
        dataset = open_dataset(Path(data))
        rows = dataset.rows("train")
        known = dataset.labels[rows] >= 0
        wanted = {"none": [rows], "some": [rows[known], rows[~known]], "only": [rows[known]]}[labels]
        self.parts = [StoredSource(dataset, seed + APART, device, rows=part)
                      for part in wanted if len(part) or len(wanted) == 1]  # fmt: skip
        for part in self.parts:
            part.columns = {name: v for name, v in part.columns.items() if not name.startswith("truth_")}

    def batch(self, number: int, size: int) -> Batch:
        """Batch ``number`` of an endless row of shuffled passes over the images."""
        batches = [self._batch(part, number, size // len(self.parts)) for part in self.parts]
        return batches[0] if len(batches) == 1 else joined(*batches)

    def _batch(self, part: StoredSource, number: int, size: int) -> Batch:
        size = max(1, min(size, len(part.rows)))
        epoch, step = divmod(number, part.steps(size))
        batch = part.batch(epoch, step, size, 1)
        labels = torch.full_like(batch.labels, -1) if self.labels == "none" else self.fitting.relabelled(batch.labels)
        return replace(batch, images=self.fitting(batch.images), labels=labels)


class SimulatedTarget:
    """The simulator as the target, fresh each step; the batches are as :class:`StoredTarget`'s."""

    def __init__(
        self, data: str, source: DataInfo, labels: str, seed: int, device: torch.device, compiled: bool,
        online: OnlineConfig,
    ):  # fmt: skip
        name = data.removeprefix(SIM)
        self.shown = {"none": 0.0, "some": 0.5, "only": 1.0}[labels]
        self.fitting, self.seed = Fitting(describe(data), source), seed + APART
        self.images = SimulatedSource(name, online, self.seed, device, compiled)

    def batch(self, number: int, size: int) -> Batch:
        """Fresh images; the first of them show their labels."""
        batch = self.images.batch(0, number, size, 1)
        shown = torch.arange(size, device=batch.labels.device) < self.shown * size
        labels = torch.where(shown, self.fitting.relabelled(batch.labels), -1)
        return Batch(self.fitting(batch.images), labels)


class Fitting:
    """Brings images and labels of the target to the size, scale and class numbers of the source, as ``predict``
    does."""

    def __init__(self, target: DataInfo, source: DataInfo):
        self.shape, self.scales, self.scale = source.shape, source.scales, target.pixel_scale_arcsec
        self.places = torch.tensor([source.classes.index(name) for name in target.classes] + [-1])

    def __call__(self, images: Tensor) -> Tensor:
        if self.fits(images.shape[-2:]):
            return images
        return center_crop(rescale(images, self._factor(images.shape[-2:])), self.shape[1])

    def fits(self, size: tuple[int, ...]) -> bool:
        """Whether images of this (h, w) are left as they are."""
        return tuple(size) == self.shape[1:] and abs(self._factor(size) - 1) < 1e-3

    def _factor(self, size: tuple[int, ...]) -> float:
        return resampling(size, self.scale, self.shape[1:], self.scales)

    def relabelled(self, labels: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Numbers of the source's classes; -1 stays -1."""
        return self.places.to(labels.device)[labels]


def target_validation(target: str, source: DataInfo, seed: int, count: int, device: str) -> Images | None:
    """Labelled images of the target, of its val split, that choose the best epoch and calibrate; None for too few.

    Args:
        target: Folder of a data set, or ``sim:RECIPE``.
        source: What they are brought to the size, scale and class numbers of.
        seed: Of the run.
        count: Of a simulated target, the images of a validation set, of which the recipe labels a part.
        device: Where to simulate.
    """
    fitting = Fitting(describe(target), source)
    if target.startswith(SIM):
        name = target.removeprefix(SIM)
        part = simulated_images(name, max(1, round(recipe(name).labelled_fraction * count)), seed + APART, VALIDATION,
                                device)  # fmt: skip
    else:
        part = stored_images(open_dataset(Path(target)), "val")
    labels = fitting.relabelled(torch.from_numpy(part.labels)).numpy()
    counts = np.bincount(labels, minlength=len(source.classes))
    if counts.sum() < FEWEST or counts.min() < FEWEST / 4:
        return None
    known = {name: values for name, values in part.columns.items() if not name.startswith("truth_")}
    part = replace(part, labels=labels, columns=known)
    if fitting.fits(part.store.shape[-2:]):
        return part
    store = np.concatenate([fitting(torch.from_numpy(block)).numpy() for block in part.blocks(256)])
    return replace(part, store=store, rows=np.arange(len(part)))


class TargetedSource:
    """A source whose batches bring images of the target along, and whose validation is the target's where it can be."""

    def __init__(self, source: Source, target: StoredTarget | SimulatedTarget, val: Images | None):
        self.source, self.target, self.info, self.val = source, target, source.info, val

    @property
    def blind(self) -> bool:
        """Too few labels to choose an epoch by: the last one is kept."""
        return self.val is None

    def steps(self, batch_size: int) -> int:
        return self.source.steps(batch_size)

    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch:
        number = epoch * self.steps(batch_size) + step
        own = self.source.batch(epoch, step, batch_size, total_steps)
        return replace(own, other=self.target.batch(number, batch_size))

    def part(self, split: str) -> Images:
        return self.val if split == "val" and self.val is not None else self.source.part(split)
