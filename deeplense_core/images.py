"""One image from a file: NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF, told apart by their first bytes.

Files come from strangers. Sizes are checked before memory is taken, nothing is unpickled, and each way of
being malformed has its own message.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from deeplense_core.display import montage, stretch, to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

__all__ = [
    "BadImageError", "LensImage", "check_pixels", "check_size", "montage", "npy_header", "read_image",
    "read_npy", "stretch", "to_chw", "to_png", "to_rgb",
]  # fmt: skip

MAX_PIXELS = 64 * 2**20
"""Largest number of values in one image."""
MAX_CHANNELS = 16
_MAX_FILE_BYTES = 8 * MAX_PIXELS + 2**20
_MAX_MEMBERS = 5_000


class BadImageError(UserError):
    """A file that cannot be used as an image.

    Attributes:
        reason: A few words, the same for all files with this fault, to count by.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class LensImage:
    """One image and what its file says about it."""

    pixels: np.ndarray
    """float32 (c, h, w)."""
    pixel_scale_arcsec: float | None = None
    bands: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """``format``, ``name``, ``array_shape``, ``dtype``; where known ``unit``, ``hdu``, ``hdus``, ``key``,
    ``wcs``, ``ra_deg`` and ``dec_deg`` of the centre."""


def read_image(
    path: str | os.PathLike, *, hdu: str | int | None = None, key: str | None = None, channels: str = "auto"
) -> LensImage:
    """Reads one image.

    Args:
        path: The file; its extension does not matter.
        hdu: FITS only: name or number of the HDU. Default: ``SCI``, else the first 2-D or 3-D image.
        key: NPZ and HDF5 only: name of the array. Default: the first that looks like an image.
        channels: ``first``, ``last`` or ``auto``; see :func:`to_chw`.

    Raises:
        BadImageError: on every file that is not one proper image, saying why.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(16)
            if not start:
                raise BadImageError("empty file", f"{path.name!r} is empty (0 bytes). Copy it again.")
            kind, read = _format(start, path.name)
            file.seek(0)
            array, facts = read(file, path.name, {"hdu": hdu, "key": key, "size": size, "path": path})
    except FileNotFoundError:
        raise BadImageError("missing file", f"There is no file at {str(path)!r}.") from None
    except OSError as err:
        raise BadImageError("unreadable file", f"{path.name!r} cannot be read: {err.strerror or err}.") from err
    pixels = check_pixels(to_chw(array, channels, name=path.name), path.name)
    found = {"format": kind, "name": path.name, "array_shape": array.shape, "dtype": str(array.dtype)}
    scale, bands = facts.pop("pixel_scale_arcsec", None), facts.pop("bands", ())
    return LensImage(pixels, scale, bands, {**found, **facts})


def check_pixels(pixels: np.ndarray, name: str) -> np.ndarray:
    """The pixels as float32, after a look for NaN, infinity and a blank frame.

    Raises:
        BadImageError: when one is found.
    """
    if pixels.dtype.kind not in "buif":
        raise BadImageError("wrong dtype", f"{name!r} holds {pixels.dtype}, not real numbers.")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused below
        pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        raise BadImageError(
            "NaN or infinite pixels",
            f"{name!r} has {bad} NaN or infinite pixels of {pixels.size}. Fill them or cut them away first.",
        )
    if pixels.min() == pixels.max():
        raise BadImageError(
            "constant image", f"{name!r} is blank: every pixel is {pixels.flat[0]:g}. There is nothing in it."
        )
    return pixels


def to_chw(array: np.ndarray, channels: str = "auto", name: str = "The image") -> np.ndarray:
    """An image in any common order of axes as ``(c, h, w)``.

    Args:
        array: ``(h, w)``, ``(c, h, w)`` or ``(h, w, c)``; further leading axes of length 1 are dropped.
        channels: Where a 3-D array has its channels: ``first``, ``last``, or ``auto`` (the shorter end).
        name: What messages call it.

    Raises:
        BadImageError: when the array has no such shape.
    """
    if channels not in ("auto", "first", "last"):
        raise UserError(f"channels = {channels!r} is not one of auto, first, last.")
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    elif array.ndim != 3:
        raise BadImageError("wrong shape", f"{name!r} has shape {array.shape}; an image has 2 or 3 dimensions.")
    elif channels == "last" or (channels == "auto" and array.shape[2] < array.shape[0]):
        array = np.moveaxis(array, 2, 0)
    if not array.size:
        raise BadImageError("empty image", f"{name!r} has shape {array.shape}: no pixels in it.")
    if len(array) > MAX_CHANNELS:
        raise BadImageError(
            "wrong shape",
            f"{name!r} has {len(array)} channels; at most {MAX_CHANNELS} are allowed. "
            "Cut one image out of the cube, or say which axis holds the channels.",
        )
    return array


# --- formats: each reader takes (file, name, options) and returns the array and facts for LensImage


def _read_npy(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    return read_npy(file, name, options["size"]), {}


def read_npy(file: IO[bytes], name: str, size: int) -> np.ndarray:
    """An array of numbers from the bytes of a ``.npy`` file; pickles are refused, unread.

    Args:
        file: At its start.
        name: What messages call it.
        size: Bytes there are.

    Raises:
        BadImageError: pickled, too large, truncated, not numbers, or no ``.npy`` at all.
    """
    shape, fortran_order, dtype = npy_header(file, name)
    if dtype.hasobject:
        raise BadImageError(
            "pickled objects",
            f"{name!r} holds pickled Python objects, which could run code; it was not opened. "
            "Save the pixels as a plain array of numbers.",
        )
    if dtype.kind not in "buif":
        raise BadImageError("wrong dtype", f"{name!r} holds {dtype}, not real numbers.")
    count = math.prod(shape)
    check_size(count, shape, name)
    needed = count * dtype.itemsize
    data = file.read(needed) if size >= needed else b""
    if len(data) < needed:
        raise BadImageError(
            "truncated file",
            f"{name!r} is cut short: its header promises {needed} bytes of pixels. Copy it again.",
        )
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")


def npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype that a ``.npy`` file claims; leaves ``file`` at the data."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about headers written by Python 2
            shape, fortran_order, dtype = readers[np.lib.format.read_magic(file)](file)
        if min(shape, default=0) < 0:
            raise ValueError("negative length")
        return shape, fortran_order, dtype
    except (ValueError, KeyError, SyntaxError, TypeError, EOFError, OverflowError, RecursionError) as err:
        raise BadImageError("damaged file", f"{name!r} has a damaged .npy header. Copy it again.") from err


def check_size(count: int, shape: tuple[int, ...], name: str) -> None:
    if count > MAX_PIXELS:
        raise BadImageError(
            "too large",
            f"{name!r} claims shape {shape}: more than the {MAX_PIXELS // 2**20} Mpixel allowed. Cut it smaller.",
        )


def _read_npz(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()[:_MAX_MEMBERS]}
            key = options["key"] or _first_image_member(archive, members, name)
            if key not in members:
                raise BadImageError("no image", f"{name!r} has no array {key!r}. {nearest(key, list(members))}")
            with archive.open(members[key]) as stream:  # never more than the header promises: no bomb
                array = read_npy(stream, f"{name}:{key}", _MAX_FILE_BYTES)
            return array, {"key": key, "keys": tuple(members)}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, NotImplementedError, struct.error) as err:
        raise BadImageError("damaged file", f"{name!r} is a damaged or encrypted .npz. Copy it again.") from err


def _first_image_member(archive: zipfile.ZipFile, members: Mapping[str, Any], name: str) -> str:
    for key, member in members.items():
        with archive.open(member) as stream:
            shape, _, dtype = npy_header(stream, f"{name}:{key}")
        if dtype.hasobject or (dtype.kind in "buif" and len(shape) in (2, 3)):
            return key  # objects too: refusing them by name tells more than "no image"
    raise BadImageError("no image", f"{name!r} has no 2-D or 3-D array of numbers; it has {', '.join(members)}.")


def _read_fits(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    from deeplense_core.fits_image import read_fits  # astropy takes long to import; few pages need it

    return read_fits(file, name, options["hdu"])


def _read_gzipped_fits(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    try:
        with gzip.open(file) as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as err:
        raise BadImageError("damaged file", f"{name!r} is not proper gzip. Copy it again.") from err
    if len(data) > _MAX_FILE_BYTES:
        raise BadImageError("too large", f"{name!r} expands to more than {_MAX_FILE_BYTES // 2**20} MB.")
    if not data.startswith(b"SIMPLE"):
        raise BadImageError("unknown format", f"{name!r} is gzip, but what is inside is not FITS.")
    return _read_fits(io.BytesIO(data), name, options)


def _read_hdf5(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    """lenstronomy's layout (``image_data``, ``transform_pix2angle``), or the first image in the root."""
    import h5py

    try:
        with h5py.File(options["path"], "r") as root:
            hard = [str(k) for k in root if isinstance(root.get(k, getlink=True), h5py.HardLink)]
            arrays: dict[str, Any] = {k: root[k] for k in hard if isinstance(root[k], h5py.Dataset)}
            images = [k for k, data in arrays.items() if data.ndim in (2, 3)]
            key = options["key"] or next((k for k in ("image_data", "image", *images) if k in images), "")
            if key not in images:
                raise BadImageError("no image", f"{name!r} has no 2-D or 3-D data set {key!r}. {nearest(key, images)}")
            pixels = _hdf5_pixels(arrays[key], f"{name}:{key}")
            facts: dict[str, Any] = {"key": key, "keys": tuple(images)}
            if "transform_pix2angle" in arrays and arrays["transform_pix2angle"].shape == (2, 2):
                matrix = _hdf5_pixels(arrays["transform_pix2angle"], name).astype(float)
                facts["pixel_scale_arcsec"] = math.sqrt(abs(float(np.linalg.det(matrix))))
            return pixels, facts
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        raise BadImageError("damaged file", f"{name!r} is damaged HDF5: {err}.") from err


def _hdf5_pixels(data: Any, name: str) -> np.ndarray:
    if data.is_virtual or data.external:
        raise BadImageError("external storage", f"{name!r} is kept in another file, which is refused.")
    if data.dtype.kind not in "buif":
        raise BadImageError("wrong dtype", f"{name!r} holds {data.dtype}, not real numbers.")
    check_size(data.size, data.shape, name)
    return data[()]


def _read_picture(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    """PNG, JPEG or TIFF, first frame; transparency is dropped."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: about size, which is checked here, and odd metadata
            picture = Image.open(file, formats=("PNG", "JPEG", "TIFF"))
            check_size(math.prod(picture.size) * len(picture.getbands()), picture.size, name)
            if picture.mode in ("LA", "RGBA", "P", "PA", "CMYK", "YCbCr", "La", "RGBa", "HSV", "LAB"):
                picture = picture.convert("L" if picture.mode in ("LA", "La") else "RGB")
            array = np.array(picture)
    except Image.DecompressionBombError:
        raise BadImageError("too large", f"{name!r} has too many pixels. Cut it smaller.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, struct.error) as err:
        raise BadImageError("damaged file", f"{name!r} is a damaged picture: {err}. Copy it again.") from err
    colour = array.ndim == 3
    return (np.moveaxis(array, 2, 0), {"bands": ("R", "G", "B")}) if colour else (array, {})


_FORMATS: tuple[tuple[str, bytes, Callable], ...] = (
    ("NPY", rb"\x93NUMPY", _read_npy),
    ("NPZ", rb"PK\x03\x04", _read_npz),
    ("FITS", rb"SIMPLE {2}=", _read_fits),
    ("FITS", rb"\x1f\x8b", _read_gzipped_fits),
    ("HDF5", rb"\x89HDF\r\n\x1a\n", _read_hdf5),
    ("PNG", rb"\x89PNG\r\n\x1a\n", _read_picture),
    ("JPEG", rb"\xff\xd8\xff", _read_picture),
    ("TIFF", rb"II[*+]\x00|MM\x00[*+]", _read_picture),
)


def _format(start: bytes, name: str) -> tuple[str, Callable]:
    for kind, magic, read in _FORMATS:
        if re.match(magic, start):
            return kind, read
    raise BadImageError(
        "unknown format", f"{name!r} is no image known here. Bring NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF."
    )
