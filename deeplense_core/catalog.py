"""Tables of results in the formats that astronomers take home.

They are written a piece at a time, so that a table of any length takes no more memory than a short one.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from deeplense_core.errors import UserError
from deeplense_core.storage import replacing

Row = Mapping[str, Any]
FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable", ".json": "json",
           ".parquet": "parquet"}  # fmt: skip
_UNITS = {"ra": "deg", "dec": "deg"}
_PIECE = 2_000
"""Rows held at once."""
_BLOCK = 2880
"""FITS files are made of blocks of this many bytes."""


def check_format(path: Path) -> str:
    """The format that a file name asks for.

    Raises:
        UserError: an ending we do not write, or a folder that does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path.name!r} ends in {path.suffix!r}. Choose one of {', '.join(FORMATS)}.")
    if not path.parent.exists():
        raise UserError(f"The folder {str(path.parent)!r} does not exist.")
    return FORMATS[path.suffix.lower()]


def write_catalog(rows: Iterable[Row], path: Path) -> None:
    """Writes rows (dicts with the same keys) as CSV, ECSV, FITS table, VOTable, JSON or Parquet, by the file's ending.

    Args:
        rows: At least one; gone through twice.
        path: The file, replaced only when the new one is whole.

    Raises:
        UserError: unknown ending, or the file cannot be written.
    """
    kind = check_format(path)
    write = {"json": _write_json, "fits": _write_fits, "votable": _write_votable, "parquet": _write_parquet}.get(kind)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        if write is None:
            _write_text(rows, file, kind)
        else:
            write(rows, file)


def table(rows: Sequence[Row], escape: bool = False, widths: Mapping[str, int] | None = None) -> Table:
    """Rows as an astropy table: missing numbers masked, sky positions in degrees (ICRS).

    Args:
        rows: At least one.
        escape: Make text cells harmless to spreadsheets.
        widths: Length of the text columns. Default: as these rows need.
    """
    out = Table()
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(v, str) for v in values):
            texts = [safe_cell(v) if escape else v for v in values]
            out[name] = np.array(texts, dtype=f"U{widths[name]}" if widths else None)
        else:
            missing = [v is None for v in values]
            numbers = [float("nan") if v is None else v for v in values]
            out[name] = MaskedColumn(numbers, mask=missing, dtype=float, unit=_UNITS.get(name))
    return out


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe where it could."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    going = iter(rows)
    while piece := list(islice(going, _PIECE)):
        yield piece


def _write_text(rows: Iterable[Row], file: IO[bytes], kind: str) -> None:
    """CSV or ECSV: the header with the first piece, only lines of data with the others."""
    for number, piece in enumerate(_pieces(rows)):
        text = io.StringIO()
        table(piece, escape=kind == "ascii.csv").write(text, format=kind)
        lines = text.getvalue()
        if number:
            while lines.startswith("#"):
                lines = lines.partition("\n")[2]
            lines = lines.partition("\n")[2]  # the names of the columns
        file.write(lines.encode())


def _write_json(rows: Iterable[Row], file: IO[bytes]) -> None:
    file.write(b'{"rows": [')
    for number, row in enumerate(rows):
        text = json.dumps(dict(row), allow_nan=False)  # indented, it would take as long as reading the file
        file.write(((",\n" if number else "\n") + text).encode())
    file.write(b"\n]}\n")


def _widths(rows: Iterable[Row]) -> tuple[dict[str, int], int]:
    """Length of the longest text of each text column, and the number of rows."""
    widths: dict[str, int] = {}
    count = 0
    for row in rows:
        count += 1
        for name, value in row.items():
            if isinstance(value, str):
                widths[name] = max(widths.get(name, 1), len(_ascii(value)))
    return widths, count


def _ascii(text: str) -> bytes:
    """FITS holds ASCII only; other characters become their number."""
    return text.encode("ascii", "backslashreplace")


def _write_fits(rows: Iterable[Row], file: IO[bytes]) -> None:
    """A primary HDU with nothing in it and a binary table; a missing number is NaN."""
    widths, count = _widths(rows)
    size = 0
    for number, piece in enumerate(_pieces(rows)):
        dtype = np.dtype([(name, f"S{widths[name]}" if name in widths else ">f8") for name in piece[0]])
        data = np.zeros(len(piece), dtype)
        for name in piece[0]:
            values = [row[name] for row in piece]
            data[name] = [_ascii(v) for v in values] if name in widths else \
                [np.nan if v is None else v for v in values]
        if number == 0:
            hdu = fits.BinTableHDU(data[:0])
            hdu.header["NAXIS2"] = count
            for index, name in enumerate(piece[0], start=1):
                if name in _UNITS:
                    hdu.header[f"TUNIT{index}"] = _UNITS[name]
            file.write(fits.PrimaryHDU().header.tostring().encode() + hdu.header.tostring().encode())
        file.write(data.tobytes())
        size += data.nbytes
    file.write(bytes(-size % _BLOCK))


def _write_parquet(rows: Iterable[Row], file: IO[bytes]) -> None:
    """A row group each piece; units as in the other formats, kept with the columns."""
    widths, _ = _widths(rows)
    writer: pq.ParquetWriter | None = None
    for piece in _pieces(rows):
        fields = [pa.field(name, pa.string() if name in widths else pa.float64(),
                           metadata={"unit": _UNITS[name]} if name in _UNITS else None) for name in piece[0]]
        lengths = {f"table::len::{name}": str(width) for name, width in widths.items()}  # astropy wants to know
        writer = writer or pq.ParquetWriter(file, pa.schema(fields, lengths))
        writer.write_table(pa.Table.from_pylist([dict(row) for row in piece], schema=writer.schema))
    assert writer is not None, "at least one row"
    writer.close()


def _write_votable(rows: Iterable[Row], file: IO[bytes]) -> None:
    widths, _ = _widths(rows)
    rest = b""
    for number, piece in enumerate(_pieces(rows)):
        whole = io.BytesIO()
        table(piece, widths=widths).write(whole, format="votable", tabledata_format="tabledata")
        found = re.fullmatch(rb"(.*<TABLEDATA>\n)(.*?)(\s*</TABLEDATA>.*)", whole.getvalue(), re.DOTALL)
        assert found, "astropy writes a TABLEDATA element"
        start, body, rest = found.groups()
        file.write((b"\n" if number else start) + body)
    file.write(rest)
