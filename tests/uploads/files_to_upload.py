"""Files to upload, good and bad, as bytes."""

from __future__ import annotations

import io
import stat
import zipfile

import numpy as np
from astropy.io import fits

PIXELS = np.arange(12 * 10, dtype=np.float64).reshape(12, 10)


def npy_bytes(array=PIXELS, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def fits_bytes(pixels=PIXELS, header=None, **more) -> bytes:
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, header, **more)]).writeto(file)
    return file.getvalue()


def zip_bytes(members: dict[str, bytes], links: tuple[str, ...] = (), compression=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            if name in links:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return file.getvalue()


def sky_header(**changes) -> fits.Header:
    """0.05 arcsec pixels, rotated and flipped, at (150.1, 2.2)."""
    return fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 3.5, "CRPIX2": -20.0,
        "CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": -0.04 / 3600, "CD1_2": 0.03 / 3600, "CD2_1": 0.03 / 3600,
        "CD2_2": 0.04 / 3600, "RADESYS": "ICRS", **changes,
    })  # fmt: skip
