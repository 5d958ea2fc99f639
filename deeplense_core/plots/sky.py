"""A piece of sky as one picture: dark plate, axes in arcsec, scale bar, colour bar, curves drawn over it.

SVG rather than Plotly: a page swaps the picture of a changed setting without a flicker, and text stays sharp.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from deeplense_core.display import stretch, to_png, to_rgb
from deeplense_core.plots.theme import FONT, PLATE

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 400, 44, 44, 16, 62
_INK, _QUIET = "#E6E9EF", "#A3ABB8"


@dataclass(frozen=True)
class Curve:
    """A line over the picture: positions in arcsec, x to the right and y up."""

    x: np.ndarray
    y: np.ndarray
    color: str
    dash: str = ""
    """SVG dash pattern; curves that mean different things differ in it, not in colour alone."""


def sky_svg(
    image: np.ndarray,
    pixel_scale_arcsec: float,
    title: str,
    *,
    kind: str = "asinh",
    percentile: float = 99.5,
    colormap: str = "inferno",
    unit: str = "",
    curves: Sequence[Curve] = (),
) -> str:
    """An SVG text of one image.

    Args:
        image: (h, w), rows are y, the first at the bottom.
        pixel_scale_arcsec: Side of a pixel.
        title: What is shown, plain text.
        kind, percentile, colormap: See :func:`deeplense_core.display.to_rgb`.
        unit: Unit of the pixel values, told with the limits.
        curves: Lines over the picture.
    """
    flat = np.asarray(image)[::-1]
    h, w = flat.shape
    field = w * pixel_scale_arcsec
    height = _SIDE * h / w
    shown = stretch(flat, kind, percentile)
    png = base64.b64encode(to_png(to_rgb(flat, kind, percentile, colormap))).decode()
    limits = f"{_figure(shown.vmin)} to {_figure(shown.vmax)} {unit}".strip()
    span = _SIDE / field
    paths = "".join(_path(curve, span, height) for curve in curves)
    total_w, total_h = _LEFT + _SIDE + _RIGHT, _TOP + height + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_w} {total_h:g}" width="{2 * total_w}" '
        f'height="{2 * total_h:g}" font-family="{FONT}" font-size="13" fill="{_QUIET}">'
        f'<rect width="100%" height="100%" rx="8" fill="{PLATE}"/>'
        f'<text x="{_LEFT}" y="28" font-size="16" font-weight="600" fill="{_INK}">{escape(title)}</text>'
        f'<svg x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{height:g}" '
        f'viewBox="0 0 {_SIDE} {height:g}">'
        f'<image width="{_SIDE}" height="{height:g}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{png}"/>{paths}'
        f"{_scale_bar(span, height)}</svg>"
        f"{_axes(field, height)}{_colour_bar(colormap, height, f'{kind}, {limits}')}</svg>"
    )


def _axes(field: float, height: float) -> str:
    """Ticks in arcsec around the centre, below and at the left."""
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 60, 300, 1e9) if field / s <= 9)
    per_arcsec = _SIDE / field
    marks = []
    for value in np.arange(-math.floor(field / 2 / step), field / 2 / step + 1e-9) * step:
        at = _SIDE / 2 + value * per_arcsec
        text = f"{value:g}".replace("-", "−")
        marks.append(
            f'<path d="M{_LEFT + at:.1f} {_TOP + height:g}v5" stroke="{_QUIET}"/>'
            f'<text x="{_LEFT + at:.1f}" y="{_TOP + height + 19:g}" text-anchor="middle">{text}</text>'
        )
        up = _TOP + height / 2 - value * per_arcsec
        if _TOP <= up <= _TOP + height:
            marks.append(
                f'<path d="M{_LEFT} {up:.1f}h-5" stroke="{_QUIET}"/>'
                f'<text x="{_LEFT - 9}" y="{up + 4:.1f}" text-anchor="end">{text}</text>'
            )
    return "".join(marks)


def _scale_bar(per_arcsec: float, height: float) -> str:
    length = max((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60) if s * per_arcsec <= _SIDE / 4), default=0.1)
    x, y = 14, height - 14
    text = f"{length:g} arcsec"
    return (
        f'<path d="M{x} {y:g}h{length * per_arcsec:.1f}" stroke="{PLATE}" stroke-width="5"/>'
        f'<path d="M{x} {y:g}h{length * per_arcsec:.1f}" stroke="{_INK}" stroke-width="2"/>'
        f'<text x="{x}" y="{y - 7:g}" fill="{_INK}" stroke="{PLATE}" stroke-width="3" '
        f'paint-order="stroke">{text}</text>'
    )


def _colour_bar(colormap: str, height: float, text: str) -> str:
    ramp = base64.b64encode(to_png(np.linspace(0, 1, 256)[None], colormap)).decode()
    y = _TOP + height + 34
    return (
        f'<image x="{_LEFT}" y="{y:g}" width="96" height="8" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{ramp}"/>'
        f'<text x="{_LEFT + 106}" y="{y + 8:g}" font-size="12">{escape(text)}</text>'
    )


def _path(curve: Curve, per_arcsec: float, height: float) -> str:
    x = _SIDE / 2 + np.asarray(curve.x) * per_arcsec
    y = height / 2 - np.asarray(curve.y) * per_arcsec
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{curve.color}" stroke-width="1.5" '
        f'stroke-dasharray="{curve.dash}" stroke-opacity="0.9"/>'
    )


def _figure(value: float) -> str:
    """A limit in three significant digits."""
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else "none"
