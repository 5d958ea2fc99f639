"""The image in a FITS file: which HDU, its bands, its pixel scale and where it points."""

from __future__ import annotations

import math
import warnings
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from deeplense_core.images import BadImageError, check_size
from deeplense_core.registry import nearest

_WCS_CARDS = ("WCSAXES", "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CUNIT1", "CUNIT2",
              "CDELT1", "CDELT2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2",
              "RADESYS", "EQUINOX", "LONPOLE", "LATPOLE")  # fmt: skip

# what astropy raises on files that are not proper FITS
_DAMAGE = (OSError, VerifyError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError)


def read_fits(file: IO[bytes], name: str, hdu: str | int | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels of one HDU and the facts of its header.

    Args:
        file: At its start.
        name: What messages call it.
        hdu: Name or number; default ``SCI``, else the first 2-D or 3-D image.

    Raises:
        BadImageError: damaged, truncated, too large, without an image, or without the HDU asked for.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with fits.open(file, memmap=False, lazy_load_hdus=False) as hdus:
                index = _choose(hdus, name, hdu)
                chosen: Any = hdus[index]
                header, shape = chosen.header, chosen.shape
                check_size(math.prod(shape), shape, name)  # before .data: a compressed tile claims anything
                pixels = np.asarray(chosen.data)
                label = _label(chosen, index)
                names = tuple(_label(h, i) for i, h in enumerate(hdus) if _is_image(h))
        except _DAMAGE as err:
            _refuse_truncated(said, name)
            raise BadImageError("damaged file", f"{name!r} is damaged FITS: {err}. Copy it again.") from err
    _refuse_truncated(said, name)
    facts: dict[str, Any] = {"hdu": label, "hdus": names, "bands": _bands(header, pixels)}
    facts |= _pointing(header, pixels.shape)
    if header.get("BUNIT"):
        facts["unit"] = str(header["BUNIT"])
    return pixels, facts


def _refuse_truncated(said: list[warnings.WarningMessage], name: str) -> None:
    if any("truncated" in str(warning.message) for warning in said):
        raise BadImageError("truncated file", f"{name!r} is cut short: its last data are missing. Copy it again.")


def _choose(hdus: fits.HDUList, name: str, wanted: str | int | None) -> int:
    images = {i: h for i, h in enumerate(hdus) if _is_image(h)}
    if not images:
        kinds = ", ".join(type(h).__name__ for h in hdus)
        raise BadImageError("no image", f"{name!r} has no 2-D or 3-D image among its HDUs ({kinds}).")
    if wanted is None:
        return next((i for i, h in images.items() if h.name.upper() == "SCI"), next(iter(images)))
    for i, h in images.items():
        if wanted in (i, str(i)) or str(wanted).upper() == h.name.upper():
            return i
    known = [_label(h, i) for i, h in images.items()]
    raise BadImageError("no image", f"{name!r} has no image HDU {wanted!r}. {nearest(str(wanted), known)}")


def _is_image(hdu: Any) -> bool:
    if not hdu.is_image or not hdu.shape:
        return False
    return len([n for n in hdu.shape if n > 1]) in (2, 3)


def _label(hdu: Any, index: int) -> str:
    return hdu.name or str(index)


def _bands(header: Any, pixels: np.ndarray) -> tuple[str, ...]:
    band = str(header.get("FILTER") or "").strip()
    return (band,) if band and pixels.ndim == 2 else ()


def _pointing(header: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Pixel scale (arcsec), centre (degrees) and the cards of the WCS, where the axes are on the sky.

    Computed here, by the definitions of FITS paper II, because wcslib has crashed on crafted headers.
    """
    types = [str(header.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    if not any(types):
        return _plain_scale(header)
    if not (types[0].startswith(("RA", "GLON")) and types[1].startswith(("DEC", "GLAT"))):
        return {}
    matrix = _cd_matrix(header)
    facts: dict[str, Any] = {"wcs": {card: header[card] for card in _WCS_CARDS if card in header}}
    scale = 3600 * math.sqrt(abs(float(np.linalg.det(matrix))))
    if scale > 0 and math.isfinite(scale):
        facts["pixel_scale_arcsec"] = scale
        if types == ["RA---TAN", "DEC--TAN"]:
            facts |= _centre(header, matrix, shape)
    return facts


def _plain_scale(header: Any) -> dict[str, float]:
    """The pixel scale of axes that are offsets in an angle, without a place on the sky: simulated images."""
    sides = []
    for axis in (1, 2):
        side, unit = header.get(f"CDELT{axis}"), str(header.get(f"CUNIT{axis}", "")).strip()
        if unit not in ("arcsec", "deg") or not isinstance(side, (int, float)):
            return {}
        sides.append(abs(float(side)) * (3600 if unit == "deg" else 1))
    scale = math.sqrt(sides[0] * sides[1])
    return {"pixel_scale_arcsec": scale} if 0 < scale < math.inf else {}


def _cd_matrix(header: Any) -> np.ndarray:
    """Degrees on the sky per pixel, (2, 2)."""

    def number(card: str, default: float) -> float:
        value = header.get(card, default)
        return float(value) if isinstance(value, (int, float)) else math.nan

    if any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2)):
        return np.array([[number(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    rotation = np.array([[number(f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)])
    return rotation * np.array([[number("CDELT1", 1.0)], [number("CDELT2", 1.0)]])


def _centre(header: Any, matrix: np.ndarray, shape: tuple[int, ...]) -> dict[str, float]:
    """ICRS-like right ascension and declination (degrees) of the middle of the image, gnomonic projection."""
    try:
        reference = [float(header[f"CRPIX{axis}"]) for axis in (1, 2)]
        ra0, dec0 = (math.radians(float(header[f"CRVAL{axis}"])) for axis in (1, 2))
    except (KeyError, TypeError, ValueError):
        return {}
    middle = np.array([(shape[-1] + 1) / 2 - reference[0], (shape[-2] + 1) / 2 - reference[1]])
    x, y = np.radians(matrix @ middle)
    down = math.cos(dec0) - y * math.sin(dec0)
    ra = ra0 + math.atan2(x, down)
    dec = math.atan2(math.sin(dec0) + y * math.cos(dec0), math.hypot(x, down))
    return {"ra_deg": math.degrees(ra) % 360, "dec_deg": math.degrees(dec)}
