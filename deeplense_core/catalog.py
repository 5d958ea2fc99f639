"""Tables of results in the formats that astronomers take home."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from astropy.table import MaskedColumn, Table

from deeplense_core.errors import UserError

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable", ".json": "json"}
_UNITS = {"ra": "deg", "dec": "deg"}


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


def write_catalog(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows (dicts with the same keys) as CSV, ECSV, FITS table, VOTable or JSON, by the file's ending.

    Raises:
        UserError: unknown ending, or the file cannot be written.
    """
    kind = check_format(path)
    try:
        if kind == "json":
            path.write_text(json.dumps({"rows": [dict(row) for row in rows]}, indent=1, allow_nan=False))
        else:
            table(rows, escape=kind == "ascii.csv").write(path, format=kind, overwrite=True)
    except OSError as err:
        raise UserError(f"{str(path)!r} cannot be written: {err.strerror or err}.") from err


def table(rows: Sequence[Mapping[str, Any]], escape: bool = False) -> Table:
    """Rows as an astropy table: missing numbers masked, sky positions in degrees (ICRS)."""
    out = Table()
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(isinstance(v, str) for v in values):
            out[name] = [safe_cell(v) if escape else v for v in values]
        else:
            missing = [v is None for v in values]
            numbers = [float("nan") if v is None else v for v in values]
            out[name] = MaskedColumn(numbers, mask=missing, dtype=float, unit=_UNITS.get(name))
    return out


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe where it could."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
