"""Where a FITS image points, asked of wcslib.

Only for the decoding process: a crafted header has made wcslib write beyond its memory (astropy issue 20349).
"""

from __future__ import annotations

import warnings
from typing import Any

from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame


def sky_facts(header: fits.Header, shape: tuple[int, ...]) -> dict[str, Any]:
    """``wcs`` (the celestial part as FITS cards, one a line), ``ra_deg`` and ``dec_deg`` (ICRS) of the centre.

    Args:
        header: Of the image.
        shape: Of its array; the last two axes are y and x.

    Returns:
        Nothing where the first two axes are not on the sky, or the header cannot be understood.
    """
    if not header.get("CTYPE1") or not header.get("CTYPE2"):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            whole = WCS(header)
            if sorted((whole.wcs.lng, whole.wcs.lat)) != [0, 1]:
                return {}
            wcs = whole.celestial
            ra, dec = _centre(wcs, shape)
            text = wcs.to_header(relax=True).tostring(sep="\n", endcard=False, padding=False)
        except Exception:  # astropy and wcslib raise nearly anything on odd headers; the pixels are good
            return {}
    if not -90 <= dec <= 90:
        return {}
    return {"wcs": text, "ra_deg": ra % 360, "dec_deg": dec}


def _centre(wcs: WCS, shape: tuple[int, ...]) -> tuple[float, float]:
    """ICRS right ascension and declination, degrees."""
    place = wcs.all_pix2world((shape[-1] - 1) / 2, (shape[-2] - 1) / 2, 0)
    longitude, latitude = (float(place[axis]) for axis in (wcs.wcs.lng, wcs.wcs.lat))
    frame = wcs_to_celestial_frame(wcs)
    if frame.name == "icrs":
        return longitude, latitude
    from astropy.coordinates import SkyCoord

    there: Any = SkyCoord(longitude, latitude, unit="deg", frame=frame).icrs
    return float(there.ra.deg), float(there.dec.deg)
