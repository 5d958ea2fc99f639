"""Tables of predictions of any length, looked at a page at a time, and the images behind the rows of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deeplense_core.bulk.sources import is_hdf5, is_set, open_set
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.decode import Decoder

ALL, WITH, WITHOUT = "all", "with", "without"


@dataclass(frozen=True)
class Wanted:
    """Which rows of a table, and in which order."""

    text: str = ""
    """Part of the name, in any case."""
    classes: tuple[str, ...] = ()
    """Empty: all."""
    low: float = 0.0
    high: float = 1.0
    """Bounds of the score, both included."""
    warnings: str = ALL
    """``all``, ``with`` or ``without``."""
    by: str = "score"
    falling: bool = True


def read_table(paths: Sequence[Path]) -> pa.Table:
    """The tables of one prediction, or of all its shards, as one.

    Raises:
        UserError: a file is damaged.
    """
    try:
        return pa.concat_tables([pq.read_table(path) for path in paths])
    except (OSError, pa.ArrowException) as err:
        raise UserError(f"The table cannot be read: {err}. Score the images again.") from err


def rows_of(table: pa.Table, wanted: Wanted) -> np.ndarray:
    """Places of the rows that are wanted, in their order."""
    score = table["score"].to_numpy()
    keep = (score >= wanted.low) & (score <= wanted.high)
    if wanted.text:
        keep &= table["name"].to_pandas().str.contains(wanted.text, case=False, regex=False).to_numpy(bool)
    if wanted.classes:
        keep &= table["class"].to_pandas().isin(wanted.classes).to_numpy(bool)
    if wanted.warnings != ALL:
        keep &= (table["warning"].to_pandas() != "").to_numpy(bool) == (wanted.warnings == WITH)
    rows = np.flatnonzero(keep)
    values = score[rows] if wanted.by == "score" else table[wanted.by].to_pandas().to_numpy(object)[rows]
    order = np.argsort(values, kind="stable")
    return rows[order[::-1] if wanted.falling else order]


def rows_at(table: pa.Table, rows: np.ndarray) -> list[dict[str, Any]]:
    """Rows by place, as :func:`deeplense_core.answers.predicted_row` made them."""
    return table.take(pa.array(rows)).to_pylist()


def images_behind(source: Path, names: Sequence[str]) -> list[LensImage | None]:
    """The images that rows are about, by their names; None where one is gone or cannot be read any more.

    Files are opened by the sealed decoder, and HDF5 sets too; only plain arrays of numbers are read here.
    """
    if not source.exists():
        return [None] * len(names)
    if is_hdf5(source):
        return _from_files(source, names, [{"row": row} for row in _rows_by_name(source, names)])
    if not is_set(source):
        return _from_files(source, names, [{}] * len(names))
    with open_set(source) as images:
        return [None if row is None else LensImage(images.pixels(range(row, row + 1))[0], images.pixel_scale_arcsec,
                                                   meta={"format": "NPY", "notes": []})
                for row in _rows_by_name(source, names)]  # fmt: skip


def _rows_by_name(source: Path, names: Sequence[str]) -> list[int | None]:
    if source.is_dir():
        ids = pd.Index(pq.read_table(source / "catalog.parquet", columns=["id"])["id"].to_pandas().astype(str))
        return [None if row < 0 else int(row) for row in ids.get_indexer(pd.Index(names))]
    numbers = [re.fullmatch(r".*\[(\d+)\]", name) for name in names]
    return [int(match[1]) if match else None for match in numbers]


def _from_files(source: Path, names: Sequence[str], options: Sequence[dict[str, Any]]) -> list[LensImage | None]:
    """Each image as the sealed decoder reads it; ``names`` are below a folder, else all in one file."""
    found: list[LensImage | None] = []
    with Decoder() as decoder:
        for name, option in zip(names, options, strict=True):
            try:
                found.append(decoder.read(source / name if source.is_dir() else source, name, **option))
            except UserError:  # members of ZIP files, which are not unpacked again, among them
                found.append(None)
    return found


def answer_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the list of images to inspect keeps it."""
    return {name: value for name, value in row.items() if value == value}  # NaN is no JSON
