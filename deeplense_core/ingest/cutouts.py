"""Brings lens-finding cutouts, one FITS file a band, and the table that says what each is, into a data set.

The published sets differ in the table (``no_source``, 0 for a lens, or ``is_lens``) and in the folders around the
files, which are all named ``<anything>_<BAND>-<ID>.fits``. A band that is missing or cannot be used is 0 everywhere
in the stored image: :func:`deeplense_core.photometry.missing_bands` finds it, and so does its feature.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.images import BadImageError, read_image
from deeplense_core.ingest.image_folders import Skipped, rounded_scale
from deeplense_core.photometry import measure

LAYOUTS = {"no_source": "lens-finding-2024", "is_lens": "bologna"}
"""The column that tells lenses -> the layout that has it."""
MASKED = 100.0
"""Value of pixels without data in the Bologna challenge, whose fluxes are near 1e-9."""
BAND_ORDER = ("vis", "u", "g", "r", "i", "z", "y", "j", "h", "k")
_FILE = re.compile(r"(?:.*_)?(?P<band>[A-Za-z]\w*)-(?P<id>\d+)\.(?:fits|fit|fts)(?:\.gz)?", re.IGNORECASE)
_TRUTH = re.compile(r"einstein|ein_area|lens|source|crit|caustic|halo|mass|magnif|mag_eff|sb_contrast|color_diff|theta|"
                    r"shear|numb_pix|n_pix|(^|_)z(_|$)|redshift|label|class|target|truth", re.IGNORECASE)
"""Columns of a published table that only a simulator knows."""
_KEPT = {"ra", "dec", "pixel_scale_arcsec"}
_BATCH = 64
_MAX_TABLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Cutouts:
    """A table of cutouts and the files of each."""

    layout: str
    table: pd.DataFrame
    """Column ``label`` (class name) and what else was said; the index is the name of the cutout."""
    files: Mapping[str, Mapping[str, Path]]
    """Name of the cutout -> band -> file."""
    bands: tuple[str, ...]
    skipped: Skipped


def find_cutouts(source: Path) -> Cutouts | None:
    """The cutouts below a folder; None where it holds no table that tells lenses.

    Raises:
        UserError: a table of cutouts without any file that belongs to it.
    """
    if not source.is_dir():
        return None
    tables = [(path, table) for path in sorted(source.rglob("*.csv")) if (table := _read_table(path)) is not None]
    if not tables:
        return None
    found = _files(source)
    parts, skipped = [], Skipped()
    for path, table in tables:
        parts.append(_named(path, table, found, several=len(tables) > 1))
    whole = pd.concat(parts)
    whole = whole.loc[~whole.index.duplicated()]
    files = {name: found[name] for name in whole.index if name in found}
    for name in whole.index[~whole.index.isin(list(files))]:
        skipped.add(str(name), "no image", "It is in the table, but no file is named after it.")
    for name in sorted(set(found) - set(files)):
        why = "No row of the table has its number, so nothing is known about it."
        skipped.add(name, "not in the table", why)
    if not files:
        raise UserError(f"{tables[0][0].name!r} names {len(whole)} cutouts, but no file in {str(source)!r} is named "
                        "after one, as in imageSDSS_R-100000.fits. Unpack the images beside the table.")
    counts = Counter(band for bands in files.values() for band in bands)
    order = sorted(counts, key=lambda band: (BAND_ORDER.index(band) if band in BAND_ORDER else 99, band))
    return Cutouts(str(whole.attrs.get("layout") or parts[0].attrs["layout"]), whole, files, tuple(order), skipped)


def _read_table(path: Path) -> pd.DataFrame | None:
    """A table that has an ID and tells lenses, its columns named as they are and ``label`` added; else None."""
    try:
        if path.stat().st_size > _MAX_TABLE_BYTES:
            return None
        names = pd.read_csv(path, comment="#", skipinitialspace=True, nrows=0).columns
        by_name = {str(name).strip().lower(): name for name in names}
        tells = next((column for column in LAYOUTS if column in by_name), None)
        if "id" not in by_name or tells is None:
            return None
        # As text: beside an empty line, numbers would become fractions, and long ones other numbers.
        table = pd.read_csv(path, comment="#", skipinitialspace=True, dtype={by_name["id"]: str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError):
        return None
    table = table.dropna(subset=[by_name["id"]])
    value: np.ndarray = np.asarray(pd.to_numeric(table[by_name[tells]], errors="coerce"), dtype=np.float64)
    lens = value == 0 if tells == "no_source" else value > 0
    table = table.rename(columns={by_name["id"]: "id"}).drop(columns=by_name[tells])
    table["label"] = np.where(np.isnan(value), "", np.where(lens, *LENS_CLASSES))
    table["id"] = table["id"].map(_number)
    table.attrs["layout"] = LAYOUTS[tells]
    return table


def _number(text: str) -> str:
    """A number without the zeros that a file name or a table may write before it."""
    return text.strip().lstrip("0") or "0"


def _files(source: Path) -> dict[str, dict[str, Path]]:
    """Name of each cutout -> band -> file. A name is ``<top folder>/<ID>`` where there are several top folders."""
    files = [(path, match) for path in sorted(source.rglob("*"))
             if (match := _FILE.fullmatch(path.name)) and not path.name.startswith(".") and path.is_file()]  # fmt: skip
    found: dict[str, dict[str, Path]] = {}
    for path, match in files:
        below = path.relative_to(source).parts
        sort = below[0] if len(below) > 1 and below[0].lower() in ("easy", "hard", "train", "test") else ""
        number = _number(match["id"])
        name = f"{sort}/{number}" if sort else number
        found.setdefault(name, {})[match["band"].lower()] = path
    return found


def _named(path: Path, table: pd.DataFrame, found: Mapping[str, Any], several: bool) -> pd.DataFrame:
    """The table with the names of its cutouts as the index: by the folder that its file is named after."""
    folders = {name.split("/")[0] for name in found if "/" in name}
    mine = [folder for folder in folders if path.stem.lower().startswith(folder.lower())]
    sort = mine[0] if mine else next(iter(folders)) if len(folders) == 1 and not several else ""
    named = table.set_index(table["id"].map(lambda number: f"{sort}/{number}" if sort else number)).drop(columns="id")
    named.attrs = table.attrs
    return named


def copy_cutouts(
    cutouts: Cutouts, shape: tuple[int, int], writer: DatasetWriter, progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """Streams every usable cutout into the writer; returns what there is to report."""
    columns, batch = catalogue_columns(cutouts.table), []
    missing: Counter[str] = Counter()
    kept = masked = 0
    for done, (name, files) in enumerate(cutouts.files.items(), start=1):
        try:
            image, hidden = read_cutout(name, files, cutouts.bands, shape, cutouts.skipped)
        except BadImageError as err:
            cutouts.skipped.add(name, err.reason, str(err))
        else:
            batch.append((name, image, hidden))
            missing.update(band for band, plane in zip(cutouts.bands, image, strict=True) if not plane.any())
            masked, kept = masked + (hidden > 0), kept + 1
        if batch and (len(batch) == _BATCH or done == len(cutouts.files)):
            _append(batch, cutouts, columns, writer)
            batch = []
        if progress is not None:
            progress(done, len(cutouts.files))
    notes = [f"{count} images lack band {band}: it is 0 everywhere." for band, count in sorted(missing.items())]
    if masked:
        notes.append(f"{masked} images have pixels without data (value {MASKED:g}): they hold the level of the sky.")
    return {"found": len(cutouts.files), "kept": kept, "skipped": dict(cutouts.skipped.counts),
            "skipped_files": cutouts.skipped.files, "notes": notes}  # fmt: skip


def look_at_cutouts(cutouts: Cutouts) -> tuple[tuple[int, int], float | None]:
    """Height and width that most of some images have, and the side of a pixel in arcsec where they agree on it.

    Raises:
        UserError: when none can be read, with the reason of the first.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    scales: set[float | None] = set()
    error: BadImageError | None = None
    for path in _some(cutouts):
        try:
            image = read_image(path)
        except BadImageError as err:
            error = error or err
            continue
        shapes[image.pixels.shape[1:]] += 1
        scales.add(rounded_scale(image))
    if not shapes:
        raise UserError(f"None of the files can be used. The first: {error}")
    return max(shapes, key=lambda shape: (shapes[shape], shape)), scales.pop() if len(scales) == 1 else None


def _some(cutouts: Cutouts) -> Iterator[Path]:
    step = max(1, len(cutouts.files) // 100)
    for files in list(cutouts.files.values())[::step]:
        yield from files.values()


def read_cutout(
    name: str, files: Mapping[str, Path], bands: Sequence[str], shape: tuple[int, int], skipped: Skipped
) -> tuple[np.ndarray, float]:
    """One cutout, float32 (c, h, w), and the part of its pixels that had no data.

    Raises:
        BadImageError: when no band can be used; a single one is noted in ``skipped`` and left at 0.
    """
    image, hidden = np.zeros((len(bands), *shape), np.float32), 0.0
    good = 0
    for k, band in enumerate(bands):
        if band not in files:
            continue
        try:
            plane = read_image(files[band]).pixels
            if plane.shape != (1, *shape):
                raise BadImageError("other shape", f"{files[band].name!r} has shape {plane.shape}; most have {shape}.")
            image[k], part = unmasked(plane[0], files[band].name)
        except BadImageError as err:
            skipped.add(f"{name} {band}", f"band: {err.reason}", str(err))
        else:
            hidden, good = hidden + part / len(bands), good + 1
    if not good:
        raise BadImageError("no usable band", f"None of the bands of {name!r} can be used.")
    return image, hidden


def unmasked(plane: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """An image (h, w) whose pixels of exactly 100 among far smaller ones hold the sky's level; and their part.

    Raises:
        BadImageError: when there is nothing else.
    """
    masked = plane == MASKED
    rest = plane[~masked]
    if not masked.any() or (rest.size and np.abs(rest).max() > MASKED / 10):
        return plane, 0.0
    if not rest.size or rest.min() == rest.max():
        raise BadImageError("masked image", f"{name!r} has no pixel with data.")
    return np.where(masked, np.median(rest), plane), float(masked.mean())


def catalogue_columns(table: pd.DataFrame) -> dict[str, str]:
    """Numeric columns and their names here: ``truth_*`` of what no observer knows, else ``feature_*``."""
    numeric = [name for name in table.columns if name != "label" and pd.api.types.is_numeric_dtype(table[name])]

    def renamed(name: str) -> str:
        plain = re.sub(r"\W+", "_", name.strip())
        if plain.lower() in _KEPT:
            return plain.lower()
        if plain.startswith(("truth_", "feature_")):
            return plain
        return f"{'truth' if _TRUTH.search(plain) else 'feature'}_{plain}"

    return {name: renamed(str(name)) for name in numeric}


def _append(
    batch: Sequence[tuple[str, np.ndarray, float]], cutouts: Cutouts, columns: Mapping[str, str], writer: DatasetWriter
) -> None:
    names, images = [name for name, _, _ in batch], np.stack([image for _, image, _ in batch])
    told = cutouts.table.loc[names]
    rows: dict[str, Any] = {"id": names, "label": told["label"].to_numpy()}
    rows |= {new: told[old].to_numpy(dtype=np.float64) for old, new in columns.items()}
    rows["masked_fraction"] = np.array([hidden for _, _, hidden in batch])
    writer.append(images, rows | measure(images, cutouts.bands))
