"""Sets of images that lie in one array, of any size: read a block at a time, so that memory stays flat.

A data-set folder, an NPY file (n, c, h, w) or (n, h, w), an HDF5 file with such an array. What holds one image, or a
folder of files, is for :mod:`deeplense_core.bulk.files`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from deeplense_core.data import damaged, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.reading.image_checks import MAX_CHANNELS, BadImageError
from deeplense_core.reading.image_formats import image_set_key, looks_like_a_set, npy_header

BLOCK = 256
"""Images read together."""
HDF5_START = b"\x89HDF\r\n\x1a\n"
NPY_START = b"\x93NUMPY"


@dataclass(frozen=True, eq=False)
class Block:
    """Some images of a set, in their order."""

    rows: range
    names: list[str]
    ra_deg: list[float | None]
    dec_deg: list[float | None]
    pixels: Float[np.ndarray, "n c h w"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in one array, and what is known of them."""

    path: Path
    count: int
    shape: tuple[int, int, int]
    """(c, h, w) of each."""
    store: Any = field(repr=False)
    """Rows of an NPY file or an HDF5 data set, read by slices."""
    last: bool = False
    """Whether bands come last in the array."""
    pixel_scale_arcsec: float | None = None
    catalog: Path | None = None
    """Parquet file with ``id`` and, where known, ``ra`` and ``dec`` of each."""
    sky: Any = field(default=None, repr=False)
    """``ra`` and ``dec``, each (n,), to be read by slices; None where not known."""

    def pixels(self, rows: range) -> Float[np.ndarray, "n c h w"]:
        """Images of consecutive rows, float32."""
        with _reading(self.path):
            block = np.array(self.store[rows.start : rows.stop], dtype=np.float32)
        if block.ndim == 3:
            return block[:, None]
        return np.ascontiguousarray(block.transpose(0, 3, 1, 2)) if self.last else block

    def blocks(self, rows: range, size: int = BLOCK) -> Iterator[Block]:
        """Consecutive rows in blocks; the next one is read while the last one is at work."""
        pieces = [range(at, min(at + size, rows.stop)) for at in range(rows.start, rows.stop, size)]
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.pixels, pieces[0]) if pieces else None
            for number, (piece, columns) in enumerate(zip(pieces, self._columns(rows, size), strict=True)):
                assert ahead is not None
                pixels = ahead.result()
                if number + 1 < len(pieces):
                    ahead = reader.submit(self.pixels, pieces[number + 1])
                yield Block(piece, *columns, pixels)

    def _columns(self, rows: range, size: int) -> Iterator[tuple[list[str], list, list]]:
        """Names and positions of consecutive rows, as many at a time."""
        if self.catalog is not None:
            yield from _catalog_columns(self.catalog, rows, size)
            return
        for at in range(rows.start, rows.stop, size):
            piece = range(at, min(at + size, rows.stop))
            ra = dec = [None] * len(piece)
            if self.sky:
                with _reading(self.path):
                    ra, dec = (_known(column[piece.start : piece.stop]) for column in self.sky)
            yield [f"{self.path.name}[{row}]" for row in piece], ra, dec


def _known(positions: Iterable[float | None]) -> list[float | None]:
    """Positions as numbers, None where they are not known: NaN is how arrays say that."""
    return [None if value is None or not math.isfinite(value) else float(value) for value in positions]


def _catalog_columns(path: Path, rows: range, size: int) -> Iterator[tuple[list[str], list, list]]:
    """``id, ra, dec`` of consecutive rows of a Parquet file, which is read through and never held.

    Raises:
        UserError: it is damaged, or has fewer rows.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as err:
        raise damaged(path.parent, f"{path.name} cannot be read ({err})") from err
    with file:
        if file.metadata.num_rows < rows.stop or "id" not in file.schema_arrow.names:
            raise damaged(path.parent, f"{path.name} has {file.metadata.num_rows} rows for {rows.stop} images or more")
        present = [name for name in ("id", "ra", "dec") if name in file.schema_arrow.names]
        held: dict[str, list] = {name: [] for name in present}
        start = 0
        for batch in file.iter_batches(4096, columns=present):
            low, high = (min(max(0, row - start), len(batch)) for row in (rows.start, rows.stop))
            start += len(batch)
            for name in present:
                held[name] += batch.column(name)[low:high].to_pylist()
            done = start >= rows.stop
            while len(held["id"]) >= size or (done and held["id"]):
                taken = {name: values[:size] for name, values in held.items()}
                held = {name: values[size:] for name, values in held.items()}
                nothing = [None] * len(taken["id"])
                ra, dec = (_known(taken.get(name, nothing)) for name in ("ra", "dec"))
                yield [str(name) for name in taken["id"]], ra, dec
            if done:
                return


class NpyRows:
    """Rows of an NPY file by slices. Read, not mapped: mapped pages count as this process's memory."""

    def __init__(self, path: Path):
        with open(path, "rb") as file:
            self.shape, fortran, self.dtype = npy_header(file, path.name)
            self.path, self.start = path, file.tell()
        if fortran or self.dtype.hasobject or self.dtype.kind not in "buif":
            kind = "columns first" if fortran else str(self.dtype)
            raise UserError(f"{path.name!r} holds {kind}: save it as a plain array of numbers, rows first (C order).")

    def __getitem__(self, rows: slice) -> np.ndarray:
        one = math.prod(self.shape[1:])
        count, offset = (rows.stop - rows.start) * one, self.start + rows.start * one * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, count, offset=offset)
        if len(found) < count:
            raise UserError(f"{self.path.name!r} is cut short. Copy it again.")
        return found.reshape(-1, *self.shape[1:])


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; it is not opened as such."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(HDF5_START)) == HDF5_START


def is_set(path: Path) -> bool:
    """Whether a path is a set of images in one array, not one image and not a folder of files.

    Raises:
        UserError: it does not exist.
    """
    if not path.exists():
        raise UserError(f"There is no file or folder {str(path)!r}.")
    if path.is_dir():
        return (path / "manifest.json").exists()
    with open(path, "rb") as file, contextlib.suppress(BadImageError):  # a damaged one is a file like any other
        if is_hdf5(path):
            with _hdf5(path) as root, _reading(path):
                return image_set_key(root) is not None
        if file.read(6) == NPY_START:
            file.seek(0)
            return looks_like_a_set(npy_header(file, path.name)[0])
    return False


@contextlib.contextmanager
def open_set(path: Path) -> Iterator[ImageSet]:
    """The set of images at a path, for as long as the context lasts.

    Raises:
        UserError: it is none, is damaged, or holds something else than images.
    """
    if path.is_dir():
        ds = open_dataset(path)
        yield ImageSet(path, len(ds), ds.shape, NpyRows(path / "images.npy"),
                       pixel_scale_arcsec=ds.pixel_scale_arcsec, catalog=path / "catalog.parquet")  # fmt: skip
        return
    if not is_hdf5(path):
        yield _from_array(path, NpyRows(path))
        return
    with _hdf5(path) as root:
        with _reading(path):
            found = _in_hdf5(path, root)
        yield found


def _in_hdf5(path: Path, root: Any) -> ImageSet:
    key = image_set_key(root)
    if key is None:
        raise UserError(f"{path.name!r} has no array of images (n, bands, height, width).")
    store = root[key]
    if store.is_virtual or store.external:
        raise UserError(f"{path.name}:{key} is kept in another file, which is refused. Copy it into one file.")
    columns = [_column(root, names, len(store)) for names in (("ra", "RA"), ("dec", "DEC"))]
    return _from_array(path, store, columns if all(column is not None for column in columns) else None)


def _from_array(path: Path, store: Any, sky: Any = None) -> ImageSet:
    if store.dtype.kind not in "buif":
        raise UserError(f"{path.name!r} holds {store.dtype}, not real numbers.")
    shape = store.shape
    last = len(shape) == 4 and shape[1] > MAX_CHANNELS >= shape[3]
    if len(shape) == 3:
        one = (1, shape[1], shape[2])
    else:
        one = (shape[3], shape[1], shape[2]) if last else (shape[1], shape[2], shape[3])
    if one[0] > MAX_CHANNELS or min(shape) < 1:
        raise UserError(f"{path.name!r} has the shape {shape}: a set of images is (n, bands, height, width) with up "
                        f"to {MAX_CHANNELS} bands.")  # fmt: skip
    return ImageSet(path, shape[0], one, store, last, sky=sky)


@contextlib.contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    """The root of an HDF5 file; errors of who works with it are not the file's."""
    import h5py

    with _reading(path):
        root = h5py.File(path, "r")
    with root:
        yield root


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What libraries say of damaged bytes, as one message."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        raise BadImageError("damaged file", f"{path.name!r} is damaged: {err}. Copy it again.") from err


def _column(root: Any, names: tuple[str, ...], count: int) -> Any:
    """A column of numbers of each image, where the file has one."""
    import h5py

    for name in names:
        if name in root and isinstance(root.get(name, getlink=True), h5py.HardLink):
            data = root[name]
            if isinstance(data, h5py.Dataset) and data.shape == (count,) and data.dtype.kind == "f" \
                    and not data.is_virtual and not data.external:  # fmt: skip
                return data
    return None
