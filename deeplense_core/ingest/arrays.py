"""Surveys: unlabelled images in one array of an HDF5 or NPY file, with numbers of each image beside them.

Read and written a block at a time, so a file may be larger than memory. Columns keep their names: what a survey says
of an image (``ra``, ``flux``) may be measured or true, so none becomes a feature on its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.bulk.sources import BLOCK, ImageSet, is_hdf5
from deeplense_core.data_writer import DatasetWriter
from deeplense_core.ingest.image_folders import Skipped

OURS = ("id", "split", "label")


def copy_array(
    found: ImageSet, writer: DatasetWriter, progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """Streams every good image into the writer; returns what there is to report.

    Images with values that are not finite are left out, and so is one that was there before, bit for bit.
    """
    columns = number_columns(found.path, found.count) if is_hdf5(found.path) else {}
    skipped, seen, kept = Skipped(), {}, 0
    for block in found.blocks(range(found.count), BLOCK):
        good = []
        for place, (name, pixels) in enumerate(zip(block.names, block.pixels, strict=True)):
            if not np.isfinite(pixels).all():
                skipped.add(name, "values that are not finite", f"{name} has NaN or infinity.")
                continue
            twin = seen.setdefault(hashlib.blake2b(pixels.tobytes(), digest_size=12).digest(), name)
            if twin == name:
                good.append(place)
            else:
                skipped.add(name, "duplicate", f"Same pixels as {twin}.")
        if good:
            rows = {"id": [block.names[place] for place in good], "label": [""] * len(good), "split": [""] * len(good)}
            rows |= {key: values[np.array(block.rows)[good]] for key, values in columns.items()}
            writer.append(block.pixels[good], rows)
        kept += len(good)
        if progress is not None:
            progress(block.rows.stop, found.count)
    counts: Counter[str] = skipped.counts
    notes = [f"Kept as float32 {found.shape}. No image carries a label: the set serves learning without labels.",
             *([f"Columns of the file: {', '.join(columns)}."] if columns else [])]  # fmt: skip
    return {"found": found.count, "kept": kept, "skipped": dict(counts), "skipped_files": skipped.files,
            "in_two_splits": [], "notes": notes}  # fmt: skip


def number_columns(path: Path, count: int) -> Mapping[str, np.ndarray]:
    """Arrays of one number an image in the root of an HDF5 file; links and parts kept elsewhere stay closed."""
    import h5py

    found = {}
    with h5py.File(path, "r") as root:
        for name in root:
            if not isinstance(root.get(name, getlink=True), h5py.HardLink) or name in OURS:
                continue
            data = root[name]
            if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
                continue
            if data.shape == (count,) and data.dtype.kind in "buif":
                values = np.array(data)
                found[name] = values.astype(values.dtype.newbyteorder("="))  # Parquet has one order of bytes
    return found
