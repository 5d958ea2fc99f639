"""A reader's own coarse image on the super-resolution page, and a finer one of the same sky to hold it against."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.uploads import Upload
from pages.ui.analyse_input import ENDINGS
from pages.ui.answers import Reading, take_in, whole_image
from pages.ui.messages import plain, show_error
from pages.ui.pairs import Pair
from pages.ui.state import remember

OWN = "own:"
LABEL = "your own image, or the same sky by two telescopes"
MOST_VALUES = 1_000_000
"""Pixel values of a coarse image that the page makes finer while somebody waits."""
SCALES = (2, 4)
FWHM_ARCSEC = {"coarse": 0.7, "fine": 0.1}
"""Sharpness of a good night from the ground, and of a telescope in orbit."""


def own_pair() -> Pair:
    """What was dropped: a coarse image, or a coarse and a fine one brought onto one grid."""
    with st.container(border=True):
        coarse_cell, fine_cell = st.columns(2, gap="medium")
        coarse = _dropped(coarse_cell, "coarse", "Coarse image: FITS, NPY, NPZ, HDF5, PNG, JPEG, TIFF")
        fine = _dropped(fine_cell, "fine", "Finer image of the same sky, where there is one (FITS with coordinates)")
        if coarse is None:
            st.info("Drop an image to see it finer. With a finer image of the same sky beside it, both are brought "
                    "onto one grid and compared.", icon=":material/upload_file:")  # fmt: skip
            st.stop()
        row = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
        reading = _reading(row, coarse)
        if fine is None:
            return coarse_only(whole_image(coarse, reading))
        scale = row.segmented_control("Times finer", SCALES, default=2, required=True, key="superres_own_scale")
        sharpness = tuple(_sharpness(cell, which) for cell, which in ((coarse_cell, "coarse"), (fine_cell, "fine")))
        return registered(coarse, fine, reading, *sharpness, int(scale))  # pyright: ignore[reportArgumentType]


def _dropped(cell: Any, which: str, label: str) -> Upload | None:
    """The file dropped into one box; why it cannot be used, where it cannot."""
    file = cell.file_uploader(label, ENDINGS, key=f"superres_own_{which}")
    if file is None:
        return None
    uploads, refused = take_in([(file.file_id, file.name, file)])
    for _, reason in refused:
        show_error(UserError(reason))
    return uploads[0] if uploads else None


def _reading(row: Any, upload: Upload) -> Reading:
    """Which HDU, and how large pixels are where the file does not say."""
    image = whole_image(upload, Reading())
    hdus = image.meta.get("hdus", ())
    hdu = None
    if len(hdus) > 1:
        labels = {one["index"]: f"{one['name'] or one['index']} · {' × '.join(map(str, one['shape']))}" for one in hdus}
        first = [one["index"] for one in hdus].index(_read_hdu(image))
        hdu = row.selectbox("HDU", list(labels), first, format_func=lambda i: plain(labels[i]), width=280,
                            key=f"superres_own_hdu_{upload.id[:16]}")  # fmt: skip
    scale = None
    if not image.pixel_scale_arcsec:
        scale = row.number_input("Pixel scale (arcsec)", 0.001, 10.0, None, 0.01, format="%.3f", width=200,
                                 placeholder="the file does not say", key="superres_own_pixel")  # fmt: skip
    return Reading(hdu=hdu, pixel_scale_arcsec=scale)


def _read_hdu(image: LensImage) -> int:
    """Number of the HDU that was read without a choice."""
    label = str(image.meta["hdu"])
    return next(one["index"] for one in image.meta["hdus"] if label in (one["name"], str(one["index"])))


def _sharpness(cell: Any, which: str) -> str | Upload:
    """A point-spread function as a file, or its width."""
    remember(f"superres_own_fwhm_{which}", FWHM_ARCSEC[which])
    with cell.popover(f"Sharpness of the {which} image", icon=":material/blur_on:"):
        width = st.number_input("Full width at half maximum (arcsec)", 0.01, 5.0, step=0.01,
                                key=f"superres_own_fwhm_{which}", persist_state="session")  # fmt: skip
        measured = _dropped(st, f"psf_{which}", "or its point-spread function, one plane a band or one for all")
    return measured or f"{width:g}"


def coarse_only(image: LensImage) -> Pair:
    """A pair without its fine half.

    Raises:
        UserError: larger than the page makes finer.
    """
    from deeplense_core.superres.register_pair import noise_of

    if image.pixels.size > MOST_VALUES:
        raise UserError(f"{image.meta['name']!r} has {image.pixels.size:,} pixel values, more than the "
                        f"{MOST_VALUES:,} that the page makes finer. Use the command line, which goes tile by tile: "
                        "predict NETWORK FILE --out fine.fits.")  # fmt: skip
    noise = float(np.median([noise_of(band) for band in image.pixels]))
    return Pair(image.meta["name"], image.pixels, None, image.pixel_scale_arcsec, {"lr_noise": noise},
                image.meta.get("wcs"), None, str(image.meta.get("unit", "")), image.bands)  # fmt: skip


@st.cache_data(max_entries=8, show_spinner="Bringing both images onto one grid …", show_time=True)
def registered(
    coarse: Upload, fine: Upload, reading: Reading, psf_coarse: str | Upload, psf_fine: str | Upload, scale: int
) -> Pair:
    """Both images on one grid and in one unit.

    Raises:
        UserError: without coordinates, without common sky, or where the images do not show the same.
    """
    from deeplense_core.superres.pair_set import about, numbers, psfs_of
    from deeplense_core.superres.register_pair import register

    lr, hr = whole_image(coarse, reading), whole_image(fine, Reading())
    given = (one if isinstance(one, str) else whole_image(one, Reading()).pixels.astype(np.float64)
             for one in (psf_coarse, psf_fine))  # fmt: skip
    found = register(lr, hr, *psfs_of(lr, hr, *given), scale)
    facts = about(found)
    return Pair(f"{facts['lr']} and {facts['hr']}", found.lr.pixels[found.band, None], found.hr_in_lr_unit,
                lr.pixel_scale_arcsec, numbers(found), facts["wcs"], facts["fine_wcs"], str(lr.meta.get("unit", "")),
                (facts["band"],), found.kernel, facts)  # fmt: skip
