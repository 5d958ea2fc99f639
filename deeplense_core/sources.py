"""Where training images come from: a data set held on the device, or the simulator, fresh each step.

Both give the same batches for the same (seed, epoch, step), so a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import psutil
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deeplense_core.data import Dataset, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.sim import RECIPES, recipe_info, simulate
from deeplense_core.sim.dataset import labels_shown
from deeplense_core.sim.generate import recipe
from deeplense_core.sim.partners import AUGMENT
from deeplense_core.spec import knob

SIM = "sim:"
VALIDATION, TEST = 1 << 40, 1 << 41
"""First stream of the held-out simulations: training steps use the streams from 0 on."""
CHUNK = 256


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of online simulation (``--data sim:RECIPE``); a stored data set ignores them."""

    images_per_epoch: int = knob(20_000, "Fresh images between two validations", ge=64, le=10_000_000,
                                 quick=1_000, group="online simulation")
    val_images: int = knob(1_500, "Images of the fixed validation set", ge=30, le=100_000, quick=300,
                           group="online simulation")
    test_images: int = knob(3_000, "Images of the fixed test set", ge=30, le=100_000, quick=300,
                            group="online simulation")
    curriculum_start: float = knob(10.0, "Substructure mass at the start, in units of the recipe's; falls "
                                   "geometrically to 1", ge=1, le=50, group="online simulation")
    curriculum_fraction: float = knob(0.5, "Part of the training over which the mass falls", ge=0, le=1,
                                      group="online simulation")
    matched: bool = knob(True, "Draw triplets that share lens and source and differ in class only",
                         group="online simulation")


@dataclass(frozen=True)
class DataInfo:
    """What a task needs to know about its data before the first batch."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    pixel_scale_arcsec: float | None
    bands: tuple[str, ...]
    fingerprint: str
    target_shape: tuple[int, int, int] | None = None
    target_pixel_scale_arcsec: float | None = None
    columns: tuple[str, ...] = ()
    """Numeric columns of the catalogue; empty for simulated data, whose features are measured."""
    location: str = ""
    """The folder, or ``sim:RECIPE``."""
    matching_kernel: Float[np.ndarray, "k k"] | None = field(default=None, compare=False)
    """Of registered pairs: what brings a fine image to the coarse one's sharpness, on fine pixels."""
    pixel_scale_range_arcsec: tuple[float, float] | None = None
    """Smallest and largest pixels, where they differ from image to image and ``pixel_scale_arcsec`` is None."""

    @property
    def scales(self) -> tuple[float, float] | None:
        """Smallest and largest pixels in arcsec; None where unknown."""
        one = self.pixel_scale_arcsec
        return (one, one) if one else self.pixel_scale_range_arcsec


@dataclass(frozen=True)
class Images:
    """A held-out part: images on the host or in a memory map, labels and ids in the same order."""

    store: Float[np.ndarray, "m c h w"]
    rows: Int[np.ndarray, " n"]
    """Rows of ``store``: read only when their turn comes, so a part may be larger than memory."""
    labels: Int[np.ndarray, " n"]
    ids: np.ndarray
    targets: Float[np.ndarray, "m c H W"] | None = None
    """What each image of ``store`` should become, where it is one of a pair."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Numeric columns of the catalogue, (n,) each: features and ``truth_*``."""

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, places: Int[np.ndarray, " k"]) -> Images:
        """The images at these places of the part, in their order."""
        columns = {name: values[places] for name, values in self.columns.items()}
        return replace(self, rows=self.rows[places], labels=self.labels[places], ids=self.ids[places], columns=columns)

    def blocks(self, size: int) -> Iterator[Float[np.ndarray, "b c h w"]]:
        """The images in order, float32, ``size`` at a time."""
        yield from self._blocks(self.store, size)

    def blocks_and_columns(
        self, size: int
    ) -> Iterator[tuple[Float[np.ndarray, "b c h w"], dict[str, Float[np.ndarray, " b"]]]]:
        """As :meth:`blocks`, with the columns of the same images."""
        for number, block in enumerate(self.blocks(size)):
            place = slice(number * size, number * size + len(block))
            yield block, {name: values[place] for name, values in self.columns.items()}

    def target_blocks(self, size: int) -> Iterator[Float[np.ndarray, "b c H W"]]:
        """The targets in order, float32, ``size`` at a time."""
        assert self.targets is not None
        yield from self._blocks(self.targets, size)

    def _blocks(self, store: np.ndarray, size: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self.rows), size):
            yield np.array(store[self.rows[start : start + size]], dtype=np.float32)

    def batches(self, size: int, device: torch.device) -> Iterator[Tensor]:
        """The images in order, as float32 tensors on ``device``."""
        for block in self.blocks(size):
            yield torch.from_numpy(block).to(device)


@dataclass(frozen=True)
class Batch:
    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    """-1 where unlabelled."""
    targets: Float[Tensor, "b c H W"] | None = None
    columns: Mapping[str, Float[Tensor, " b"]] = field(default_factory=dict)
    """Numeric columns of the catalogue: features and ``truth_*``."""
    other: Batch | None = None
    """Images of another survey, to adapt to; their labels are -1 where hidden."""
    partner: Float[Tensor, "b c h w"] | None = None
    """Each lens a second time, with another source or in another survey, where the run asks for such pairs."""


class Source(Protocol):
    """Training batches and held-out parts of one body of data."""

    info: DataInfo

    @property
    def blind(self) -> bool:
        """Whether nothing held out can choose an epoch: then the last one is kept."""
        ...

    def steps(self, batch_size: int) -> int: ...
    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch: ...
    def part(self, split: str) -> Images: ...


def describe(data: str) -> DataInfo:
    """What ``data`` (a folder, or ``sim:RECIPE``) holds, without loading images.

    Raises:
        UserError: unknown recipe, missing or damaged folder.
    """
    if data.startswith(SIM):
        info = recipe_info(RECIPES[data.removeprefix(SIM)].name)
        target = info.get("target_shape")
        return DataInfo(data, tuple(info["classes"]), tuple(info["shape"]), info["pixel_scale_arcsec"],
                        tuple(info["bands"]), f"sim-{info['name']}", tuple(target) if target else None,
                        info.get("target_pixel_scale_arcsec"), location=data,
                        pixel_scale_range_arcsec=info["pixel_scale_range_arcsec"])
    return _info(open_dataset(Path(data)))


def _info(ds: Dataset) -> DataInfo:
    return DataInfo(ds.name, ds.classes, tuple(ds.images.shape[1:]), ds.pixel_scale_arcsec, ds.bands,
                    ds.fingerprint, tuple(ds.targets.shape[1:]) if ds.targets is not None else None,
                    ds.manifest.get("target_pixel_scale_arcsec"), tuple(_numeric(ds)), str(ds.path),
                    matching_kernel(ds), _pixel_scale_range(ds))


def _pixel_scale_range(ds: Dataset) -> tuple[float, float] | None:
    if ds.pixel_scale_arcsec or "pixel_scale_arcsec" not in ds.catalog.columns:
        return None
    scales = ds.catalog["pixel_scale_arcsec"].to_numpy(float)
    known = scales[np.isfinite(scales) & (scales > 0)]
    return (float(known.min()), float(known.max())) if len(known) else None


def matching_kernel(ds: Dataset) -> Float[np.ndarray, "k k"] | None:
    """The measured kernel of a data set of registered pairs; None of all others."""
    kernel = ds.manifest["source"].get("matching_kernel")
    return None if kernel is None else np.array(kernel, np.float64)


def open_source(
    data: str, cfg: OnlineConfig, seed: int, device: torch.device, compiled: bool, labelled: bool = True,
    partner: str = AUGMENT,
) -> Source:
    """The source behind a run's ``data``; ``labelled`` leaves images without a label out, ``partner`` asks the
    simulator for each lens a second time."""
    if data.startswith(SIM):
        return SimulatedSource(data.removeprefix(SIM), cfg, seed, device, compiled, partner, hides=True)
    return StoredSource(open_dataset(Path(data)), seed, device, labelled)


class StoredSource:
    """A data set whose training part lives on the device as one tensor, when it fits."""

    blind = False

    def __init__(
        self, dataset: Dataset, seed: int, device: torch.device, labelled: bool = True,
        rows: Int[np.ndarray, " n"] | None = None,
    ):  # fmt: skip
        """``rows`` of the training part, where not all of it serves."""
        self.info = _info(dataset)
        self.dataset, self.seed, self.device, self.labelled = dataset, seed, device, labelled
        self.rows = split_rows(dataset, "train", labelled) if rows is None else rows
        if not len(self.rows):
            raise UserError(f"Data set {dataset.name!r} has no training images: its train split is empty.")
        self.labels = torch.from_numpy(np.asarray(dataset.labels[self.rows])).to(device)
        self.columns = {name: torch.from_numpy(values).to(device)
                        for name, values in numeric_columns(dataset, self.rows).items()}
        stores = [store for store in (dataset.images, dataset.targets) if store is not None]
        size = len(self.rows) * sum(4 * int(np.prod(store.shape[1:])) for store in stores)
        fits = size < 0.5 * _free_bytes(device)
        self.images, self.targets = (self._hold(store) if fits else None
                                     for store in (dataset.images, dataset.targets))

    def _hold(self, store: np.ndarray | None) -> Tensor | None:
        return None if store is None else torch.from_numpy(np.asarray(store[self.rows])).to(self.device)

    def steps(self, batch_size: int) -> int:
        return max(1, len(self.rows) // batch_size)

    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch:
        order = torch.randperm(len(self.rows), generator=generator(self.seed, epoch))
        pick = order[step * batch_size : (step + 1) * batch_size]
        on_device = pick.to(self.device)
        targets = None
        if self.dataset.targets is not None:
            targets = self._read(self.targets, self.dataset.targets, pick)
        return Batch(
            self._read(self.images, self.dataset.images, pick), self.labels[on_device], targets,
            {name: values[on_device] for name, values in self.columns.items()},
        )

    def _read(self, held: Tensor | None, store: np.ndarray, pick: Tensor) -> Tensor:
        """Images ``pick`` of the training rows, from the device or, where they do not fit, from the disk."""
        if held is not None:
            return held[pick.to(self.device)]
        rows = self.rows[pick.numpy()]
        back = np.argsort(np.argsort(rows))  # read in file order
        return torch.from_numpy(np.asarray(store[np.sort(rows)])[back]).to(self.device)

    def part(self, split: str) -> Images:
        return stored_images(self.dataset, split, self.labelled)


class SimulatedSource:
    """The simulator as an endless data set: no disk, no image seen twice."""

    blind = False

    def __init__(self, recipe: str, cfg: OnlineConfig, seed: int, device: torch.device, compiled: bool,
                 partner: str = AUGMENT, hides: bool = False):
        """``hides`` the labels of as many images as a stored set of this recipe leaves without one."""
        self.info, self.partner, self.hides = describe(SIM + recipe), partner, hides
        self.recipe, self.cfg, self.seed, self.device, self.compiled = recipe, cfg, seed, device, compiled

    def steps(self, batch_size: int) -> int:
        return max(1, self.cfg.images_per_epoch // batch_size)

    def batch(self, epoch: int, step: int, batch_size: int, total_steps: int) -> Batch:
        done = epoch * self.steps(batch_size) + step
        batch = simulate(
            self.recipe, batch_size, seed=self.seed, stream=done, device=str(self.device),
            mass_fraction_scale=self.mass_scale(done / max(1, total_steps)), matched=self.cfg.matched,
            compiled=self.compiled, partner=self.partner,
        )
        labels = batch.labels
        if self.hides:
            shown = labels_shown(recipe(self.recipe), batch_size, self.seed, done)
            labels = torch.where(torch.from_numpy(shown).to(labels.device), labels, -1)
        return Batch(batch.images, labels, batch.targets, _columns(batch.truth), partner=batch.partners)

    def mass_scale(self, progress: float) -> float:
        """Substructure mass in units of the recipe's at ``progress`` (0 to 1) of the training."""
        cfg = self.cfg
        left = 1 - progress / cfg.curriculum_fraction if cfg.curriculum_fraction else 0.0
        return cfg.curriculum_start ** max(0.0, left)

    def part(self, split: str) -> Images:
        if split == "val":
            return simulated_validation(self.recipe, self.cfg.val_images, self.seed, str(self.device), self.compiled)
        return simulated_images(self.recipe, self.cfg.test_images, self.seed, TEST, str(self.device), self.compiled)


def simulated_validation(
    name: str, count: int, seed: int, device: str = "cpu", compiled: bool = False
) -> Images:
    """What chooses the best epoch of online training: of ``count`` images those that a recipe labels, all labelled."""
    labelled = max(1, round(recipe(name).labelled_fraction * count))
    return simulated_images(name, labelled, seed, VALIDATION, device, compiled)


def split_rows(dataset: Dataset, split: str, labelled: bool) -> Int[np.ndarray, " n"]:
    """Rows of a split; with ``labelled``, only those that carry a label."""
    rows = dataset.rows(split)
    return rows[dataset.labels[rows] >= 0] if labelled else rows


def stored_images(dataset: Dataset, split: str, labelled: bool = True) -> Images:
    """The images of a split, left on disk until they are asked for."""
    return _images(dataset, split_rows(dataset, split, labelled), dataset.labels)


def labelled_test(dataset: Dataset) -> Images:
    """The test images with every label that is known, those among them that no training may see.

    A simulated set of few labels holds the others apart, as ``truth_label``: for this alone.
    """
    labels, hidden = dataset.labels, dataset.catalog.get("truth_label")
    if hidden is not None:
        truth = pd.Index(dataset.classes).get_indexer(pd.Index(hidden)).astype(np.int64)
        labels = np.where(labels >= 0, labels, truth)
    rows = dataset.rows("test")
    return _images(dataset, rows[labels[rows] >= 0], labels)


def _images(dataset: Dataset, rows: Int[np.ndarray, " n"], labels: Int[np.ndarray, " m"]) -> Images:
    return Images(dataset.images, rows, labels[rows], dataset.catalog["id"].to_numpy()[rows],
                  dataset.targets, numeric_columns(dataset, rows))


def numeric_columns(dataset: Dataset, rows: Int[np.ndarray, " n"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Features and ``truth_*`` columns of the catalogue that hold numbers, float32."""
    return {name: dataset.catalog[name].to_numpy()[rows].astype(np.float32) for name in _numeric(dataset)}


def _numeric(dataset: Dataset) -> list[str]:
    return [name for name in dataset.catalog.columns if dataset.catalog[name].dtype.kind in "iufb"]


def simulated_images(
    recipe: str, count: int, seed: int, first_stream: int, device: str = "cpu", compiled: bool = False
) -> Images:
    """``count`` images of a recipe at its nominal mass, balanced, from streams of their own."""
    batches = [
        simulate(recipe, CHUNK, seed=seed, stream=first_stream + chunk, device=device, compiled=compiled)
        for chunk in range(-(-count // CHUNK))
    ]

    def joined(parts: list[Tensor]) -> np.ndarray:
        return np.concatenate([part.cpu().numpy() for part in parts])[:count]

    targets = [batch.targets for batch in batches if batch.targets is not None]
    columns = [_columns(batch.truth) for batch in batches]
    return Images(
        joined([batch.images for batch in batches]), np.arange(count), joined([batch.labels for batch in batches]),
        np.array([f"sim-{seed}-{first_stream}-{i}" for i in range(count)]), joined(targets) if targets else None,
        {name: joined([part[name] for part in columns]) for name in columns[0]},
    )


def _columns(truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The truth of a simulated batch under the names that a catalogue has for it."""
    return {f"truth_{name}": values.float() for name, values in truth.items()}


def generator(*key: Any) -> torch.Generator:
    """A CPU generator whose stream depends on every number of ``key``."""
    words = np.random.SeedSequence([int(k) & 0xFFFFFFFF for k in key]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
