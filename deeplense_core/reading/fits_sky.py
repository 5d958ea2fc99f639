"""Where a FITS image points, asked of wcslib.

Only for the decoding process: a crafted header has made wcslib write beyond its memory (astropy issue 20349).
"""

from __future__ import annotations

import warnings
from typing import Any

from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, WCSSUB_CELESTIAL, Wcsprm
from astropy.wcs.utils import wcs_to_celestial_frame

_DISTORTED = (b"A_ORDER ", b"B_ORDER ", b"CPDIS", b"CQDIS", b"D2IMDIS")


def sky_facts(header: bytes, shape: tuple[int, ...]) -> dict[str, Any]:
    """``wcs`` (the celestial part as FITS cards, one a line), ``ra_deg`` and ``dec_deg`` (ICRS) of the centre.

    Args:
        header: Cards of the image, 80 bytes each.
        shape: Of its array; the last two axes are y and x.

    Returns:
        Nothing where the first two axes are not on the sky, or the header cannot be understood.
    """
    if b"CTYPE1" not in header or b"CTYPE2" not in header:
        return {}
    centre = [(shape[-1] - 1) / 2, (shape[-2] - 1) / 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plain = Wcsprm(header=header, relax=True)
            plain.fix()
            if sorted((plain.lng, plain.lat)) != [0, 1]:
                return {}
            if _is_icrs(plain) and not any(card in header for card in _DISTORTED):
                plain = plain.sub([WCSSUB_CELESTIAL])
                place = plain.p2s([centre], 0)["world"][0]
                text = plain.to_header(True)
                ra, dec = float(place[plain.lng]), float(place[plain.lat])
            else:
                text, ra, dec = _with_astropy(header, centre)
        except Exception:  # astropy and wcslib raise nearly anything on odd headers; the pixels are good
            return {}
    if not (-90 <= dec <= 90 and -360 <= ra <= 360):
        return {}
    cards = (text[i : i + 80].rstrip() for i in range(0, len(text), 80))
    kept = (card for card in cards if card and not card.startswith(("COMMENT", "HISTORY")))
    return {"wcs": "\n".join(kept), "ra_deg": ra % 360, "dec_deg": dec}


def _is_icrs(wcs: Wcsprm) -> bool:
    """By the rules of FITS paper II: also where neither frame nor equinox is said."""
    frame = wcs.radesys.strip()
    return wcs.lngtyp.strip() == "RA" and (frame == "ICRS" or (not frame and not wcs.equinox > 0))


def _with_astropy(header: bytes, centre: list[float]) -> tuple[str, float, float]:
    """The same for other frames and distorted images: twenty times slower."""
    wcs: Any = WCS(fits.Header.fromstring(header)).celestial
    place = wcs.all_pix2world([centre], 0)[0]
    longitude, latitude = float(place[wcs.wcs.lng]), float(place[wcs.wcs.lat])
    there: Any = SkyCoord(longitude, latitude, unit="deg", frame=wcs_to_celestial_frame(wcs)).icrs
    return wcs.to_header(relax=True).tostring(endcard=False, padding=False), float(there.ra.deg), float(there.dec.deg)
