"""Files made finer: FITS with its header and coordinates, NPY otherwise, tile by tile, so that memory stays flat.

Pixel values. Networks work in surface brightness, brightness per fixed area, which finer pixels do not change. A FITS
image whose ``BUNIT`` is an amount per pixel (electrons, counts, DN, nanomaggies ...) is divided by scale^2, so that
sums over any piece of sky stay what they were; a ``BUNIT`` per arcsec^2, steradian or beam, and no ``BUNIT``, leave it.
Whatever the unit, an image is brought to the noise and sky level of the training images and back, both linear.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from jaxtyping import Float
from torch import nn

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage, read_image
from deeplense_core.lanes import side_by_side
from deeplense_core.superres.enhance import brightness_unit, enhance
from deeplense_core.trained import Trained

TILE = 256
"""Side of a tile in coarse pixels; it is read with the network's reach around it."""
_PER_AREA = re.compile(r"arcsec|arcmin|sr\b|steradian|deg|beam|\bmags?\b", re.I)
"""In a unit: a piece of sky that is no pixel, or magnitudes (not nanomaggies), which no factor divides."""
_STRUCTURAL = re.compile(r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|EXTEND|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|"
                         r"EXTNAME|EXTVER|END|C[PQ]DIS\d|D[PQ]\d.*|D2IM.*")
"""Cards that describe how the old file was laid out, or tables of distortion that are not carried along."""
_REFERENCE = re.compile(r"(CRPIX[12]|LTV[12])[A-Z]?")
_STEP = re.compile(r"(CDELT[12]|CD[12]_[12])[A-Z]?|PIXSCALE|PIXSCAL[12]|SECPIX[12]?")
_SIP = re.compile(r"[AB]P?_(\d)_(\d)")


@dataclass(frozen=True)
class Made:
    """What became of the files."""

    written: list[Path]
    failed: list[tuple[Path, str]]


def enhance_files(
    model: Trained, paths: Sequence[Path], out: Path, averaged: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Makes files finer; a bad one is reported and does not stop the others.

    Args:
        model: A super-resolution network, or an interpolation.
        paths: Files, and folders whose files are taken in order of name.
        out: A folder, or for one file a name ending in ``.fits`` or ``.npy``.
        averaged: Mean over the eight flips and quarter turns: eight times the work.
        progress: Called with files done and files in all.

    Raises:
        UserError: no files, a path that does not exist, or one output for many files.
    """
    files = _files(paths)
    single = out.suffix.lower() in (".fits", ".npy")
    if single and len(files) > 1:
        raise UserError(f"{len(files)} images do not fit in one file {str(out)!r}. Name a folder with --out.")
    (out.parent if single else out).mkdir(parents=True, exist_ok=True)
    made = Made([], [])
    for i, path in enumerate(files):
        try:
            image = read_image(path)
            target = out if single else out / _name(path, image, model.net.scale)  # pyright: ignore
            if target.resolve() == path.resolve():
                raise UserError("the result would overwrite its own input")
            if target in made.written:
                raise UserError(f"the result would overwrite {target.name!r}, made of another file. Rename one of the "
                                "two, or name another folder with --out.")
            enhance_file(model, path, image, target, averaged)
            made.written.append(target)
        except UserError as err:
            made.failed.append((path, str(err)))
        if progress:
            progress(i + 1, len(files))
    return made


def enhance_file(model: Trained, path: Path, image: LensImage, target: Path, averaged: bool) -> None:
    """Writes one image made finer; the file appears under its name once it is complete."""
    scale = int(model.net.scale)  # pyright: ignore
    bands, *sides = image.pixels.shape
    shape = tuple(side * scale for side in sides)
    shape = shape if bands == 1 else (bands, *shape)
    partial = target.with_name(target.name + ".partial")
    pieces = finer_tiles(model, image.pixels, averaged, path.name)
    if target.suffix.lower() == ".fits":
        store = _fits_store(partial, finer_header(_header(path, image), scale, model.name), shape)
    else:
        store = np.lib.format.open_memmap(partial, mode="w+", dtype="<f4", shape=shape)
    view = store.reshape(bands, *shape[-2:])
    per_pixel = is_per_pixel(str(image.meta.get("unit", "")))
    for where, fine in pieces:
        view[:, *where] = fine / scale**2 if per_pixel else fine
        if where[1].stop == shape[-1]:
            _let_go(store)
    del view, store
    partial.replace(target)


def _let_go(store: np.memmap) -> None:
    """Writes what is done to the file, whose pages count as this process's memory until then."""
    store.flush()
    if hasattr(mmap, "MADV_DONTNEED"):
        store._mmap.madvise(mmap.MADV_DONTNEED)  # pyright: ignore[reportAttributeAccessIssue]


def enhance_image(
    model: Trained, pixels: Float[np.ndarray, "c h w"], averaged: bool, name: str = "The image", own_unit: bool = True
) -> Float[np.ndarray, "c H W"]:
    """One image made finer, in memory: brightness, so what a coarse pixel holds is the mean of its fine ones, but for
    what the network adds. ``own_unit``: in any unit; else in that of the training images, and taken as it is.

    Raises:
        UserError: bands that the network does not know.
    """
    scale = int(model.net.scale)  # pyright: ignore
    made = np.empty((len(pixels), *(side * scale for side in pixels.shape[-2:])), np.float32)
    for where, fine in finer_tiles(model, pixels, averaged, name, own_unit):
        made[:, *where] = fine
    return made


def finer_tiles(
    model: Trained, pixels: Float[np.ndarray, "c h w"], averaged: bool, name: str, own_unit: bool = True
) -> Iterator[tuple[tuple[slice, slice], Float[np.ndarray, "c H W"]]]:
    """:func:`tiles` of an image, in its own unit brought to that of the training images and back; a network of one
    band sees each band by itself.

    Raises:
        UserError: bands that the network does not know.
    """
    known = model.card["model_args"]["in_channels"]
    if known not in (None, 1, len(pixels)):
        raise UserError(f"{name!r} has {len(pixels)} bands and {model.name!r} knows {known}.")
    images = pixels[:, None] if known == 1 else pixels[None]
    factor, level = brightness_unit(images, model.card.get("noise") if own_unit else None)
    made = tiles(model.net, images, averaged, factor=factor, level=level)
    return ((where, tile.reshape(len(pixels), *tile.shape[-2:])) for where, tile in made)


def tiles(
    net: nn.Module, pixels: np.ndarray, averaged: bool, side: int = TILE, factor: np.ndarray | float = 1.0,
    level: np.ndarray | float = 0.0,
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Places on the fine grid and fine tiles, which together are what the network makes of the whole image.

    A tile is read with as many pixels around it as the network can see, so no seam is left. They come row by row.

    Args:
        net: With ``scale`` and ``reach``.
        pixels: Coarse images (b, c, h, w).
        averaged: As in :func:`deeplense_core.superres.enhance.enhance`.
        side: Of a tile, coarse pixels.
        factor, level: The network sees ``(pixels - level) * factor``, which is undone on what it makes.
    """
    scale, reach = int(net.scale), int(net.reach)  # pyright: ignore
    height, width = pixels.shape[-2:]
    device = next((p.device for p in net.parameters()), torch.device("cpu"))

    def finer(corner: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
        y, x = corner
        top, left = max(0, y - reach), max(0, x - reach)
        bottom, right = min(height, y + side + reach), min(width, x + side + reach)
        seen = np.ascontiguousarray((pixels[..., top:bottom, left:right] - level) * factor)
        made = enhance(net, torch.from_numpy(seen).to(device), averaged).cpu().numpy() / factor + level
        h, w = min(side, height - y) * scale, min(side, width - x) * scale
        dy, dx = (y - top) * scale, (x - left) * scale
        return (slice(y * scale, y * scale + h), slice(x * scale, x * scale + w)), made[..., dy:dy + h, dx:dx + w]

    corners = ((y, x) for y in range(0, height, side) for x in range(0, width, side))
    yield from side_by_side(finer, corners, device)


def finer_header(header: fits.Header, scale: int, name: str) -> fits.Header:
    """The header of the image on pixels ``scale`` times finer: every pixel of the sky keeps its place.

    Pixel 1 of an axis reaches from 0.5 to 1.5, so a place p becomes scale (p - 0.5) + 0.5 (FITS paper I).
    """
    fine = fits.Header()
    for card in header.cards:
        try:
            key, value = card.keyword, card.value
        except VerifyError:
            continue  # it breaks the standard: nobody could read it in the new file either
        if _STRUCTURAL.fullmatch(key):
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = _finer(key, float(value), scale, value)
        fine.append((key, value, card.comment) if key else card, end=True)
    for axis in (1, 2):  # the standard's defaults, where a card is missing
        if f"CTYPE{axis}" not in header:
            continue
        if f"CRPIX{axis}" not in header:
            fine[f"CRPIX{axis}"] = 0.5 - 0.5 * scale
        if f"CDELT{axis}" not in header and not any(f"CD{axis}_{other}" in header for other in (1, 2)):
            fine[f"CDELT{axis}"] = 1 / scale
    fine.add_history(f"Made {scale} times finer by {name} (DeepLense).")
    return fine


def finer_wcs(cards: str, scale: int) -> str:
    """Celestial cards, one a line, of the grid that is ``scale`` times finer."""
    return finer_header(fits.Header.fromstring(cards, sep="\n"), scale, "").tostring(sep="\n", endcard=False)


def _finer(key: str, number: float, scale: int, unchanged: int | float) -> int | float:
    if _REFERENCE.fullmatch(key):
        return scale * (number - 0.5) + 0.5
    if _STEP.fullmatch(key):
        return number / scale
    if key in ("PIXAR_A2", "PIXAR_SR"):
        return number / scale**2
    if re.fullmatch(r"LTM[12]_[12]", key):
        return number * scale
    if sip := _SIP.fullmatch(key):  # powers of pixels in, pixels out
        return number * scale ** (1.0 - int(sip[1]) - int(sip[2]))
    return unchanged


def is_per_pixel(unit: str) -> bool:
    """Whether a unit (``BUNIT``) is an amount per pixel, which finer pixels hold less of."""
    return bool(unit) and not _PER_AREA.search(unit)


def _header(path: Path, image: LensImage) -> fits.Header:
    """Cards of the image that was read; none for files that are not FITS."""
    if image.meta["format"] != "FITS":
        return fits.Header()
    with fits.open(path) as hdus:
        label = image.meta["hdu"]
        hdu: Any = hdus[int(label) if label.isdigit() else label]
        return hdu.header.copy()


def _fits_store(path: Path, header: fits.Header, shape: tuple[int, ...]) -> np.memmap:
    """A FITS file of zeros whose pixels are written in place, big-endian float32."""
    first = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(shape))])
    for axis, side in enumerate(reversed(shape)):
        first[f"NAXIS{axis + 1}"] = side
    first.extend(header, unique=False, end=True)
    text = first.tostring().encode("ascii")
    size = 4 * int(np.prod(shape))
    with open(path, "wb") as file:
        file.write(text)
        file.truncate(len(text) + -(-size // 2880) * 2880)
    return np.memmap(path, dtype=">f4", mode="r+", offset=len(text), shape=shape)


def _name(path: Path, image: LensImage, scale: int) -> str:
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return f"{stem}_x{scale}{'.fits' if image.meta['format'] == 'FITS' else '.npy'}"


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no file or folder {str(path)!r}.")
        files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    if not files:
        raise UserError(f"No files in {', '.join(repr(str(p)) for p in paths)}.")
    return files
