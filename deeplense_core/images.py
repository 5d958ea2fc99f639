"""One image from a file: NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF, told apart by their first bytes.

What strangers upload is read by the same function in a process of its own: :mod:`deeplense_core.reading.uploads`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.display import montage, stretch, to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.reading.image_checks import (
    MAX_CHANNELS,
    MAX_PIXELS,
    BadImageError,
    axes_to_chw,
    check_pixels,
    check_size,
    few_channels,
    to_chw,
)  # fmt: skip
from deeplense_core.reading.image_formats import format_of, npy_header, read_npy

__all__ = [
    "MAX_PIXELS", "BadImageError", "LensImage", "check_pixels", "check_size", "montage", "npy_header",
    "read_image", "read_npy", "stretch", "to_chw", "to_png", "to_rgb",
]  # fmt: skip

_ENDINGS = {
    ".npy": "NPY", ".npz": "NPZ", ".fits": "FITS", ".fit": "FITS", ".fts": "FITS", ".h5": "HDF5",
    ".hdf5": "HDF5", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LensImage:
    """One image and what its file says about it."""

    pixels: np.ndarray
    """float32 (c, h, w)."""
    pixel_scale_arcsec: float | None = None
    bands: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What :func:`read_image` found. Always: ``format``, ``name``, ``array_shape`` and ``dtype`` as stored,
    ``planes`` (how many there are to choose from), ``notes`` (what a reader should know, sentences).
    FITS: ``hdu`` (the label of the one read), ``hdus`` (``{"index", "name", "shape", "unit"}`` of each image).
    NPZ and HDF5: ``key`` and ``keys``. Where known: ``unit``; with ``sky``, ``wcs`` (the celestial WCS as FITS
    cards, one a line), ``ra_deg`` and ``dec_deg`` (ICRS) of the centre."""


def read_image(
    path: str | os.PathLike,
    *,
    hdu: str | int | None = None,
    plane: int | None = None,
    key: str | None = None,
    row: int | None = None,
    channels: str = "auto",
    name: str = "",
    sky: bool = False,
) -> LensImage:
    """Reads one image.

    Args:
        path: The file; its extension does not matter.
        hdu: FITS only: name or number of the HDU. Default: ``SCI``, else the first 2-D or 3-D image.
        plane: One plane of a cube, from 0. Default: all of them, as bands.
        key: NPZ and HDF5 only: name of the array. Default: the first that looks like an image.
        row: HDF5 only: one image of a set (n, bands, height, width), from 0.
        channels: ``first``, ``last`` or ``auto``; see :func:`to_chw`.
        name: What messages call the file. Default: its name on disk.
        sky: FITS only: read the celestial WCS too, with wcslib. A crafted header has made that crash, so only
            the decoding process (:mod:`deeplense_core.reading.decode`) asks for it.

    Raises:
        BadImageError: on every file that is not one proper image, saying why.
    """
    path = Path(path)
    name = name or path.name
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            kind, read = format_of(file.read(16), name)
            file.seek(0)
            options = {"hdu": hdu, "key": key, "row": row, "size": size, "path": path, "sky": sky}
            array, facts = read(file, name, options)
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise BadImageError("missing file", f"There is no file at {str(path)!r}.") from None
    except OSError as err:
        raise BadImageError("unreadable file", f"{name!r} cannot be read: {err.strerror or err}.") from err
    except Exception as err:  # libraries raise nearly anything on damaged bytes
        raise BadImageError("damaged file", f"{name!r} is damaged ({type(err).__name__}). Copy it again.") from err
    bands = facts.pop("bands", ())
    if kind == "FITS" and channels == "auto" and array.shape[-1] > MAX_CHANNELS:
        channels = "first"  # the third axis of FITS, as of a spectral cube; bands come last in files of Python alone
    try:
        chosen, facts["planes"] = _choose_plane(array, channels, plane, name)
        pixels = check_pixels(chosen, name)
    except BadImageError as err:
        err.choices |= {choice: facts[choice] for choice in ("hdus", "keys") if choice in facts}
        raise
    if len(bands) != len(pixels):
        bands = bands[plane : plane + 1] if plane is not None and len(bands) == facts["planes"] else ()
    found = {"format": kind, "name": name, "array_shape": array.shape, "dtype": str(array.dtype)}
    facts["notes"] = _notes(pixels, kind, name)
    scale = facts.pop("pixel_scale_arcsec", None)
    return LensImage(pixels, scale, tuple(bands), {**found, **facts})


def _choose_plane(array: np.ndarray, channels: str, plane: int | None, name: str) -> tuple[np.ndarray, int]:
    """The image as (c, h, w), or one plane of it as (1, h, w), and how many planes there are."""
    planes = axes_to_chw(array, channels, name)
    if plane is None:
        return few_channels(planes, name), len(planes)
    if not 0 <= plane < len(planes):
        raise BadImageError(
            "no such plane", f"{name!r} has no plane {plane}: choose from 0 to {len(planes) - 1}.",
            {"planes": len(planes)},
        )  # fmt: skip
    return planes[plane : plane + 1], len(planes)


def _notes(pixels: np.ndarray, kind: str, name: str) -> list[str]:
    """What is odd about an image that can be used all the same."""
    notes = []
    if pixels.max() <= 0:
        notes.append(
            "No pixel is above zero: the sky may be subtracted twice, or the image inverted. "
            "Check how it was made before trusting an answer."
        )
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending in _ENDINGS and _ENDINGS[ending] != kind:
        notes.append(f"It is named {ending} but holds {kind}; it was read as {kind}.")
    return notes
