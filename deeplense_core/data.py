"""Sets of labelled images on disk: reading them, and dividing them into train, val and test.

A data set is a folder of three files, four where each image has a target:

    manifest.json     what it is: source, classes, shape, pixel scale, seed, counts, hashes, report
    catalog.parquet   one row an image: id, split, label, features, truth_*
    images.npy        float32 (n, c, h, w), read through a memory map
    targets.npy       float32 (n, c, H, W), of pairs: what a network shall make of each image

:class:`DatasetWriter` makes one. Labels are class names, never bare numbers, because published sets number
the same classes differently.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deeplense_core import workspace
from deeplense_core.data_writer import (
    DEFAULT_SPLITS,
    FORMAT,
    HEADER_BYTES,
    SPLITS,
    DatasetWriter,
    list_unfinished,
    read_progress,
    stratified_splits,
)
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

__all__ = [
    "DEFAULT_SPLITS",
    "SPLITS",
    "Dataset",
    "DatasetWriter",
    "damaged",
    "list_datasets",
    "list_unfinished",
    "open_dataset",
    "read_progress",
    "stratified_splits",
]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A finished data-set folder. Cheap to make: pixels are mapped, the catalogue is read when asked for."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name shown in lists."""
        return self.manifest["name"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; :attr:`labels` counts through them."""
        return tuple(self.manifest["classes"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(c, h, w)`` of one image."""
        c, h, w = self.manifest["shape"]
        return c, h, w

    @property
    def pixel_scale_arcsec(self) -> float | None:
        """Side of a pixel in arcsec, or None where unknown."""
        return self.manifest["pixel_scale_arcsec"]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the channels, empty where unknown."""
        return tuple(self.manifest["bands"])

    @property
    def target_shape(self) -> tuple[int, int, int] | None:
        """Shape ``(c, h, w)`` of one target, None where images have none."""
        shape = self.manifest.get("target_shape")
        return shape and (shape[0], shape[1], shape[2])

    @property
    def target_pixel_scale_arcsec(self) -> float | None:
        """Side of a target's pixel in arcsec, None where there is none or it is unknown."""
        return self.manifest.get("target_pixel_scale_arcsec")

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the content: pixels, catalogue, shape and classes."""
        content = {key: self.manifest[key] for key in ("hashes", "shape", "classes", "target_shape")
                   if key in self.manifest}  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return self.manifest["count"]

    @cached_property
    def images(self) -> np.memmap:
        """Pixels as a read-only memory map, float32 (n, c, h, w)."""
        return np.load(self.path / "images.npy", mmap_mode="r", allow_pickle=False)

    @cached_property
    def targets(self) -> np.memmap | None:
        """Targets as a read-only memory map, float32 (n, c, H, W), in the order of :attr:`images`; None without."""
        if self.target_shape is None:
            return None
        return np.load(self.path / "targets.npy", mmap_mode="r", allow_pickle=False)

    @cached_property
    def catalog(self) -> pd.DataFrame:
        """One row an image, in the order of :attr:`images`.

        Raises:
            UserError: when the file is damaged or its rows do not fit the images.
        """
        try:
            table = pq.read_table(self.path / "catalog.parquet").to_pandas()
        except (OSError, pa.ArrowException) as err:
            raise damaged(self.path, f"catalog.parquet cannot be read ({err})") from err
        if len(table) != len(self) or not {"id", "split", "label"} <= set(table.columns):
            raise damaged(self.path, f"catalog.parquet has {len(table)} rows for {len(self)} images")
        return table

    @cached_property
    def labels(self) -> np.ndarray:
        """Index into :attr:`classes` of each image, int64 (n,); -1 where unlabelled."""
        return pd.Index(self.classes).get_indexer(pd.Index(self.catalog["label"])).astype(np.int64)

    def rows(self, split: str) -> np.ndarray:
        """Indices of the images of ``split`` (train, val, test or all), int64, ascending.

        Raises:
            UserError: on an unknown split.
        """
        if split == "all":
            return np.arange(len(self), dtype=np.int64)
        if split not in SPLITS:
            raise UserError(f"Unknown split {split!r}. {nearest(split, [*SPLITS, 'all'])}")
        return np.flatnonzero((self.catalog["split"] == split).to_numpy()).astype(np.int64)

    def truth(self, name: str) -> np.ndarray:
        """A column ``truth_<name>`` of the catalogue: what a simulator knows and an observer does not.

        Raises:
            UserError: when the data set has no such column.
        """
        column = name if name.startswith("truth_") else f"truth_{name}"
        if column not in self.catalog.columns:
            known = [c for c in self.catalog.columns if c.startswith("truth_")]
            raise UserError(f"Data set {self.name!r} has no column {column!r}. {nearest(column, known)}")
        return self.catalog[column].to_numpy()


def open_dataset(path: str | os.PathLike) -> Dataset:
    """The data set in a folder, after checks that cost no reading of pixels.

    Raises:
        UserError: when the folder is missing, not a data set, still being written, empty or damaged.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        known = {entry.name: entry for entry in workspace.datasets_dir().iterdir() if not _is_partial(entry)}
        hint = nearest(folder.name, list(known)) or "Make one with `simulate` or `ingest`."
        raise UserError(f"There is no data set at {str(folder)!r}. {hint}")
    if _is_partial(folder):
        raise UserError(f"{folder.name!r} is a data set still being written. Wait until it is finished.")
    manifest = _read_manifest(folder)
    if not manifest["count"]:
        raise UserError(f"The data set {str(folder)!r} holds no images. Make it again.")
    _check_files(folder, manifest)
    return Dataset(folder, manifest)


def list_datasets() -> list[Dataset]:
    """The data sets of the workspace, newest first; folders that cannot be read as one are left out."""
    found = []
    for folder in workspace.datasets_dir().iterdir():
        try:
            found.append(open_dataset(folder))
        except UserError:
            continue
    return sorted(found, key=lambda dataset: dataset.manifest["created"], reverse=True)


_MANIFEST_TYPES = {
    "name": str, "count": int, "classes": list, "shape": list, "bands": list, "source": dict,
    "hashes": dict, "counts": dict, "created": str, "pixel_scale_arcsec": (float, int, type(None)),
}  # fmt: skip
_TARGET_TYPES = {"target_shape": list, "target_pixel_scale_arcsec": (float, int, type(None))}


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        raise UserError(
            f"{str(folder)!r} is not a data set: it has no manifest.json. Bring a folder of images in with `ingest`."
        ) from None
    except (OSError, ValueError) as err:
        raise damaged(folder, f"manifest.json cannot be read ({err})") from err
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise damaged(folder, "manifest.json does not describe a data set")
    if manifest["format"] > FORMAT:
        raise UserError(
            f"The data set {str(folder)!r} has format {manifest['format']}; this version reads up to "
            f"{FORMAT}. Update DeepLense."
        )
    types = _MANIFEST_TYPES | (_TARGET_TYPES if "target_shape" in manifest else {})
    wrong = [key for key, kind in types.items() if not isinstance(manifest.get(key, ...), kind)]
    wrong = wrong or [key for key in ("shape", "target_shape") if len(manifest.get(key, "chw")) != 3]
    if wrong:
        raise damaged(folder, f"manifest.json lacks a proper {', '.join(wrong)}")
    return manifest


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    sizes: dict[str, int | None] = {"catalog.parquet": None}
    for name, key in (("images.npy", "shape"), ("targets.npy", "target_shape")):
        if key in manifest:
            sizes[name] = HEADER_BYTES + 4 * manifest["count"] * math.prod(manifest[key])
    for name, expected in sizes.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            raise damaged(folder, f"{name} is missing") from None
        if expected is not None and size != expected:
            raise damaged(folder, f"{name} has {size} bytes where {expected} are expected")


def damaged(folder: Path, why: str) -> UserError:
    """What is said of a data set that cannot be what it was."""
    return UserError(f"The data set {str(folder)!r} is damaged: {why}. Make it again, or copy it again.")


def _is_partial(folder: Path) -> bool:
    return folder.name.startswith(".partial-")
