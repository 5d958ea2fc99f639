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

_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 40, 14, 28
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
    side: int = 480,
) -> str:
    """An SVG text of one image.

    Args:
        image: (h, w), rows are y, the first at the bottom.
        pixel_scale_arcsec: Side of a pixel.
        title: What is shown, plain text.
        kind, percentile, colormap: See :func:`deeplense_core.display.to_rgb`.
        unit: Unit of the pixel values, told with the limits.
        curves: Lines over the picture.
        side: Width of the image in the SVG's units; text has the size of a page's small text where one unit is
            shown as one pixel.
    """
    flat = np.asarray(image)[::-1]
    h, w = flat.shape
    frame = _Frame(side, side * h / w, side / (w * pixel_scale_arcsec))
    shown = stretch(flat, kind, percentile)
    png = base64.b64encode(to_png(to_rgb(flat, kind, percentile, colormap))).decode()
    limits = f"{kind}, {_limits(shown.vmin, shown.vmax)} {unit}".strip()
    paths = "".join(_path(curve, frame) for curve in curves)
    total_w, total_h = _LEFT + side + _RIGHT, _TOP + frame.height + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_w} {total_h:g}" width="{2 * total_w}" '
        f'height="{2 * total_h:g}" font-family="{FONT}" font-size="12" fill="{_QUIET}">'
        f'<rect width="100%" height="100%" rx="8" fill="{PLATE}"/>'
        f'<text x="{_LEFT}" y="26" font-size="15" font-weight="600" fill="{_INK}">{escape(title)}</text>'
        f"{_colour_bar(colormap, _LEFT + side, limits)}"
        f'<svg x="{_LEFT}" y="{_TOP}" width="{side}" height="{frame.height:g}" '
        f'viewBox="0 0 {side} {frame.height:g}">'
        f'<image width="{side}" height="{frame.height:g}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{png}"/>{paths}'
        f"{_scale_bar(frame)}</svg>{_axes(frame)}</svg>"
    )


@dataclass(frozen=True)
class _Frame:
    """The image in the SVG's units."""

    width: float
    height: float
    per_arcsec: float


def _axes(frame: _Frame) -> str:
    """Ticks in arcsec around the centre, below and at the left."""
    field = frame.width / frame.per_arcsec
    most = max(3, frame.width / 45)
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 60, 300, 1e9) if field / s <= most)
    marks = []
    for value in np.arange(-math.floor(field / 2 / step), field / 2 / step + 1e-9) * step:
        across = _LEFT + frame.width / 2 + value * frame.per_arcsec
        text = f"{value:g}".replace("-", "−")
        marks.append(
            f'<path d="M{across:.1f} {_TOP + frame.height:g}v4" stroke="{_QUIET}"/>'
            f'<text x="{across:.1f}" y="{_TOP + frame.height + 18:g}" text-anchor="middle">{text}</text>'
        )
        up = frame.height / 2 - value * frame.per_arcsec
        if 0 <= up <= frame.height:
            marks.append(
                f'<path d="M{_LEFT} {_TOP + up:.1f}h-4" stroke="{_QUIET}"/>'
                f'<text x="{_LEFT - 8}" y="{_TOP + up + 4:.1f}" text-anchor="end">{text}</text>'
            )
    return "".join(marks)


def _scale_bar(frame: _Frame) -> str:
    lengths = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
    length = max((s for s in lengths if s * frame.per_arcsec <= frame.width / 4), default=0.1)
    x, y, width = 12, frame.height - 12, length * frame.per_arcsec
    return (
        f'<path d="M{x} {y:g}h{width:.1f}" stroke="{PLATE}" stroke-width="5"/>'
        f'<path d="M{x} {y:g}h{width:.1f}" stroke="{_INK}" stroke-width="2"/>'
        f'<text x="{x}" y="{y - 7:g}" fill="{_INK}" stroke="{PLATE}" stroke-width="3" '
        f'paint-order="stroke">{length:g} arcsec</text>'
    )


def _colour_bar(colormap: str, right: float, text: str) -> str:
    """The colours from dark to bright over the limits, in the title's line."""
    ramp = base64.b64encode(to_png(np.linspace(0, 1, 256)[None], colormap)).decode()
    return (
        f'<image x="{right - 72}" y="29" width="72" height="4" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{ramp}"/>'
        f'<text x="{right}" y="22" text-anchor="end">{escape(text)}</text>'
    )


def _path(curve: Curve, frame: _Frame) -> str:
    x = frame.width / 2 + np.asarray(curve.x) * frame.per_arcsec
    y = frame.height / 2 - np.asarray(curve.y) * frame.per_arcsec
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{curve.color}" stroke-width="2" '
        f'stroke-dasharray="{curve.dash}"/>'
    )


def _limits(low: float, high: float) -> str:
    """Both limits with the decimals that give the larger one three significant digits."""
    size = max(abs(low), abs(high))
    if not math.isfinite(size):
        return "no finite value"
    decimals = max(0, 2 - math.floor(math.log10(size))) if size else 0
    return f"{low:.{decimals}f} to {high:.{decimals}f}".replace("-", "−")
