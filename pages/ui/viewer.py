"""The viewer: one or many images under one zoom, drawn by the browser from the raw values.

Three lines put an image on a page::

    from pages.ui.viewer import Panel, viewer

    viewer([Panel(image.pixels, image.meta["name"], image.pixel_scale_arcsec, bands=image.bands)], key="my_image")

With ``?viewer=plain`` in the address, or ``DEEPLENSE_VIEWER=plain`` in the environment, the panels are plain
pictures instead: for browsers where the component cannot run. ``?viewer=live`` ends that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.display import to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.plots.sky import Curve, sky_svg
from deeplense_core.registry import nearest
from deeplense_core.workspace import ROOT
from pages.ui.messages import plain

MODES = ("side", "slider", "blink", "difference")
STRETCHES = ("asinh", "log", "linear", "zscale", "percentile")
COLORMAPS = ("inferno", "gray", "viridis", "RdBu")
SCRIPTS = ("pixels", "colours", "sky", "state", "draw", "controls", "pane")
"""Files ``viewer_*.js`` of assets/components, in the order in which the browser reads them as one module."""
MAX_VALUES = 44 * 2**20
"""Pixel values in all panels together: 185 MB, just under what Streamlit sends at once."""
_WCS_CARD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CUNIT|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|[AB]_(\d_\d|ORDER)|LONPOLE|LATPOLE|RADESYS"
)


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of the viewer and what is known about it."""

    pixels: np.ndarray
    """(h, w) or (c, h, w)."""
    title: str = ""
    pixel_scale_arcsec: float | None = None
    wcs: str | Mapping[str, Any] | None = None
    """Header of two celestial axes: FITS text (cards of 80 letters, or one a line), or its cards by name."""
    unit: str = ""
    """Of the pixel values."""
    bands: tuple[str, ...] = ()
    """Names of the channels, in the order of wavelength."""
    overlay: np.ndarray | None = None
    """(h, w) map drawn over the image: opaque where it is high; where it has both signs, far from 0."""
    overlay_title: str = ""
    curves: tuple[Curve, ...] = ()
    """In arcsec from the centre, x to the right and y up; without a pixel scale in pixels from the centre."""
    lock: str = ""
    """Panels of the same lock share limits, stretch and colours."""
    origin: str = "lower"
    """Where row 0 is drawn: ``lower`` (FITS) or ``upper`` (pictures)."""
    stretch: str = ""
    """Of this panel alone; else the viewer's."""
    colormap: str = ""
    """Of this panel alone; else the viewer's."""


@dataclass(frozen=True)
class Picked:
    """The pixel that the reader marked with Enter or Shift and a click."""

    panel: int
    x: int
    """Column, from 0."""
    y: int
    """Row, from 0."""


@dataclass(frozen=True)
class ViewerState:
    """What the reader told the page; zoom, stretch and colours stay in the browser."""

    mode: str
    """The mode when ``picked`` was marked; the one asked for until then."""
    picked: Picked | None = None


def viewer(
    panels: Sequence[Panel],
    *,
    key: str,
    mode: str = "side",
    height: int = 480,
    stretch: str = "asinh",
    colormap: str = "inferno",
    lead: bool = False,
) -> ViewerState:
    """Draws panels under one zoom.

    Zoom, mode, stretch and all other choices of the reader are kept by the browser under ``key`` over reruns and
    over new data; the arguments are where they begin.

    Args:
        panels: At least one.
        key: Of the widget.
        mode: ``side`` (all of them), ``slider`` (before and after), ``blink`` or ``difference`` of two.
        height: Of one row of panels, in pixels.
        lead: Side by side, the first panel is large and the others stand in a column beside it.
        stretch: ``asinh``, ``log``, ``linear`` (limits: 0.5 and 99.5 percentile), ``percentile`` (the same as
            ``linear``) or ``zscale`` (linear between the limits of IRAF's algorithm).
        colormap: ``inferno``, ``gray``, ``viridis`` or ``RdBu``; three or more bands begin in Lupton's colours.

    Raises:
        UserError: no panel, an unknown word, pixels of a wrong shape, or too many.
    """
    for panel in panels:
        _check_panel(panel)
    _one_of("mode", mode, MODES)
    _one_of("stretch", stretch, STRETCHES)
    _one_of("colormap", colormap, COLORMAPS)
    if not panels:
        raise UserError("There is no image to show.")
    total = sum(np.size(panel.pixels) for panel in panels)
    if total > MAX_VALUES:
        raise UserError(
            f"These images have {total / 2**20:.0f} million pixel values, more than the viewer's "
            f"{MAX_VALUES // 2**20} million. Cut out the part that matters."
        )
    if plain_wanted():
        plain_panels(panels, stretch, colormap)
        return ViewerState(mode)
    start = {"key": key, "mode": mode, "height": height, "lead": lead, "stretch": stretch,
             "colormap": colormap}  # fmt: skip
    answer = _component()(key=key, data=pack(panels, start), on_picked_change=_nothing)
    picked = answer.get("picked")
    if not picked or picked["panel"] >= len(panels):
        return ViewerState(mode)
    return ViewerState(picked["mode"], Picked(picked["panel"], picked["x"], picked["y"]))


def plain_wanted() -> bool:
    """Whether plain pictures were asked for: by the address, once for all pages, or by the environment."""
    wanted = st.session_state.get("viewer_kind") or os.environ.get("DEEPLENSE_VIEWER")
    if asked := st.query_params.get("viewer"):
        wanted = st.session_state["viewer_kind"] = asked
    return wanted == "plain"


def plain_panels(panels: Sequence[Panel], stretch: str, colormap: str) -> None:
    """The panels as pictures that nothing moves."""
    cells = st.columns(len(panels), gap="small") if len(panels) > 1 else [st.container()]
    for cell, panel in zip(cells, panels, strict=True):
        alt = panel.title or "Image"
        kind = {"percentile": "linear"}.get(panel.stretch or stretch, panel.stretch or stretch)
        if panel.pixel_scale_arcsec:
            svg = sky_svg(_upright(panel), panel.pixel_scale_arcsec, panel.title, kind=kind, unit=panel.unit,
                          colormap=_plain_colours(panel, colormap), curves=panel.curves)  # fmt: skip
            cell.image(svg, width="stretch", alt=alt)
        else:
            words = plain(f"{alt} · {kind} stretch, no WCS, pixels")
            png = plain_picture(panel, kind, colormap)
            cell.image(png, caption=words, width="stretch", alt=alt, output_format="PNG")


def plain_picture(panel: Panel, kind: str, colormap: str) -> bytes:
    """One panel as PNG, a pixel of the picture for each of its own."""
    return to_png(to_rgb(_upright(panel)[::-1], kind, colormap=_plain_colours(panel, colormap)))


def _upright(panel: Panel) -> np.ndarray:
    """The mean of the bands, (h, w), with the lowest row of the picture first."""
    flat = panel.pixels.mean(axis=0) if panel.pixels.ndim == 3 else panel.pixels
    return flat if panel.origin == "lower" else flat[::-1]


def _plain_colours(panel: Panel, colormap: str) -> str:
    colours = panel.colormap or colormap
    return "viridis" if colours == "RdBu" else colours


def pack(panels: Sequence[Panel], start: Mapping[str, Any]) -> bytes:
    """Everything the browser needs: length of a JSON header (uint32), the header, and the arrays as float32.

    Each array is named in the header by its place behind the header, in values, and by a hash of its content:
    what the browser has worked out for an array it keeps while the hash is the same.
    """
    arrays: list[bytes] = []
    place = 0

    def add(array: np.ndarray) -> dict[str, Any]:
        nonlocal place
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        arrays.append(data)
        place += len(data) // 4
        name = hashlib.blake2b(data, digest_size=12, key=str(array.shape).encode()).hexdigest()
        return {"place": place - len(data) // 4, "shape": array.shape, "hash": name}

    described = [_describe(panel, add) for panel in panels]
    header = json.dumps({**start, "panels": described}).encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + b"".join(arrays)


def _describe(panel: Panel, add) -> dict[str, Any]:
    pixels = panel.pixels if panel.pixels.ndim == 3 else panel.pixels[None]
    overlay = None if panel.overlay is None else add(panel.overlay) | {"title": panel.overlay_title}
    return {
        "title": panel.title, "scale": panel.pixel_scale_arcsec, "wcs": wcs_cards(panel.wcs), "unit": panel.unit,
        "bands": panel.bands, "lock": panel.lock, "origin": panel.origin, "stretch": panel.stretch,
        "colormap": panel.colormap, "pixels": add(pixels), "overlay": overlay,
        "curves": [_curve(curve) for curve in panel.curves],
    }  # fmt: skip


def _curve(curve: Curve) -> dict[str, Any]:
    points = np.stack([np.asarray(curve.x), np.asarray(curve.y)], axis=1)
    return {"points": np.round(points.astype(float), 4).tolist(), "color": curve.color, "dash": curve.dash}


def wcs_cards(header: str | Mapping[str, Any] | None) -> dict[str, float | str]:
    """The cards that a sky position needs, by name; numbers as numbers. Nothing of the text is run."""
    if header is None:
        return {}
    pairs = header.items() if isinstance(header, Mapping) else _text_cards(header)
    return {name: _card_value(value) for name, value in pairs if _WCS_CARD.fullmatch(name)}


def _text_cards(text: str):
    lines = text.splitlines() if "\n" in text else [text[i : i + 80] for i in range(0, len(text), 80)]
    for line in lines:
        if line[8:10] != "= ":
            continue
        value = line[10:].strip()
        quoted = re.match(r"'((?:[^']|'')*)'", value)
        yield line[:8].strip(), quoted[1].rstrip().replace("''", "'") if quoted else value.partition("/")[0].strip()


def _card_value(value: object) -> float | str:
    try:
        number = float(str(value).replace("D", "E"))
        return number if np.isfinite(number) else str(value)
    except ValueError:
        return str(value)


def _check_panel(panel: Panel) -> None:
    shape = np.shape(panel.pixels)
    if len(shape) not in (2, 3) or 0 in shape:
        raise UserError(f"{panel.title or 'An image'} has shape {shape}; the viewer shows (h, w) or (c, h, w).")
    if panel.overlay is not None and np.shape(panel.overlay) != shape[-2:]:
        raise UserError(
            f"The map over {panel.title or 'an image'} has shape {np.shape(panel.overlay)}, the image {shape[-2:]}."
        )
    if panel.pixel_scale_arcsec is not None and not 0 < panel.pixel_scale_arcsec < np.inf:
        raise UserError(f"The pixel scale of {panel.title or 'an image'} must be above 0 arcsec.")
    _one_of("origin", panel.origin, ("lower", "upper"))
    _one_of("stretch", panel.stretch, ("", *STRETCHES))
    _one_of("colormap", panel.colormap, ("", *COLORMAPS))


def _one_of(what: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise UserError(f"Unknown {what} {word!r}. {nearest(word, list(known))}")


def _nothing() -> None:
    """A component's state is only reported where there is a callback."""


def script() -> str:
    """The viewer's JavaScript as one module; its default export is the component."""
    folder = ROOT / "assets" / "components"
    files = ["elements.js", *(f"viewer_{name}.js" for name in SCRIPTS), "viewer.js"]
    return "\n".join((folder / name).read_text("utf-8") for name in files)


@cache
def _component():
    css = (ROOT / "assets" / "components" / "viewer.css").read_text("utf-8")
    return st.components.v2.component("deeplense_viewer", css=css, js=script())
