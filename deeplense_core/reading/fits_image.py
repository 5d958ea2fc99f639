"""The image in a FITS file: which HDU, its bands, its unit and its pixel scale."""

from __future__ import annotations

import math
import re
import warnings
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from deeplense_core.reading.fits_plain import OddError, plain_place, read_plain
from deeplense_core.reading.image_checks import BadImageError, check_size
from deeplense_core.registry import nearest

_MAX_LISTED = 1000
_END = b"END" + b" " * 77
_FILTER_NAME = re.compile(r"F\d{3,4}(W|M|N|LP|X|DN)2?", re.I)
"""Names of filters of HST and JWST; other surveys' bands are said in a card."""
_ARCSEC_PER_RADIAN = 180 * 3600 / math.pi

# what astropy raises on files that are not proper FITS
_DAMAGE = (OSError, VerifyError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError)


def read_fits(
    file: IO[bytes], name: str, hdu: str | int | None, sky: bool = False
) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels of one HDU and the facts of its header.

    Args:
        file: At its start.
        name: What messages call it.
        hdu: Name or number; default ``SCI``, else the first 2-D or 3-D image.
        sky: Ask wcslib where the image points, too; see :mod:`deeplense_core.reading.fits_sky`.

    Raises:
        BadImageError: damaged, truncated, too large, without an image, or without the HDU asked for.
    """
    if hdu in (None, 0, "0", "PRIMARY") and (plain := _plain(file, name, sky)):
        return plain
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with fits.open(file, memmap=False, lazy_load_hdus=False) as hdus:
                index = _choose(hdus, name, hdu)
                chosen: Any = hdus[index]
                shape = chosen.shape
                check_size(math.prod(shape), shape, name)  # before .data: a compressed tile claims anything
                pixels = np.asarray(chosen.data)
                primary: Any = hdus[0]
                said_of = _facts(_listed(hdus), chosen.header, primary.header, pixels.ndim)
                facts = {"hdu": _label(chosen, index), **said_of}
                if sky:
                    facts |= _place(_cards(file, hdus, index), shape)
        except _DAMAGE as err:
            _refuse_truncated(said, name)
            raise BadImageError("damaged file", f"{name!r} is damaged FITS: {err}. Copy it again.") from err
    _refuse_truncated(said, name)
    return pixels, facts


def _plain(file: IO[bytes], name: str, sky: bool) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The quick way, for files that allow it."""
    try:
        pixels, header, raw = read_plain(file, name)
        unit = str(header.get("BUNIT") or "").strip()
        listed = [{"index": 0, "name": "PRIMARY", "shape": list(pixels.shape), "unit": unit}]
        facts = {"hdu": "PRIMARY", **_facts(listed, header, header, pixels.ndim)}
        if sky:
            place = plain_place(header, pixels.shape)
            facts |= _place(raw, pixels.shape) if place is None else place
        return pixels, facts
    except OddError:
        file.seek(0)
        return None


def _place(cards: bytes, shape: tuple[int, ...]) -> dict[str, Any]:
    from deeplense_core.reading.fits_sky import sky_facts  # only where wcslib may be asked

    return sky_facts(cards, shape)


def _cards(file: IO[bytes], hdus: Any, index: int) -> bytes:
    """The header as it is in the file, which is ten times faster than having astropy write it again."""
    if isinstance(hdus[index], fits.CompImageHDU):
        return hdus[index].header.tostring().encode("latin1")
    place = hdus[index].fileinfo()
    file.seek(place["hdrLoc"])
    return file.read(place["datLoc"] - place["hdrLoc"]).partition(_END)[0] + _END


def _facts(listed: list[dict[str, Any]], header: Any, primary: Any, axes: int) -> dict[str, Any]:
    """What the header says, or the primary one: telescopes say the filter there, for all HDUs."""
    facts: dict[str, Any] = {"hdus": listed, "bands": _bands(header, primary) if axes == 2 else ()}
    if unit := str(header.get("BUNIT") or primary.get("BUNIT") or "").strip():
        facts["unit"] = unit
    scale = pixel_scale_arcsec(header)
    return facts if scale is None else {**facts, "pixel_scale_arcsec": scale}


def _listed(hdus: fits.HDUList) -> list[dict[str, Any]]:
    return [
        {"index": i, "name": h.name, "shape": list(h.shape), "unit": str(h.header.get("BUNIT") or "").strip()}
        for i, h in enumerate(hdus)
        if _is_image(h)
    ][:_MAX_LISTED]


def _refuse_truncated(said: list[warnings.WarningMessage], name: str) -> None:
    if any("truncated" in str(warning.message) for warning in said):
        raise BadImageError("truncated file", f"{name!r} is cut short: its last data are missing. Copy it again.")


def _choose(hdus: fits.HDUList, name: str, wanted: str | int | None) -> int:
    images = {i: h for i, h in enumerate(hdus) if _is_image(h)}
    if not images:
        kinds = ", ".join(type(h).__name__ for h in hdus[:20])
        raise BadImageError("no image", f"{name!r} has no 2-D or 3-D image among its HDUs ({kinds}).")
    if wanted is None:
        return next((i for i, h in images.items() if h.name.upper() == "SCI"), next(iter(images)))
    for i, h in images.items():
        if wanted in (i, str(i)) or str(wanted).upper() == h.name.upper():
            return i
    known = [_label(h, i) for i, h in images.items()]
    raise BadImageError(
        "no image", f"{name!r} has no image HDU {wanted!r}. {nearest(str(wanted), known)}", {"hdus": _listed(hdus)}
    )


def _is_image(hdu: Any) -> bool:
    if not hdu.is_image or not hdu.shape:
        return False
    return len([n for n in hdu.shape if n > 1]) in (2, 3)


def _label(hdu: Any, index: int) -> str:
    return hdu.name or str(index)


def _bands(header: Any, primary: Any) -> tuple[str, ...]:
    """The band of a 2-D image: its FILTER card, else an extension that is named like a filter."""
    band = str(header.get("FILTER") or primary.get("FILTER") or "").strip()
    extension = str(header.get("EXTNAME") or "").strip()
    if not band and _FILTER_NAME.fullmatch(extension):
        band = extension
    return (band,) if band else ()


def pixel_scale_arcsec(header: Any) -> float | None:
    """Side of a pixel by CD, PC and CDELT (FITS paper II), else by the pixel's area (PIXAR_A2, PIXAR_SR).

    Worked out here, because wcslib has crashed on crafted headers.
    """
    types = [str(header.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    if types[0][:4] in ("RA--", "GLON", "ELON") and types[1][:4] in ("DEC-", "GLAT", "ELAT"):
        (a, b), (c, d) = cd_matrix(header).tolist()
        scale = 3600 * math.sqrt(abs(a * d - b * c))
    else:
        scale = math.nan if any(types) else _plain_scale(header)
    if not 0 < scale < math.inf:
        scale = _scale_of_area(header)
    return scale if 0 < scale < math.inf else None


def _number(header: Any, card: str, default: float = math.nan) -> float:
    value = header.get(card, default)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _plain_scale(header: Any) -> float:
    """The pixel scale of axes that are offsets in an angle, without a place on the sky: simulated images."""
    sides = []
    for axis in (1, 2):
        arcsec = {"arcsec": 1, "deg": 3600}.get(str(header.get(f"CUNIT{axis}", "")).strip(), math.nan)
        sides.append(abs(_number(header, f"CDELT{axis}")) * arcsec)
    return math.sqrt(sides[0] * sides[1])


def _scale_of_area(header: Any) -> float:
    square_arcsec = _number(header, "PIXAR_A2")
    if not 0 < square_arcsec < math.inf:
        square_arcsec = _number(header, "PIXAR_SR") * _ARCSEC_PER_RADIAN**2
    return math.sqrt(square_arcsec) if square_arcsec > 0 else math.nan


def cd_matrix(header: Any) -> np.ndarray:
    """Degrees on the sky per pixel, (2, 2)."""
    if any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2)):
        return np.array([[_number(header, f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    rotation = np.array([[_number(header, f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)])
    return rotation * np.array([[_number(header, "CDELT1", 1.0)], [_number(header, "CDELT2", 1.0)]])
