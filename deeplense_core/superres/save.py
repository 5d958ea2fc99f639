"""A result as a file to keep, made in memory: FITS with coordinates, pixel scale and flux; or NPY."""

from __future__ import annotations

import io

import numpy as np
from astropy.io import fits
from jaxtyping import Float

from deeplense_core.superres.enhance_files import finer_header


def fits_bytes(
    fine: Float[np.ndarray, "c H W"], scale: int, made_by: str, *, wcs: str | None = None,
    coarse_scale_arcsec: float | None = None, unit: str = "", per_pixel: bool = False,
) -> bytes:
    """The fine image as FITS.

    Args:
        fine: Brightness, as networks make it: what a coarse pixel holds is the mean of its fine ones.
        scale: Fine pixels along a side of a coarse one.
        made_by: Name of the network, for the header.
        wcs: Celestial cards of the coarse image, one a line.
        coarse_scale_arcsec: Side of its pixels, for an image without coordinates.
        unit: Of its values.
        per_pixel: Its values are amounts per pixel: then divided by scale^2, so that sums over a piece of sky stay.
    """
    header = fits.Header.fromstring(wcs, sep="\n") if wcs else fits.Header()
    if not wcs and coarse_scale_arcsec:
        for axis in (1, 2):
            header[f"CDELT{axis}"] = (coarse_scale_arcsec, "side of a pixel")
            header[f"CUNIT{axis}"] = "arcsec"
    if unit:
        header["BUNIT"] = unit.encode("ascii", "replace").decode()[:60]
    header = finer_header(header, scale, made_by)
    if coarse_scale_arcsec:
        header["PIXSCALE"] = (coarse_scale_arcsec / scale, "arcsec per pixel")
    pixels = np.asarray(fine / scale**2 if per_pixel else fine, np.float32)
    file = io.BytesIO()
    fits.PrimaryHDU(pixels if len(pixels) > 1 else pixels[0], header).writeto(file)
    return file.getvalue()


def npy_bytes(fine: Float[np.ndarray, "c H W"]) -> bytes:
    """The fine image as NPY, float32 (c, H, W): brightness, in the unit of the coarse image."""
    file = io.BytesIO()
    np.save(file, np.asarray(fine, np.float32))
    return file.getvalue()
