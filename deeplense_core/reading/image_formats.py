"""The formats of images, told apart by their first bytes: NPY, NPZ, FITS, HDF5, PNG, JPEG and TIFF.

Each reader takes ``(file, name, options)`` and returns the array and facts for ``LensImage``. Files come from
strangers: sizes are checked before memory is taken, nothing is unpickled, each fault has its own message.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.reading.image_checks import MAX_CHANNELS, MAX_FILE_BYTES, BadImageError, check_size
from deeplense_core.registry import nearest

_MAX_MEMBERS = 5_000


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
    except (ValueError, KeyError, SyntaxError, TypeError, EOFError, OverflowError, RecursionError,
            tokenize.TokenError) as err:  # fmt: skip
        raise BadImageError("damaged file", f"{name!r} has a damaged .npy header. Copy it again.") from err


def _read_npz(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    try:
        with zipfile.ZipFile(file) as archive:
            if name.lower().endswith(".zip") or not all(m.filename.endswith(".npy") for m in archive.infolist()):
                raise BadImageError("ZIP", f"{name!r} is a ZIP file, where one image is expected. Unpack it first.")
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()[:_MAX_MEMBERS]}
            key = options["key"] or _first_image_member(archive, members, name)
            if key not in members:
                raise BadImageError("no image", f"{name!r} has no array {key!r}. {nearest(key, list(members))}")
            with archive.open(members[key]) as stream:  # never more than the header promises: no bomb
                array = read_npy(stream, f"{name}:{key}", MAX_FILE_BYTES)
            facts = {"key": key, "keys": _image_members(archive, members, name)}
            return array, facts | _npz_bands(archive, members)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, NotImplementedError, struct.error) as err:
        raise BadImageError("damaged file", f"{name!r} is a damaged or encrypted .npz. Copy it again.") from err


def _first_image_member(archive: zipfile.ZipFile, members: Mapping[str, Any], name: str) -> str:
    for key, member in members.items():
        with archive.open(member) as stream:
            shape, _, dtype = npy_header(stream, f"{name}:{key}")
        if dtype.hasobject or (dtype.kind in "buif" and len(shape) in (2, 3)):
            return key  # objects too: refusing them by name tells more than "no image"
    raise BadImageError("no image", f"{name!r} has no 2-D or 3-D array of numbers; it has {', '.join(members)}.")


def _image_members(archive: zipfile.ZipFile, members: Mapping[str, Any], name: str) -> list[str]:
    """Keys of all arrays that look like an image."""
    keys = []
    for key, member in members.items():
        with archive.open(member) as stream, contextlib.suppress(BadImageError):
            shape, _, dtype = npy_header(stream, name)
            if dtype.kind in "buif" and len(shape) in (2, 3):
                keys.append(key)
    return keys


def _npz_bands(archive: zipfile.ZipFile, members: Mapping[str, Any]) -> dict[str, Any]:
    """Names of the bands, where a one-dimensional array of texts says them."""
    for key in ("filters", "bands", "channels"):
        if key not in members:
            continue
        with archive.open(members[key]) as stream, contextlib.suppress(BadImageError, ValueError):
            shape, _, dtype = npy_header(stream, key)
            if dtype.kind == "U" and len(shape) == 1 and shape[0] <= MAX_CHANNELS and dtype.itemsize <= 256:
                texts = np.frombuffer(stream.read(shape[0] * dtype.itemsize), dtype)
                return {"bands": tuple(str(text) for text in texts)}
    return {}


def _read_fits(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    from deeplense_core.reading.fits_image import read_fits  # astropy takes long to import; few pages need it

    return read_fits(file, name, options["hdu"], sky=options["sky"])


def _read_gzipped_fits(file: IO[bytes], name: str, options: Mapping[str, Any]) -> tuple[np.ndarray, dict]:
    try:
        with gzip.open(file) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as err:
        raise BadImageError("damaged file", f"{name!r} is not proper gzip. Copy it again.") from err
    if len(data) > MAX_FILE_BYTES:
        raise BadImageError("too large", f"{name!r} expands to more than {MAX_FILE_BYTES // 2**20} MB.")
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
            row = options.get("row")
            if row is None:
                images = [k for k, data in arrays.items() if data.ndim in (2, 3) and k != "transform_pix2angle"]
                first = next((k for k in ("images", "image_data", "image", *images) if k in images), None)
            else:
                images = [k for k, data in arrays.items() if looks_like_a_set(data.shape)]
                first = image_set_key(root)
            key = options["key"] or first
            if key not in images:
                what = "2-D or 3-D data set" if row is None else "set of images"
                wanted = f" {key!r}. {nearest(key, images)}" if key else "."
                raise BadImageError("no image", f"{name!r} has no {what}{wanted}".strip())
            pixels = _hdf5_pixels(arrays[key], f"{name}:{key}", row)
            facts: dict[str, Any] = {"key": key, "keys": images}
            if "transform_pix2angle" in arrays and arrays["transform_pix2angle"].shape == (2, 2):
                (a, b), (c, d) = _hdf5_pixels(arrays["transform_pix2angle"], name).astype(float).tolist()
                if 0 < abs(a * d - b * c) < math.inf:
                    facts["pixel_scale_arcsec"] = math.sqrt(abs(a * d - b * c))
            return pixels, facts
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        raise BadImageError("damaged file", f"{name!r} is damaged HDF5: {err}.") from err


def looks_like_a_set(shape: tuple[int, ...]) -> bool:
    """(n, c, h, w), or (n, h, w) with more planes than one image has bands and no bands at the end."""
    return len(shape) == 4 or (len(shape) == 3 and shape[0] > MAX_CHANNELS and shape[2] > MAX_CHANNELS)


def image_set_key(root: Any) -> str | None:
    """The array of images in the root of an HDF5 file: ``images``, else the only one that looks like a set.

    Links stay closed.

    Raises:
        UserError: there are several.
    """
    import h5py

    own = [key for key in root if isinstance(root.get(key, getlink=True), h5py.HardLink)]
    found = [key for key in own if isinstance(root[key], h5py.Dataset) and root[key].dtype.kind in "buif"
             and looks_like_a_set(root[key].shape)]  # fmt: skip
    if "images" in found:
        return "images"
    if len(found) > 1:
        raise UserError(f"{Path(root.filename).name!r} has several arrays of images: {', '.join(found)}. Name the one "
                        "to be used 'images'.")  # fmt: skip
    return found[0] if found else None


def _hdf5_pixels(data: Any, name: str, row: int | None = None) -> np.ndarray:
    if data.is_virtual or data.external:
        raise BadImageError("external storage", f"{name!r} is kept in another file, which is refused.")
    if data.dtype.kind not in "buif":
        raise BadImageError("wrong dtype", f"{name!r} holds {data.dtype}, not real numbers.")
    shape = data.shape if row is None else data.shape[1:]
    check_size(math.prod(shape), shape, name)
    if row is not None and not 0 <= row < len(data):
        raise BadImageError("no such image", f"{name!r} has no image {row}: it has {len(data)}.")
    return data[()] if row is None else data[row]


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


def format_of(start: bytes, name: str) -> tuple[str, Callable]:
    """Name and reader of the format that a file with these first bytes (16 of them) has.

    Raises:
        BadImageError: empty, or no format known here.
    """
    if not start:
        raise BadImageError("empty file", f"{name!r} is empty (0 bytes). Copy it again.")
    for kind, magic, read in _FORMATS:
        if re.match(magic, start):
            return kind, read
    raise BadImageError(
        "unknown format", f"{name!r} is no image known here. Bring NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF."
    )
