"""Embeddings on disk: one ``.npz`` file that ``numpy.load`` opens, whose vectors are read through a memory map.

    ids         text (n,)
    vectors     float32 (n, d), stored as they are and aligned, so that they need not be loaded
    labels      text (n,), class names; empty where unknown
    outputs     float32 (n, k), what the network put out for each of its classes; k = 0 where it has none
    paths       text (n,), the file of each image; empty for images of a data set, which are found by their ids
    column_*    (n,), columns of the catalogue
    about       JSON: the network and its weights, the data, hashes
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.storage import replacing
from deeplense_core.workspace import home

FORMAT = 1
COLUMN = "column_"
_ALIGNED = 64
_PADDING_ID = 0xD935
"""Extra field of a ZIP member that only moves its data; the one that Android's zipalign uses."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A finished file. Cheap to make: vectors are mapped, everything else is read when asked for."""

    path: Path
    about: Mapping[str, Any]
    """``model``, ``weights`` (sha256), ``task``, ``classes``, ``kind`` (dataset or files), ``data``, ``count``,
    ``size`` (d), ``digest`` (sha256 of the vectors), ``created`` ..."""

    @property
    def name(self) -> str:
        return self.path.stem

    def __len__(self) -> int:
        return self.about["count"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the network."""
        return tuple(self.about["classes"])

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 (n, d), a read-only memory map."""
        return mapped(self.path, "vectors")

    @cached_property
    def ids(self) -> np.ndarray:
        return self._read("ids")

    @cached_property
    def labels(self) -> np.ndarray:
        return self._read("labels")

    @cached_property
    def outputs(self) -> np.ndarray:
        return self._read("outputs")

    @cached_property
    def paths(self) -> np.ndarray:
        return self._read("paths")

    @cached_property
    def column_names(self) -> list[str]:
        """Columns of the catalogue, without the prefix."""
        with zipfile.ZipFile(self.path) as file:
            return [name.removeprefix(COLUMN).removesuffix(".npy") for name in file.namelist()
                    if name.startswith(COLUMN)]  # fmt: skip

    def column(self, name: str) -> np.ndarray:
        """A column of the catalogue, (n,)."""
        return self._read(COLUMN + name)

    def row(self, wanted: str) -> int | None:
        """The row with this id, else of the only id that holds it; None where none, or more than one, does."""
        exact = np.flatnonzero(self.ids == wanted)
        if len(exact):
            return int(exact[0])
        within = np.flatnonzero(np.char.find(self.ids, wanted) >= 0) if wanted else exact
        return int(within[0]) if len(within) == 1 else None

    def _read(self, name: str) -> np.ndarray:
        with np.load(self.path, allow_pickle=False) as file:
            return file[name]


def open_embedding(path: Path | str) -> Embedding:
    """The embedding in a file.

    Raises:
        UserError: the file is missing, or is not one.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"There is no embedding at {str(path)!r}. Make one: embed RUN_OR_MODEL --data DIR "
                        "--out FILE.npz")
    about = read_about(path)
    if "digest" not in about:
        raise UserError(f"{path.name!r} is no embedding: it holds no vectors of `embed`.")
    return Embedding(path, about)


def read_about(path: Path) -> dict[str, Any]:
    """The facts in an ``.npz`` file of this project.

    Raises:
        UserError: it is not one, or damaged, or of a later version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
        raise UserError(f"{path.name!r} is not a file of `embed` or `project`, or it is damaged. Make it "
                        "again.") from err
    if about["format"] > FORMAT:
        raise UserError(f"{path.name!r} was made by a later version of DeepLense. Update DeepLense.")
    return about


def embeddings_dir() -> Path:
    """Where the workspace keeps embeddings, their maps and indexes."""
    path = home() / "embeddings"
    path.mkdir(exist_ok=True)
    return path


def list_embeddings() -> list[Embedding]:
    """The embeddings of the workspace, newest first; damaged files are left out."""
    found = []
    for path in embeddings_dir().glob("*.npz"):
        try:
            found.append(open_embedding(path))
        except UserError:
            continue
    return sorted(found, key=lambda embedding: embedding.about["created"], reverse=True)


def mapped(path: Path, name: str) -> np.ndarray:
    """An array of an uncompressed ``.npz`` file as a read-only memory map."""
    with zipfile.ZipFile(path) as file:
        info = file.getinfo(f"{name}.npy")
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        file.seek(info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30])))
        version = np.lib.format.read_magic(file)
        assert version == (1, 0), "what write_npz writes"
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        assert not fortran
        return np.memmap(path, dtype, "r", file.tell(), shape) if 0 not in shape else np.empty(shape, dtype)


def write_npz(
    path: Path, arrays: Mapping[str, np.ndarray], streamed: Iterable[tuple[str, tuple[int, int], Path]] = ()
) -> None:
    """Writes an ``.npz`` file, uncompressed, and puts it in place only when it is whole.

    Args:
        path: The file to make or to replace.
        arrays: By name; no objects.
        streamed: Name, shape and file of raw float32 values, copied without being loaded; they come first.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    with replacing(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            for name, shape, raw in streamed:
                with _member(file, name) as member, open(raw, "rb") as source:
                    _write_header(member, shape)
                    while piece := source.read(2**22):
                        member.write(piece)
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _member(file: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member whose data begins at a multiple of 64 bytes: arrays mapped from it are aligned."""
    info = zipfile.ZipInfo(f"{name}.npy")
    zip64 = 20
    taken = file.start_dir + 30 + len(info.filename) + zip64 + 4
    filler = -taken % _ALIGNED
    info.extra = struct.pack("<HH", _PADDING_ID, filler) + bytes(filler)
    return file.open(info, "w", force_zip64=True)


def _write_header(member: IO[bytes], shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
