"""From pixels to something to look at: stretches, thumbnails, contact sheets, PNG bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

# The curves of astropy.visualization (tests hold them equal), written out because importing that package
# also imports matplotlib, which costs a page more than drawing all its thumbnails.
_CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "asinh": lambda x: np.arcsinh(x / 0.1) / np.arcsinh(1 / 0.1),
    "log": lambda x: np.log1p(1000 * x) / np.log(1001),
    "zscale": lambda x: x,
}
STRETCHES = tuple(_CURVES)
COLORMAPS = ("gray", "inferno", "viridis")


class Stretched(NamedTuple):
    """Brightness in [0, 1] and the pixel values that became 0 and 1; pages state both."""

    image: np.ndarray
    vmin: float
    vmax: float


def stretch(image: np.ndarray, kind: str = "asinh", percentile: float = 99.5) -> Stretched:
    """Brings pixel values into [0, 1] for display.

    Args:
        image: Any shape; all of it shares the limits.
        kind: ``asinh``, ``linear``, ``log`` (limits at the percentile and at 100 - percentile), or ``zscale``
            (the limits of IRAF's algorithm, linear between them).
        percentile: Upper limit, 50 to 100; 100 keeps the minimum and the maximum.

    Raises:
        UserError: on an unknown kind or a percentile out of bounds.
    """
    if kind not in _CURVES:
        raise UserError(f"Unknown stretch {kind!r}. {nearest(kind, list(STRETCHES))}")
    if not 50 <= percentile <= 100:
        raise UserError(f"percentile = {percentile:g} must lie between 50 and 100.")
    values = np.asarray(image, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return Stretched(np.zeros(values.shape, np.float32), math.nan, math.nan)
    if kind == "zscale":
        from astropy.visualization import ZScaleInterval

        vmin, vmax = ZScaleInterval().get_limits(known)
    else:
        vmin, vmax = np.percentile(known, [100 - percentile, percentile])
    width = vmax - vmin
    unit = np.clip((values - vmin) / width, 0, 1) if width > 0 else np.zeros_like(values)
    curved = _CURVES[kind](np.nan_to_num(unit))
    return Stretched(curved.astype(np.float32), float(vmin), float(vmax))


def to_rgb(
    image: np.ndarray, kind: str = "asinh", percentile: float = 99.5, colormap: str = "inferno"
) -> np.ndarray:
    """One image as colours, uint8 (h, w, 3).

    Args:
        image: ``(h, w)`` or ``(c, h, w)``. Three bands in order of wavelength become blue, green, red; any
            other number is averaged and coloured by brightness.
        kind, percentile: See :func:`stretch`.
        colormap: ``gray``, ``inferno`` or ``viridis``.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 3 and len(pixels) == 3:
        bright = stretch(pixels[::-1], kind, percentile).image
        return np.round(255 * np.moveaxis(bright, 0, -1)).astype(np.uint8)
    flat = pixels.mean(axis=0) if pixels.ndim == 3 else pixels
    return _colour(stretch(flat, kind, percentile).image, colormap)


def montage(
    images: Sequence[np.ndarray] | np.ndarray,
    columns: int = 8,
    kind: str = "asinh",
    percentile: float = 99.5,
    colormap: str = "inferno",
    gap: int = 2,
    zoom: int = 1,
) -> np.ndarray:
    """A contact sheet, uint8 (rows * h, columns * w, 3); each image has its own limits.

    Args:
        images: ``(n, c, h, w)`` or a list of equal shapes; n at least 1.
        columns: Images in a row.
        kind, percentile, colormap: See :func:`to_rgb`.
        gap: White pixels between images.
        zoom: Whole-number enlargement, nearest pixel.
    """
    if not len(images):
        raise UserError("There are no images to show.")
    tiles = [to_rgb(image, kind, percentile, colormap).repeat(zoom, 0).repeat(zoom, 1) for image in images]
    h, w, _ = tiles[0].shape
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * (h + gap), number % columns * (w + gap)
        sheet[y : y + h, x : x + w] = tile
    return sheet


def to_png(array: np.ndarray, colormap: str = "inferno") -> bytes:
    """PNG bytes of uint8 colours ``(h, w, 3)``, or of brightness in [0, 1] ``(h, w)``, coloured."""
    from PIL import Image

    colours = array if array.ndim == 3 else _colour(array, colormap)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def _colour(brightness: np.ndarray, colormap: str) -> np.ndarray:
    """Brightness in [0, 1] as uint8 (h, w, 3)."""
    return _table(colormap)[np.round(255 * np.clip(brightness, 0, 1)).astype(np.uint8)]


@cache
def _table(colormap: str) -> np.ndarray:
    """The 256 colours of a map, uint8 (256, 3), interpolated between plotly's anchors."""
    if colormap not in COLORMAPS:
        raise UserError(f"Unknown colour map {colormap!r}. {nearest(colormap, list(COLORMAPS))}")
    import plotly.colors

    names = {"gray": ["#000000", "#ffffff"], "inferno": plotly.colors.sequential.Inferno,
             "viridis": plotly.colors.sequential.Viridis}[colormap]  # fmt: skip
    anchors = np.array([plotly.colors.hex_to_rgb(name) for name in names], dtype=float)
    place = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(place, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)
