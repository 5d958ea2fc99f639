"""Writing a data-set folder: streamed, hashed on the way, and there only when it is whole.

Everything goes into a hidden folder ``.partial-<name>-<id>`` beside the target, which is renamed at the
very end. The writer holds a file lock in that folder: whoever finds a partial folder whose lock is free knows
that its writer is dead. The kernel drops the lock, so neither a reused process id nor a moved clock can fool.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from deeplense_core import workspace
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

if TYPE_CHECKING:
    from deeplense_core.data import Dataset

FORMAT = 1
"""Version of the folder's layout."""
HEADER_BYTES = 128
"""Length of the header of ``images.npy``; fixed, so that it can be rewritten once the count is known."""
ROW_GROUP = 16_384
"""Rows in one group of the catalogue; fixed, so that its bytes do not depend on how batches were cut."""
SPLITS = ("train", "val", "test")
DEFAULT_SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
_CATALOG_BYTES = 256  # a generous guess of one row, for the check of free space
_PROGRESS_EVERY_S = 0.25
_BEGINS_WITHIN_S = 60


def stratified_splits(
    labels: Sequence[str] | np.ndarray,
    ids: Sequence[str] | np.ndarray,
    fractions: Mapping[str, float],
    seed: int = 0,
) -> np.ndarray:
    """Assigns every image to train, val or test, with the same fractions in each class.

    Inside a class, images are ranked by a hash of (seed, id), and the ranking is cut at the fractions. The
    order of the images does not matter, and images added later move only those next to a cut.

    Args:
        labels: Class of each image, (n,).
        ids: Unique name of each image, (n,).
        fractions: Split name -> fraction, summing to 1.
        seed: Another seed, another assignment.

    Returns:
        Split names, (n,).
    """
    codes = _rank_splits(np.asarray(labels), _hash_ids(ids, seed), fractions)
    return np.array(SPLITS)[codes]


def _hash_ids(ids: Sequence[str] | np.ndarray, seed: int) -> np.ndarray:
    """64-bit hash of (seed, id), uint64 (n,)."""
    digests = (hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest() for i in ids)
    return np.fromiter((int.from_bytes(d, "little") for d in digests), dtype=np.uint64, count=len(ids))


def _rank_splits(labels: np.ndarray, keys: np.ndarray, fractions: Mapping[str, float]) -> np.ndarray:
    """Index into SPLITS of each image, int8 (n,)."""
    _check_fractions(fractions)
    cuts = np.cumsum([fractions.get(split, 0.0) for split in SPLITS])[:-1]
    codes = np.zeros(len(labels), dtype=np.int8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(keys[members])]
        edges = np.floor(cuts * len(members) + 0.5 + 1e-9)
        codes[members] = np.searchsorted(edges, np.arange(len(members)), side="right")
    return codes


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for split in fractions:
        if split not in SPLITS:
            raise UserError(f"Unknown split {split!r}. {nearest(split, list(SPLITS))}")
    values = list(fractions.values())
    if not all(0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-6:
        text = ", ".join(f"{split} {value:g}" for split, value in fractions.items())
        raise UserError(f"The fractions of the splits ({text}) must lie between 0 and 1 and sum to 1.")


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
    ):
        self.out = Path(out).expanduser().absolute()
        self.shape = tuple(int(n) for n in shape)
        self.total = total
        self._facts = {
            "name": self.out.name, "source": dict(source),
            "classes": list(classes), "shape": list(self.shape),
            "pixel_scale_arcsec": None if pixel_scale_arcsec is None else float(pixel_scale_arcsec),
            "bands": list(bands), "units": units, "seed": int(seed),
        }  # fmt: skip
        self._image_bytes = 4 * int(np.prod(self.shape))
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
                self._images = open(self._partial / "images.npy", "wb")  # noqa: SIM115
                self._images.write(_npy_header((0, *self.shape)))
                self._pixels_hash = hashlib.sha256()
                self._keys, self._labels, self._splits = array("Q"), array("i"), array("b")
                self._rows = _RowGroups(self._partial / "rows.parquet")
                self._progress_time = -_PROGRESS_EVERY_S
                self._write_progress()
        except BaseException:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise
        return self

    def append(self, images: np.ndarray, rows: Mapping[str, Any]) -> None:
        """Adds a batch.

        Args:
            images: ``(b, c, h, w)``, stored as float32.
            rows: Column -> (b,) values. ``label`` (class name, "" where unlabelled) is needed; ``id``
                (unique) and ``split`` ("" where :meth:`finish` shall decide) are optional; the rest are
                features and ``truth_*``.

        Raises:
            UserError: wrong shape, NaN or infinite pixels, a label that is no class, no space on the disk.
        """
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused below
            pixels = np.ascontiguousarray(images, dtype="<f4")
        b = len(pixels)
        if pixels.shape[1:] != self.shape:
            raise UserError(f"Images of shape {pixels.shape[1:]} do not fit a data set of {self.shape}.")
        bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2, 3)))
        if len(bad):
            number = self._count + int(bad[0])
            raise UserError(f"Image {number} has NaN or infinite pixels; nothing can be learnt from it.")
        columns = self._columns(rows, b)
        with self._disk_errors():
            self._images.write(pixels.data)
            self._pixels_hash.update(pixels.data)
            self._rows.add(columns)
            self._count += b
            self._write_progress()

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
        self._keys.extend(_hash_ids(ids, self._facts["seed"]).tolist())
        self._labels.extend([class_code[label] for label in labels])
        self._splits.extend([split_code[split] for split in splits])
        return columns

    def finish(
        self,
        splits: Mapping[str, float] | None = None,
        report: Mapping[str, Any] | None = None,
        audit: Callable[[Dataset], Mapping[str, Any]] | None = None,
    ) -> Dataset:
        """Decides the splits, completes the three files and moves the folder to its place.

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
            self._images.seek(0)
            self._images.write(_npy_header((self._count, *self.shape)))
            _sync_and_close(self._images)
            self._rows.close()
            catalog = self._partial / "catalog.parquet"
            split_hashes = _write_catalog(self._partial / "rows.parquet", catalog, codes)
            hashes = {"images": self._pixels_hash.hexdigest(), "catalog": _file_hash(catalog),
                      "splits": split_hashes}  # fmt: skip
            manifest = {
                "format": FORMAT, **self._facts, "count": self._count, "hashes": hashes,
                "counts": self._counts(codes), "splits": dict(splits or DEFAULT_SPLITS),
                "report": dict(report or {}), "created": datetime.now(UTC).isoformat(),
            }  # fmt: skip
            if audit is not None:
                manifest["report"]["audit"] = audit(Dataset(self._partial, manifest))
            with open(self._partial / "manifest.json", "w") as file:
                json.dump(manifest, file, indent=1)
                _sync_and_close(file)
            (self._partial / "rows.parquet").unlink()
            _sync_folder(self._partial)
            os.rename(self._partial, self.out)
            self._finished = True
            _sync_folder(self.out.parent)
            for name in ("progress.json", "writer.lock"):  # kept till now: they tell a dead writer's folder
                (self.out / name).unlink()
        return open_dataset(self.out)

    def __exit__(self, kind, value, trace) -> None:
        if not self._finished:
            self._rows.abandon()
            with suppress(OSError):  # a full disk refuses the last buffered bytes too; they are not wanted
                self._images.close()
            shutil.rmtree(self._partial, ignore_errors=True)
        self._lock.close()

    def _decide_splits(self, fractions: Mapping[str, float]) -> np.ndarray:
        """Index into SPLITS of each image, int8 (n,)."""
        keys, labels = np.array(self._keys, dtype=np.uint64), np.array(self._labels)
        if len(np.unique(keys)) < len(keys):
            raise UserError("Two images have the same id; ids must be unique within a data set.")
        codes = np.array(self._splits, dtype=np.int8)
        free = np.flatnonzero(codes < 0)
        codes[free] = _rank_splits(labels[free], keys[free], fractions)
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
            need = "more" if needed is None else f"{_size(max(needed, self._image_bytes))}"
            raise UserError(
                f"No space for the data set {self.out.name!r}: it needs {need}, and {_size(free)} is free in "
                f"{str(self.out.parent)!r}. Free some space, make fewer images, or choose another folder."
            ) from err


class _RowGroups:
    """Catalogue rows on their way to disk, in groups of ROW_GROUP; types are those of the first batch."""

    def __init__(self, path: Path):
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        if table.column_names != self._writer.schema.names:
            raise ValueError(f"columns changed from {self._writer.schema.names} to {table.column_names}")
        self._waiting.append(table.cast(self._writer.schema))
        self._n_waiting += len(table)
        if self._n_waiting >= ROW_GROUP:
            table = pa.concat_tables(self._waiting).combine_chunks()
            whole = self._n_waiting - self._n_waiting % ROW_GROUP
            self._writer.write_table(table.slice(0, whole), row_group_size=ROW_GROUP)
            self._waiting, self._n_waiting = [table.slice(whole)], self._n_waiting - whole

    def close(self) -> None:
        if self._writer is not None and self._writer.is_open:
            if self._n_waiting:
                self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP)
            self._writer.close()

    def abandon(self) -> None:
        """Lets go of the file, whatever state the disk left it in."""
        if self._writer is not None and self._writer.is_open:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
            self._writer.is_open = False  # else it tries again when it is collected


def _write_catalog(rows: Path, catalog: Path, codes: np.ndarray) -> dict[str, str]:
    """Copies the rows, group by group, with their splits filled in; returns sha256 of each split's ids."""
    hashes = {split: hashlib.sha256() for split in SPLITS}
    start = 0
    with pq.ParquetFile(rows) as source, open(catalog, "wb") as file:
        with pq.ParquetWriter(file, source.schema_arrow, compression="zstd") as target:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                splits = np.array(SPLITS, dtype=object)[codes[start : start + len(table)]]
                for identity, split in zip(table["id"].to_pylist(), splits, strict=True):
                    hashes[split].update(f"{identity}\n".encode())
                column = table.column_names.index("split")
                target.write_table(table.set_column(column, "split", pa.array(splits)))
                start += len(table)
        _sync_and_close(file)
    return {split: value.hexdigest() for split, value in hashes.items()}


def read_progress(folder: str | os.PathLike) -> dict[str, Any] | None:
    """What the writer of a partial folder last said: path, name, done, total, pid, start_time; else None."""
    try:
        facts = json.loads((Path(folder) / "progress.json").read_text())
    except (OSError, ValueError):
        return None
    return {"path": str(folder), **facts} if isinstance(facts, dict) else None


def list_unfinished(folder: str | os.PathLike | None = None) -> list[dict[str, Any]]:
    """Data sets now being made in ``folder`` (or the workspace); remains of dead writers are removed."""
    alive = []
    for partial in sorted(Path(folder or workspace.datasets_dir()).glob(f".partial-*-{'[0-9a-f]' * 12}")):
        if _writer_is_dead(partial):
            shutil.rmtree(partial, ignore_errors=True)
        elif (facts := read_progress(partial)) is not None:
            alive.append(facts)
    return alive


def _writer_is_dead(partial: Path) -> bool:
    old = time.time() - _modified(partial) > _BEGINS_WITHIN_S
    try:
        with open(partial / "writer.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no lock file: just begun, killed before it took the lock, or not a writer's folder at all
        if old:
            with suppress(OSError):
                partial.rmdir()  # which an empty folder only allows
        return False
    return old or (partial / "progress.json").exists()  # which is written after the lock was taken


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # renamed or removed meanwhile
        return time.time()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """Header of a float32 ``.npy`` file (format 1.0), padded to HEADER_BYTES."""
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    padding = HEADER_BYTES - 10 - len(text) - 1
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text + b" " * padding + b"\n"


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_and_close(file) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
