"""The writer: everything goes into a hidden folder beside the target, which is renamed at the very end."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from deeplense_core.data_writer.partials import list_unfinished
from deeplense_core.data_writer.pixels import PixelFile
from deeplense_core.data_writer.rows import RowGroups, sync_and_close, write_catalog
from deeplense_core.data_writer.splits import DEFAULT_SPLITS, SPLITS, hash_ids, rank_splits
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest
from deeplense_core.storage import readable_size, sync_folder

if TYPE_CHECKING:
    from deeplense_core.data import Dataset

FORMAT = 1
"""Version of the folder's layout."""
_CATALOG_BYTES = 256  # a generous guess of one row, for the check of free space
_PROGRESS_EVERY_S = 0.25


def refuse_existing(out: str | os.PathLike) -> None:
    """Raises a UserError where a new data set would take something's place."""
    if os.path.lexists(Path(out).expanduser()):
        raise UserError(f"{str(out)!r} exists already. Choose another name, or remove it first.")


class DatasetWriter:
    """Streams images and catalogue rows into a new data-set folder; use it in a ``with`` block.

    Memory stays at a batch plus 13 bytes an image. Leaving the block without :meth:`finish`, for whatever
    reason, removes what was written.

    Args:
        out: Folder to make; refused where it exists.
        classes: Class names that labels may take.
        shape: ``(c, h, w)`` of one image.
        source: What made the images (recipe and settings, or what was ingested); kept in the manifest.
        pixel_scale_arcsec: Side of a pixel.
        bands: Names of the channels.
        units: Unit of the pixel values.
        seed: Decides the splits.
        total: How many images will come, where known: for progress and the check of free space.
        target_shape: ``(c, h, w)`` of the target that belongs to each image, for pairs.
        target_pixel_scale_arcsec: Side of a target's pixel.
    """

    def __init__(
        self,
        out: str | os.PathLike,
        *,
        classes: Sequence[str],
        shape: Sequence[int],
        source: Mapping[str, Any],
        pixel_scale_arcsec: float | None = None,
        bands: Sequence[str] = (),
        units: str = "",
        seed: int = 0,
        total: int | None = None,
        target_shape: Sequence[int] | None = None,
        target_pixel_scale_arcsec: float | None = None,
    ):
        self.out = Path(out).expanduser().absolute()
        self.shape = _whole(shape)
        self.total = total
        self._facts = {
            "name": self.out.name, "source": dict(source),
            "classes": list(classes), "shape": list(self.shape),
            "pixel_scale_arcsec": None if pixel_scale_arcsec is None else float(pixel_scale_arcsec),
            "bands": list(bands), "units": units, "seed": int(seed),
        }  # fmt: skip
        self._shapes = {"images": self.shape}
        if target_shape is not None:
            self._shapes["targets"] = _whole(target_shape)
            self._facts["target_shape"] = list(self._shapes["targets"])
            self._facts["target_pixel_scale_arcsec"] = (
                None if target_pixel_scale_arcsec is None else float(target_pixel_scale_arcsec)
            )
        self._image_bytes = 4 * sum(math.prod(shape) for shape in self._shapes.values())
        self._count = 0
        self._finished = False
        refuse_existing(self.out)

    def __enter__(self) -> DatasetWriter:
        with self._disk_errors():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            list_unfinished(self.out.parent)  # a dead writer's remains may be what fills the disk
            self._check_space()
            self._partial = self.out.parent / f".partial-{self.out.name[:80]}-{uuid.uuid4().hex[:12]}"
            self._partial.mkdir()
        try:
            with self._disk_errors():
                self._lock = open(self._partial / "writer.lock", "wb")  # noqa: SIM115 (held while writing)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                self._pixels = {name: PixelFile(self._partial / f"{name}.npy", shape)
                                for name, shape in self._shapes.items()}  # fmt: skip
                self._keys, self._labels, self._splits = array("Q"), array("i"), array("b")
                self._rows = RowGroups(self._partial / "rows.parquet")
                self._progress_time = -_PROGRESS_EVERY_S
                self._write_progress()
        except BaseException:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise
        return self

    def append(self, images: np.ndarray, rows: Mapping[str, Any], targets: np.ndarray | None = None) -> None:
        """Adds a batch.

        Args:
            images: ``(b, c, h, w)``, stored as float32.
            rows: Column -> (b,) values. ``label`` (class name, "" where unlabelled) is needed; ``id``
                (unique) and ``split`` ("" where :meth:`finish` shall decide) are optional; the rest are
                features and ``truth_*``.
            targets: ``(b, c, h, w)`` of the targets, for a data set of pairs.

        Raises:
            UserError: wrong shape, NaN or infinite pixels, a label that is no class, no space on the disk.
        """
        given = {"images": images} | ({} if targets is None else {"targets": targets})
        if set(given) != set(self._shapes):
            raise ValueError(f"this data set takes {' and '.join(self._shapes)}, not {' and '.join(given)}")
        b = len(images)
        pixels = {name: self._checked(name, values, b) for name, values in given.items()}
        columns = self._columns(rows, b)
        with self._disk_errors():
            for name, values in pixels.items():
                self._pixels[name].write(values)
            self._rows.add(columns)
            self._count += b
            self._write_progress()

    def _checked(self, name: str, values: np.ndarray, b: int) -> np.ndarray:
        """A batch of images or targets as little-endian float32, its shape and values checked."""
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused below
            pixels = np.ascontiguousarray(values, dtype="<f4")
        if pixels.shape[1:] != self._shapes[name]:
            raise UserError(f"{name.capitalize()} of shape {pixels.shape[1:]} do not fit a data set of "
                            f"{self._shapes[name]}.")  # fmt: skip
        if len(pixels) != b:
            raise ValueError(f"{len(pixels)} {name} for {b} images")
        bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2, 3)))
        if len(bad):
            number = f"{name.capitalize()[:-1]} {self._count + int(bad[0])}"
            raise UserError(f"{number} has NaN or infinite pixels; nothing can be learnt from it.")
        return pixels

    def _columns(self, rows: Mapping[str, Any], b: int) -> dict[str, np.ndarray]:
        """The batch's columns, complete and checked; notes what the splits will be decided by."""
        numbers = range(self._count, self._count + b)
        ids = [str(i) for i in rows["id"]] if "id" in rows else [f"{i:07d}" for i in numbers]
        labels = [str(label) for label in rows["label"]]
        splits = [str(split) for split in rows["split"]] if "split" in rows else [""] * b
        columns = {"id": np.array(ids, dtype=object), "split": np.array(splits, dtype=object),
                   "label": np.array(labels, dtype=object)}  # fmt: skip
        columns |= {name: np.asarray(values) for name, values in rows.items() if name not in columns}
        for name, values in columns.items():
            if values.shape != (b,):
                raise ValueError(f"column {name!r} has shape {values.shape} for {b} images")
        class_code = {name: code for code, name in enumerate(self._facts["classes"])} | {"": -1}
        split_code = {name: code for code, name in enumerate(SPLITS)} | {"": -1}
        for label in labels:
            if label not in class_code:
                raise UserError(f"Label {label!r} is not a class. {nearest(label, self._facts['classes'])}")
        for split in splits:
            if split not in split_code:
                raise UserError(f"Unknown split {split!r}. {nearest(split, list(SPLITS))}")
        self._keys.extend(hash_ids(ids, self._facts["seed"]).tolist())
        self._labels.extend([class_code[label] for label in labels])
        self._splits.extend([split_code[split] for split in splits])
        return columns

    def finish(
        self,
        splits: Mapping[str, float] | None = None,
        report: Mapping[str, Any] | None = None,
        audit: Callable[[Dataset], Mapping[str, Any]] | None = None,
    ) -> Dataset:
        """Decides the splits, completes the files and moves the folder to its place.

        Args:
            splits: Fractions for images without a split of their own; 80 / 10 / 10 where None.
            report: What there is to say about the making (skipped files ...); kept in the manifest.
            audit: Looks at the complete data set before it is moved to its place; what it finds is kept in
                the report.
        """
        from deeplense_core.data import Dataset, open_dataset

        if not self._count:
            raise UserError(f"No images came for the data set {self.out.name!r}: there is nothing to write.")
        codes = self._decide_splits(splits or DEFAULT_SPLITS)
        with self._disk_errors():
            pixel_hashes = {name: file.finish(self._count) for name, file in self._pixels.items()}
            self._rows.close()
            catalog = self._partial / "catalog.parquet"
            split_hashes = write_catalog(self._partial / "rows.parquet", catalog, codes)
            hashes = {**pixel_hashes, "catalog": _file_hash(catalog), "splits": split_hashes}
            manifest = {
                "format": FORMAT, **self._facts, "count": self._count, "hashes": hashes,
                "counts": self._counts(codes), "splits": dict(splits or DEFAULT_SPLITS),
                "report": dict(report or {}), "created": datetime.now(UTC).isoformat(),
            }  # fmt: skip
            if audit is not None:
                manifest["report"]["audit"] = audit(Dataset(self._partial, manifest))
            with open(self._partial / "manifest.json", "w") as file:
                json.dump(manifest, file, indent=1)
                sync_and_close(file)
            (self._partial / "rows.parquet").unlink()
            sync_folder(self._partial)
            os.rename(self._partial, self.out)
            self._finished = True
            sync_folder(self.out.parent)
            for name in ("progress.json", "writer.lock"):  # kept till now: they tell a dead writer's folder
                (self.out / name).unlink()
        return open_dataset(self.out)

    def __exit__(self, kind, value, trace) -> None:
        if not self._finished:
            self._rows.abandon()
            for file in self._pixels.values():
                file.abandon()
            shutil.rmtree(self._partial, ignore_errors=True)
        self._lock.close()

    def _decide_splits(self, fractions: Mapping[str, float]) -> np.ndarray:
        """Index into SPLITS of each image, int8 (n,)."""
        keys, labels = np.array(self._keys, dtype=np.uint64), np.array(self._labels)
        if len(np.unique(keys)) < len(keys):
            raise UserError("Two images have the same id; ids must be unique within a data set.")
        codes = np.array(self._splits, dtype=np.int8)
        free = np.flatnonzero(codes < 0)
        codes[free] = rank_splits(labels[free], keys[free], fractions)
        return codes

    def _counts(self, codes: np.ndarray) -> dict[str, dict[str, int]]:
        labels = np.array(self._labels)
        names = [*enumerate(self._facts["classes"])] + [(-1, "unlabelled")] * bool((labels < 0).any())
        return {
            name: {split: int(((labels == label) & (codes == k)).sum()) for k, split in enumerate(SPLITS)}
            for label, name in names
        }

    def _write_progress(self) -> None:
        if time.monotonic() - self._progress_time < _PROGRESS_EVERY_S and self._count != self.total:
            return
        self._progress_time = time.monotonic()
        facts = {"name": self.out.name, "done": self._count, "total": self.total, "pid": os.getpid(),
                 "start_time": psutil.Process().create_time()}  # fmt: skip
        scratch = self._partial / "progress.tmp"
        scratch.write_text(json.dumps(facts))
        os.replace(scratch, self._partial / "progress.json")

    def _bytes_left_to_write(self) -> int | None:
        if self.total is None:
            return None
        return (self.total - self._count) * (self._image_bytes + _CATALOG_BYTES)

    def _check_space(self) -> None:
        needed = self._bytes_left_to_write()
        free = shutil.disk_usage(self.out.parent).free
        if needed is not None and needed > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _disk_errors(self):
        """Turns what the disk refuses into one sentence."""
        try:
            yield
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT):
                why = err.strerror or str(err)
                raise UserError(f"{str(self.out)!r} cannot be written: {why}. Choose another folder.") from err
            free = shutil.disk_usage(self.out.parent).free
            needed = self._bytes_left_to_write()
            need = "more" if needed is None else f"{readable_size(max(needed, self._image_bytes))}"
            raise UserError(
                f"No space for the data set {self.out.name!r}: it needs {need}, and {readable_size(free)} is free in "
                f"{str(self.out.parent)!r}. Free some space, make fewer images, or choose another folder."
            ) from err


def _whole(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
