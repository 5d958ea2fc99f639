"""The commonest FITS file, one image alone in its primary HDU, read in a tenth of the time that astropy takes.

Cutouts come by the hundred thousand, and a small network is done with one before astropy has set up its header.
Whatever is odd in the least (scaled values, extensions, continued cards, an unusual WCS) is left to astropy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any

import numpy as np

from deeplense_core.reading.image_checks import check_size
from deeplense_core.reading.tangent_plane import TangentPlane

_BLOCK, _CARD = 2880, 80
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
_ODD = frozenset(("BSCALE", "BZERO", "BLANK", "GROUPS", "CONTINUE", "HIERARCH", "XTENSION", "INHERIT", "EXTNAME",
                  "EXTVER", "ZIMAGE"))  # fmt: skip
"""Cards that change what the data mean or how the header is read."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(E[-+]?\d+)? *(/.*)?")
_TEXT = re.compile(r"'([^']*)' *(/.*)?")
_TRUTH = re.compile(r"([TF]) *(/.*)?")
_WCS = frozenset(f"{name}{axis}" for name in ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT") for axis in (1, 2)) | \
    frozenset(f"{name}{i}_{j}" for name in ("CD", "PC") for i in (1, 2) for j in (1, 2)) | {"RADESYS"}
_HARMLESS = re.compile(r"SIMPLE|BITPIX|NAXIS\d?|EXTEND|BUNIT|FILTER|OBJECT|TELESCOP|INSTRUME|ORIGIN|COMMENT|HISTORY|")
"""Beside the cards of ``_WCS``, all that a header may hold whose sky position is worked out here."""

_FAR = 1e9
"""Pixels from the reference point within which the arithmetic is safe."""


class OddError(Exception):
    """Left to astropy."""


class Cards:
    """The header of a plain file; values are made when they are asked for, with the rules of the FITS standard.

    Args:
        header: Whole cards up to END.

    Raises:
        OddError: anything but plain printable cards.
    """

    def __init__(self, header: bytes):
        if not header.isascii() or not (text := header.decode("ascii")).isprintable():
            raise OddError
        self._cards: dict[str, str] = {}
        for start in range(0, len(text), _CARD):
            self._cards.setdefault(text[start : start + 8].rstrip(), text[start : start + _CARD])
        if not _ODD.isdisjoint(self._cards):
            raise OddError

    def __contains__(self, name: str) -> bool:
        return name in self._cards

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards)

    def card(self, name: str) -> str:
        return self._cards[name]

    def get(self, name: str, default: Any = None) -> Any:
        """As a header of astropy gives it."""
        card = self._cards.get(name)
        return default if card is None else _value(card)


@lru_cache(4096)
def _value(card: str) -> Any:
    """What a card says; cutouts of one survey say nearly the same."""
    if card[8:10] == "= ":
        value = card[10:].strip(" ")
        if number := _NUMBER.fullmatch(value):
            said = number[1] if number[2] is None else number[1] + number[2]
            sign = -1 if value[0] == "-" else 1
            return sign * (float(said) if "." in said or "E" in said else int(said))
        if text := _TEXT.fullmatch(value):
            return text[1].rstrip(" ")
        if truth := _TRUTH.fullmatch(value):
            return truth[1] == "T"
    raise OddError


def read_plain(file: IO[bytes], name: str) -> tuple[np.ndarray, Cards, bytes]:
    """Pixels, header, and the header's bytes up to its END, of a plain file.

    Args:
        file: At its start.
        name: What messages call it.

    Raises:
        OddError: it is not plain; the file is then anywhere.
        BadImageError: too large.
    """
    size = file.seek(0, 2)
    file.seek(0)
    raw, end = _header(file)
    cards = Cards(raw[:end])
    shape, kind = _layout(cards)
    count = math.prod(shape)
    check_size(count, shape, name)
    if size != len(raw) + -(-count * kind.itemsize // _BLOCK) * _BLOCK:
        raise OddError
    pixels = np.frombuffer(file.read(count * kind.itemsize), kind, count).reshape(shape)
    return pixels, cards, raw[: end + _CARD]


def _header(file: IO[bytes]) -> tuple[bytes, int]:
    """Whole blocks, and where the END card in them starts."""
    raw = b""
    while len(raw) < 36 * _BLOCK:
        block = file.read(_BLOCK)
        raw += block
        for start in range(len(raw) - len(block), len(raw), _CARD):
            if raw[start : start + _CARD] == b"END" + b" " * 77:
                return raw, start
        if len(block) < _BLOCK:
            break
    raise OddError


def _layout(cards: Cards) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the data, by mandatory cards in their mandatory order (FITS standard 4.4.1)."""
    axes = cards.get("NAXIS")
    if type(axes) is not int or axes not in (2, 3):
        raise OddError
    kind = _TYPES.get(cards.get("BITPIX"))
    expected = ["SIMPLE", "BITPIX", "NAXIS", *(f"NAXIS{i + 1}" for i in range(axes))]
    if kind is None or list(cards)[: len(expected)] != expected or cards.get("SIMPLE") is not True:
        raise OddError
    sides = [cards.get(name) for name in expected[3:]]
    if any(type(side) is not int or side < 2 for side in sides):
        raise OddError
    return tuple(reversed(sides)), np.dtype(kind)


def plain_place(cards: Cards, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """Where an image points, as :func:`deeplense_core.reading.fits_sky.sky_facts`, if that is easily said.

    Returns:
        None where it is not an ICRS tangent plane and nothing more.
    """
    if "CTYPE1" not in cards and "CTYPE2" not in cards:
        return {}
    kinds = [cards.get(f"CTYPE{axis}") for axis in (1, 2)]
    units = [cards.get(f"CUNIT{axis}", "deg") for axis in (1, 2)]
    if kinds != ["RA---TAN", "DEC--TAN"] or units != ["deg", "deg"] or cards.get("RADESYS") != "ICRS":
        return None
    if any(name not in _WCS and not _HARMLESS.fullmatch(name) for name in cards):
        return None
    ra, dec, x, y = (_real(cards, f"{name}{axis}", 0.0) for name in ("CRVAL", "CRPIX") for axis in (1, 2))
    if any(name.startswith("CD") and name[2].isdigit() for name in cards):
        if any(name[:2] == "PC" or name[:5] == "CDELT" for name in cards):
            return None
        (a, b), (c, d) = ([_real(cards, f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2))
    else:
        (a, b), (c, d) = ([_real(cards, f"CDELT{i}", 1.0) * _real(cards, f"PC{i}_{j}", float(i == j)) for j in (1, 2)]
                          for i in (1, 2))  # fmt: skip
    if not (-90 < dec < 90 and -360 <= ra <= 360 and max(abs(x), abs(y)) < _FAR and 0 < abs(a * d - b * c) < math.inf):
        return None  # at a pole wcslib turns the frame
    plane = TangentPlane(ra, dec, x - 1, y - 1, ((a, b), (c, d)))
    ra, dec = map(float, plane.sky(np.array((shape[-1] - 1) / 2), np.array((shape[-2] - 1) / 2)))
    if not (-90 <= dec <= 90 and -360 <= ra <= 360):
        return None
    text = "\n".join(cards.card(name).rstrip() for name in cards if name in _WCS)
    return {"wcs": text, "ra_deg": ra % 360, "dec_deg": dec}


def _real(cards: Cards, name: str, default: float) -> float:
    value = cards.get(name, default)
    if type(value) not in (int, float):
        raise OddError
    return float(value)
