"""The gnomonic projection of nearly every image of the sky, from its FITS cards, in a few lines of arithmetic.

Done here and not by wcslib, which a crafted header has made write beyond its memory; FITS papers I and II.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplense_core.errors import UserError

if TYPE_CHECKING:
    from deeplense_core.images import LensImage  # whose readers ask here


@dataclass(frozen=True)
class TangentPlane:
    """Where the pixels of an image are on the sky. Pixels count from 0, x first; degrees."""

    ra: float
    """Of the reference point."""
    dec: float
    x: float
    """Its pixel."""
    y: float
    matrix: tuple[tuple[float, float], tuple[float, float]]
    """Degrees eastwards and northwards for each pixel in x and y."""

    @classmethod
    def of(cls, image: LensImage) -> TangentPlane:
        """From ``meta["wcs"]`` of an image that was read with its sky position.

        Raises:
            UserError: without a WCS, or in another projection.
        """
        from astropy.io import fits

        from deeplense_core.reading.fits_image import cd_matrix

        name = image.meta.get("name", "The image")
        text = image.meta.get("wcs")
        if not text:
            raise UserError(f"{name!r} has no coordinates (WCS): where it is on the sky is not known. Bring a FITS "
                            "image with a WCS.")
        cards: Any = fits.Header.fromstring(text, sep="\n")
        kinds = [str(cards.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
        if kinds != ["RA---TAN", "DEC--TAN"]:
            raise UserError(f"{name!r} has coordinates of kind {', '.join(kinds)}; only RA---TAN, DEC--TAN can be "
                            "registered. Reproject it first.")
        if float(cards.get("LONPOLE", 180.0)) != 180:
            raise UserError(f"{name!r} has a turned pole (LONPOLE), which cannot be registered. Reproject it first.")
        matrix = cd_matrix(cards).tolist()
        if not abs(np.linalg.det(matrix)) > 0:
            raise UserError(f"{name!r} has coordinates without a pixel size (its CD matrix is singular).")
        (a, b), (c, d) = matrix
        return cls(float(cards["CRVAL1"]), float(cards["CRVAL2"]), float(cards.get("CRPIX1", 0.0)) - 1,
                   float(cards.get("CRPIX2", 0.0)) - 1, ((a, b), (c, d)))  # fmt: skip

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel at the reference point."""
        return 3600 * math.sqrt(abs(float(np.linalg.det(self.matrix))))

    def sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination, in degrees, of pixel positions."""
        east, north = (np.radians(row[0] * (x - self.x) + row[1] * (y - self.y)) for row in self.matrix)
        dec = math.radians(self.dec)
        down = math.cos(dec) - north * math.sin(dec)
        ra = math.radians(self.ra) + np.arctan2(east, down)
        return np.degrees(ra) % 360, np.degrees(np.arctan2(math.sin(dec) + north * math.cos(dec), np.hypot(east, down)))

    def pixels(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions of right ascension and declination in degrees: the inverse of :meth:`sky`."""
        away, at, centre = np.radians(ra - self.ra), np.radians(dec), math.radians(self.dec)
        depth = np.sin(at) * math.sin(centre) + np.cos(at) * math.cos(centre) * np.cos(away)
        east = np.cos(at) * np.sin(away) / depth
        north = (np.sin(at) * math.cos(centre) - np.cos(at) * math.sin(centre) * np.cos(away)) / depth
        (a, b), (c, d) = np.linalg.inv(self.matrix)
        east, north = np.degrees(east), np.degrees(north)
        return self.x + a * east + b * north, self.y + c * east + d * north

    def cut(self, x0: int, y0: int) -> TangentPlane:
        """Of the image that begins with pixel (x0, y0)."""
        return replace(self, x=self.x - x0, y=self.y - y0)

    def finer(self, scale: int) -> TangentPlane:
        """Of the image on ``scale`` times finer pixels, in the same frame."""
        (a, b), (c, d) = self.matrix
        finer = (a / scale, b / scale), (c / scale, d / scale)
        return replace(self, x=(self.x + 0.5) * scale - 0.5, y=(self.y + 0.5) * scale - 0.5, matrix=finer)

    def cards(self) -> str:
        """As FITS cards, one a line."""
        from astropy.io import fits

        header = fits.Header()
        values = {
            "WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
            "CRVAL1": self.ra, "CRVAL2": self.dec, "CRPIX1": self.x + 1, "CRPIX2": self.y + 1,
            "CD1_1": self.matrix[0][0], "CD1_2": self.matrix[0][1],
            "CD2_1": self.matrix[1][0], "CD2_2": self.matrix[1][1], "RADESYS": "ICRS",
        }  # fmt: skip
        header.update(values)
        return header.tostring(sep="\n", endcard=False, padding=False)
