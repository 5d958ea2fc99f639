"""Pictures on pages: thumbnails on the dark plate, with the stretch stated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from deeplense_core.display import to_png, to_rgb
from deeplense_core.plots.theme import PLATE
from pages.ui.messages import plain
from pages.ui.viewer import Panel, viewer

LOSSLESS = "PNG"  # left to itself, Streamlit turns pictures into JPEG, which smears noise
THUMBNAIL_PX = 198  # six in a row of the widest page
LARGE = 4
_PLATE_RGB = tuple(int(PLATE[i : i + 2], 16) for i in (1, 3, 5))


def thumbnails(
    images: np.ndarray,
    captions: Sequence[str],
    columns: int | None = None,
    kind: str = "asinh",
    percentile: float = 99.5,
    colormap: str = "inferno",
    alts: Sequence[str] | None = None,
) -> None:
    """Images in a grid on the dark plate, each with its caption, and the stretch below.

    Args:
        images: float32 (n, c, h, w).
        captions: One a picture, plain text; line breaks are kept.
        columns: Pictures in a row, as wide as fits; None flows pictures of one width into the space there is.
        kind, percentile, colormap: See :func:`deeplense_core.display.to_rgb`.
        alts: Texts for readers who cannot see the picture; the captions where left out.
    """
    alts = alts or [f"Image: {caption}" for caption in captions]
    if columns is None:
        cells = [st.container(horizontal=True, gap="small")] * len(images)
    else:
        cells = [cell for _ in range(0, len(images), columns) for cell in st.columns(columns, gap="small")]
    for cell, image, caption, alt in zip(cells, images, captions, alts, strict=False):
        tile = plate(to_rgb(image, kind, percentile, colormap))
        words = plain(caption).replace("\n", "  \n")
        width = "stretch" if columns else THUMBNAIL_PX
        cell.image(to_png(tile), caption=words, alt=alt, width=width, output_format=LOSSLESS)
    state_stretch(kind, percentile)


def page_of(count: int, size: int, key: str) -> slice:
    """Which of so many things are on the page that the reader turned to; a box to turn it where there are several.

    Args:
        count: Things in all.
        size: Most on a page.
        key: Of the box.
    """
    pages = max(1, -(-count // size))
    number = 1
    if pages > 1:  # its number is in the key: a page that is no longer there cannot stay chosen
        number = st.number_input(f"Page of {pages:,}", 1, pages, key=f"{key}_{pages}", width=160)
    return slice((number - 1) * size, number * size)


def open_large(
    images: np.ndarray, names: Sequence[str], key: str, pixel_scale_arcsec: float | None = None,
    bands: Sequence[str] = (), unit: str = "",
) -> None:  # fmt: skip
    """Lets the reader open some of the thumbnails above side by side in the viewer.

    Args:
        images: float32 (n, c, h, w).
        names: One an image, all different.
        key: Of the widgets.
        pixel_scale_arcsec, bands, unit: Of all the images; see :class:`pages.ui.viewer.Panel`.
    """
    chosen = st.multiselect(
        "Open large", names, key=f"{key}_{hash(tuple(names))}", max_selections=LARGE,
        placeholder=f"up to {LARGE} of these images",
    )  # fmt: skip
    if not chosen:
        return
    order = {name: row for row, name in enumerate(names)}
    # Row 0 at the top, as in the thumbnails.
    panels = [
        Panel(images[order[name]], name, pixel_scale_arcsec, unit=unit, bands=tuple(bands), origin="upper")
        for name in chosen
    ]
    viewer(panels, key=f"{key}_viewer")


def contact_sheet(
    images: np.ndarray,
    columns: int,
    alt: str,
    kind: str = "asinh",
    percentile: float = 99.5,
    colormap: str = "inferno",
) -> None:
    """Many images (n, c, h, w) as one picture with gaps of the plate's colour; quicker than thumbnails."""
    tiles = [plate(to_rgb(image, kind, percentile, colormap), 2) for image in images]
    tiles += [np.full_like(tiles[0], _PLATE_RGB)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    st.image(to_png(np.concatenate(rows)), alt=alt, width="stretch", output_format=LOSSLESS)


def plate(colours: np.ndarray, border: int = 4) -> np.ndarray:
    """A picture, uint8 (h, w, 3), with a border of the plate's colour."""
    h, w, _ = colours.shape
    framed = np.full((h + 2 * border, w + 2 * border, 3), _PLATE_RGB, np.uint8)
    framed[border : border + h, border : border + w] = colours
    return framed


def state_stretch(kind: str, percentile: float) -> None:
    """Says how brightness became colour."""
    limits = "IRAF zscale" if kind == "zscale" else f"{100 - percentile:g} to {percentile:g} percentile"
    st.caption(f"{kind} stretch, limits: {limits} of each image by itself")
