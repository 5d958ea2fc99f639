"""Observable features of cutouts, measured from their pixels: brightness, size, shape, and what a smooth model leaves.

Each band is measured by itself, about the brightest object near the middle. Of a band whose values are ``a I + b``
with unknown a and b, as published sets are scaled, everything but magnitudes and colours is the same
(:data:`SCALE_FREE`); magnitudes are instrumental, ``-2.5 log10`` of the stored unit, where no zero point is known.
Lengths are in pixels, for the scale of a pixel may be unknown. A band that is missing, which is one without contrast,
gives NaN and ``feature_missing_<band>`` = 1.

Sources: concentration, asymmetry and smoothness of Conselice 2003 (astro-ph/0303065); adaptive moments of Bernstein &
Jarvis 2002 (astro-ph/0107431). Position angles are no features: they say nothing about a galaxy.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

PREFIX = "feature_"
SCALE_FREE = ("snr", "half_light", "concentration", "asymmetry", "smoothness", "ellipticity", "residual",
              "residual_snr")  # fmt: skip
"""Features of a band that no linear scaling of its values changes."""
_BLOCK = 16
"""Images measured at once: what is worked on stays in the cache."""
_MAD = 1.4826
_MEAN_ABS = 1.1284
"""Mean of the absolute difference of two normal numbers, in their sigma."""
_BOX_SIGMA = 1.5
_STILL = 2e-3
"""Change of centre (pixels) and moments (pixels squared) below which the iteration has arrived."""
_CLIP = 2.0

Planes = np.ndarray
"""float64 (m, h, w): one band of one image each."""


MEASURED = ("mag", *SCALE_FREE, "missing")
"""What is measured of each band."""


def measured_names(bands: Sequence[str], count: int) -> list[str]:
    """The columns that :func:`measure` makes of images of ``count`` bands, in its order."""
    called = _called(bands, count)
    names = [f"{PREFIX}{what}_{band}" for what in MEASURED for band in called]
    return names + [f"{PREFIX}colour_{blue}_{red}" for blue, red in itertools.pairwise(called)]


def _called(bands: Sequence[str], count: int) -> list[str]:
    return list(bands) if len(bands) == count else [str(k + 1) for k in range(count)]


def measure(
    images: np.ndarray, bands: Sequence[str] = (), zero_points: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Features of every image, as columns of a catalogue.

    Args:
        images: (n, c, h, w), any real dtype.
        bands: Names of the channels; their numbers where unknown.
        zero_points: Magnitude of one unit of a band; 0 where not given.

    Returns:
        Column ``feature_<what>_<band>`` or ``feature_colour_<band>_<band>`` -> float64 (n,). Per band ``mag``,
        ``missing`` and those of :data:`SCALE_FREE`: ``snr`` and ``residual_snr`` in sigmas of the sky, ``half_light``
        in pixels, ``residual`` in units of the flux.
    """
    n, c, h, w = images.shape
    names = _called(bands, c)
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, n, _BLOCK):
        planes = np.asarray(images[start : start + _BLOCK], dtype=np.float64).reshape(-1, h, w)
        for name, values in measure_planes(planes).items():
            found.setdefault(name, []).append(values.reshape(-1, c))
    per_band = {name: np.concatenate(parts) for name, parts in found.items()}
    zero = np.array([(zero_points or {}).get(name, 0.0) for name in names])
    per_band["mag"] = per_band["mag"] + zero
    columns = {f"{PREFIX}{what}_{name}": values[:, k] for what, values in per_band.items()
               for k, name in enumerate(names)}  # fmt: skip
    for k in range(c - 1):
        colour = per_band["mag"][:, k] - per_band["mag"][:, k + 1]
        columns[f"{PREFIX}colour_{names[k]}_{names[k + 1]}"] = colour
    return columns


def missing_bands(images: np.ndarray) -> np.ndarray:
    """Which bands of images (n, c, h, w) are not there: those of one value only; bool (n, c)."""
    flat = images.reshape(*images.shape[:2], -1)
    return flat.min(2) == flat.max(2)


def masked_pixels(planes: np.ndarray) -> np.ndarray:
    """Pixels without data, bool (m, h, w): one value, repeated as often as in a row, among values that differ.

    Where many values are repeated, as in whole counts or 8-bit pictures, a repeated value means nothing.
    """
    m, h, w = planes.shape
    mask = np.zeros(planes.shape, bool)
    for i in np.flatnonzero(_has_runs(planes)):
        values, counts = np.unique(planes[i], return_counts=True)
        largest = counts.argmax()
        others = h * w - counts[largest]
        rarely_repeated = len(values) >= min(h, w) and len(values) - 1 > 0.5 * others
        if counts[largest] >= min(h, w) and rarely_repeated:
            mask[i] = planes[i] == values[largest]
    return mask


def _has_runs(planes: np.ndarray) -> np.ndarray:
    """Whether three pixels in a row, or in a column, have one value anywhere in a plane; bool (m,)."""
    across, down = planes[:, :, 1:] == planes[:, :, :-1], planes[:, 1:] == planes[:, :-1]
    return (across[:, :, 1:] & across[:, :, :-1]).any((1, 2)) | (down[:, 1:] & down[:, :-1]).any((1, 2))


def sky_and_noise(planes: Planes, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level and sigma of the sky, (m,) each: clipped median and scatter of the pixels around the border."""
    m, h, w = planes.shape
    width = max(2, min(h, w) // 8)
    frame = np.ones((h, w), bool)
    frame[width:-width, width:-width] = False
    # Without data NaN; a plane without any good border falls back on 0.
    edge = np.where(good[:, frame], planes[:, frame], np.nan)
    level = sigma = np.zeros((m, 1))
    for _ in range(3):
        level = _medians(edge)
        sigma = _MAD * _medians(np.abs(edge - level))
        edge = np.where(np.abs(edge - level) <= np.maximum(3 * sigma, 1e-300), edge, np.nan)
    return level[:, 0], sigma[:, 0]


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians of the rows of (m, k), NaN left out, (m, 1); 0 where there is nothing."""
    count = (~np.isnan(values)).sum(1, keepdims=True)
    ordered = np.sort(values, axis=1)  # NaN last
    low, high = (np.take_along_axis(ordered, np.maximum(place, 0), 1) for place in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + high) / 2, 0.0)


def measure_planes(planes: Planes) -> dict[str, np.ndarray]:
    """The features of single bands, (m,) each; NaN where a band is missing or no light is found."""
    m, h, w = planes.shape
    missing = planes.reshape(m, -1).min(1) == planes.reshape(m, -1).max(1)
    good = ~masked_pixels(planes)
    level, sigma = sky_and_noise(planes, good)
    aperture = min(h, w) / 4
    middle = (slice(None), *(_middle(side, aperture) for side in (h, w)))
    planes, good = planes[middle] - level[:, None, None], good[middle]
    h, w = planes.shape[1:]
    # In units of the largest value: tiny fluxes would lose their squares.
    unit = np.abs(np.where(good, planes, 0)).reshape(m, -1).max(1)
    unit = np.where(unit > 0, unit, 1.0)
    light = np.where(good, planes / unit[:, None, None], 0.0).astype(np.float32)
    sigma = np.maximum(sigma / unit, 1e-12)
    centre, axes = adaptive_moments(light, aperture)
    dx = np.arange(w, dtype=np.float32) - centre[:, 0, None, None].astype(np.float32)
    dy = np.arange(h, dtype=np.float32)[:, None] - centre[:, 1, None, None].astype(np.float32)
    radius = np.sqrt(dx**2 + dy**2)
    inside = radius <= aperture
    flux = (light * inside).sum((1, 2), dtype=np.float64)
    area = inside.sum((1, 2))
    lit = flux > 0
    r20, r50, r80 = growth_radii(light, radius, aperture, (0.2, 0.5, 0.8))
    trace, parts = axes
    asymmetry = rotation_asymmetry(light, centre, sigma, np.minimum(1.5 * r80, aperture))
    residual, residual_snr = isophote_residual(light, elliptical_radius(dx, dy, moments_to_form(trace, parts)),
                                               sigma, aperture, good)  # fmt: skip
    found = {
        "mag": -2.5 * np.log10(np.where(lit, flux * unit, np.nan)),
        "snr": flux / (sigma * np.sqrt(area)),
        "half_light": r50,
        "concentration": 5 * np.log10(r80 / np.maximum(r20, 0.1)),
        "asymmetry": asymmetry,
        "smoothness": clumpiness(light, radius, sigma, r80),
        "ellipticity": 1 - np.sqrt(shape_ratio(trace, parts)),
        "residual": residual / np.where(lit, flux, np.nan),
        "residual_snr": residual_snr,
    }
    found = {name: np.where(missing | ~lit, np.nan, values) for name, values in found.items()}
    return found | {"missing": missing.astype(np.float64)}


def _middle(side: int, aperture: float) -> slice:
    """The part of a side of an image in which an aperture about an object near the middle lies."""
    half = int(np.ceil(1.5 * aperture)) + 3
    return slice(max(0, side // 2 - half), min(side, (side + 1) // 2 + half))


def adaptive_moments(
    light: Planes, aperture: float, rounds: int = 12
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Centre (m, 2) as x, y, and moments: the elliptical Gaussian that matches the light it weighs itself.

    Returns the trace and the two parts of the anisotropy as ``((xx + yy) (m,), (xx - yy, 2 xy) (m, 2))``.
    """
    m, h, w = light.shape
    smooth = ndimage.gaussian_filter(light, (0, 1, 1))
    y, x = np.arange(h, dtype=np.float64), np.arange(w, dtype=np.float64)
    near = np.hypot(x - (w - 1) / 2, y[:, None] - (h - 1) / 2) <= aperture / 2
    peak = np.where(near, smooth, -np.inf).reshape(m, -1).argmax(1)
    cx, cy = (peak % w).astype(np.float64), (peak // w).astype(np.float64)
    xx = yy = np.full(m, 6.0)
    xy = np.zeros(m)
    found = np.stack([cx, cy, xx, yy, xy])
    moving = np.arange(m)
    for _ in range(rounds):
        before = found[:, moving]
        found[:, moving] = _closer(light[moving], before, x, y, aperture**2)
        moving = moving[np.abs(found[:, moving] - before).max(0) > _STILL]
        if not len(moving):
            break
    cx, cy, xx, yy, xy = found
    return np.stack([cx, cy], 1), (xx + yy, np.stack([xx - yy, 2 * xy], 1))


def _closer(light: Planes, found: np.ndarray, x: np.ndarray, y: np.ndarray, largest: float) -> np.ndarray:
    """One round of :func:`adaptive_moments`: centre and second moments as x, y, xx, yy, xy, (5, m)."""
    cx, cy, xx, yy, xy = found
    dx, dy = x - cx[:, None], y - cy[:, None]
    det = np.maximum(xx * yy - xy**2, 1e-3)
    total, mean, second = _weighted_moments(light, dx, dy, (yy / det, xx / det, -xy / det))
    ok = total > 0
    mean, second = ([value / np.where(ok, total, 1.0) for value in values] for values in (mean, second))
    second = [2 * value for value in second]
    sane = ok & (second[0] > 0.2) & (second[1] > 0.2) & (second[0] * second[1] > second[2] ** 2)
    cx, cy = (np.where(sane, c + np.clip(2 * d, -1, 1), c) for c, d in zip((cx, cy), mean, strict=True))
    xx, yy = (np.where(sane, np.minimum(new, largest), old) for new, old in zip(second, (xx, yy), strict=False))
    xy = np.where(sane, np.clip(second[2], -0.95 * np.sqrt(xx * yy), 0.95 * np.sqrt(xx * yy)), xy)
    return np.stack([cx, cy, xx, yy, xy])


def _weighted_moments(
    light: Planes, dx: np.ndarray, dy: np.ndarray, form: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Sums of light under the Gaussian of a form, of light times x and y, and times xx, yy and xy; (m,) each.

    Sums along rows and columns first: that leaves little to add up in two dimensions.
    """
    a, b, c = form
    weight = (-c[:, None] * dy).astype(np.float32)[:, :, None] * dx.astype(np.float32)[:, None, :]
    weight -= (0.5 * a[:, None] * dx**2).astype(np.float32)[:, None, :]
    weight -= (0.5 * b[:, None] * dy**2).astype(np.float32)[:, :, None]
    np.exp(weight, out=weight)
    weight *= light
    along, down = weight.sum(1, dtype=np.float64), weight.sum(2, dtype=np.float64)
    mixed = ((weight @ dx.astype(np.float32)[:, :, None])[:, :, 0] * dy).sum(1)
    return down.sum(1), [(along * dx).sum(1), (down * dy).sum(1)], \
        [(along * dx**2).sum(1), (down * dy**2).sum(1), mixed]


def shape_ratio(trace: np.ndarray, anisotropy: np.ndarray) -> np.ndarray:
    """Ratio of the smaller to the larger second moment: the square of the axis ratio, (m,)."""
    size = np.hypot(anisotropy[:, 0], anisotropy[:, 1])
    return np.clip((trace - size) / (trace + size), 1e-4, 1)


def moments_to_form(trace: np.ndarray, anisotropy: np.ndarray) -> tuple[np.ndarray, ...]:
    """The form of second degree of an ellipse of these axes whose radius keeps area: product-averaged."""
    xx, yy, xy = (trace + anisotropy[:, 0]) / 2, (trace - anisotropy[:, 0]) / 2, anisotropy[:, 1] / 2
    root = np.sqrt(np.maximum(xx * yy - xy**2, 1e-6))
    return yy / root, xx / root, -xy / root


def elliptical_radius(dx: np.ndarray, dy: np.ndarray, form: tuple[np.ndarray, ...]) -> np.ndarray:
    """``sqrt(a x^2 + b y^2 + 2 c x y)`` for a form (a, b, c) of (m,) each; (m, h, w)."""
    a, b, c = (value[:, None, None].astype(dx.dtype) for value in form)
    return np.sqrt(np.maximum(a * dx**2 + b * dy**2 + 2 * c * dx * dy, 0))


def growth_radii(light: Planes, radius: np.ndarray, aperture: float, parts: Sequence[float]) -> list[np.ndarray]:
    """Radii in pixels within which these parts of the light inside the aperture lie, (m,) each.

    Rings hold the mean of their pixels times their true area, so that few pixels at the centre do no harm.
    """
    m = len(light)
    rings = int(np.ceil(aperture))
    group = np.minimum(radius, rings).astype(int) + (rings + 1) * np.arange(m)[:, None, None]
    counts = np.bincount(group.ravel(), minlength=m * (rings + 1)).reshape(m, -1)[:, :rings]
    sums = np.bincount(group.ravel(), light.ravel(), minlength=m * (rings + 1)).reshape(m, -1)[:, :rings]
    edges = np.arange(rings + 1, dtype=np.float64)
    area = np.pi * np.diff(edges**2)
    inside = np.concatenate([np.zeros((m, 1)), np.cumsum(sums / np.maximum(counts, 1) * area, axis=1)], axis=1)
    inside = np.maximum.accumulate(inside, axis=1)
    total = np.where(inside[:, -1] > 0, inside[:, -1], 1.0)
    out = []
    for part in parts:
        wanted = part * total[:, None]
        k = np.clip((inside < wanted).sum(1), 1, rings)
        low, high = inside[np.arange(m), k - 1], inside[np.arange(m), k]
        along = np.clip((wanted[:, 0] - low) / np.maximum(high - low, 1e-300), 0, 1)
        # Light of a ring grows with its area.
        out.append(np.sqrt(edges[k - 1] ** 2 + along * (edges[k] ** 2 - edges[k - 1] ** 2)))
    return out


def rotation_asymmetry(light: Planes, centre: np.ndarray, sigma: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """``sum |I - I180| / (2 sum I)`` within ``reach`` pixels of the centre, less what the noise alone gives; (m,).

    The image is turned about the nearest half pixel, so that nothing is interpolated.
    """
    m, h, w = light.shape
    twice = np.rint(2 * centre).astype(int)
    columns, rows = twice[:, :1] - np.arange(w), twice[:, 1:] - np.arange(h)
    inside = ((columns >= 0) & (columns < w))[:, None, :] & ((rows >= 0) & (rows < h))[:, :, None]
    turned = light[np.arange(m)[:, None, None], np.clip(rows, 0, h - 1)[:, :, None],
                   np.clip(columns, 0, w - 1)[:, None, :]]  # fmt: skip
    y, x = np.mgrid[:h, :w]
    distance = np.hypot(x - twice[:, 0, None, None] / 2, y - twice[:, 1, None, None] / 2)
    inside &= distance <= np.maximum(reach, 2)[:, None, None]
    total = np.where(inside, light, 0).sum((1, 2))
    difference = np.where(inside, np.abs(light - turned), 0).sum((1, 2)) - _MEAN_ABS * sigma * inside.sum((1, 2))
    return difference / np.where(total > 0, 2 * total, np.nan)


def clumpiness(light: Planes, radius: np.ndarray, sigma: np.ndarray, r80: np.ndarray) -> np.ndarray:
    """Light above its smoothed self between 0.25 and 1.5 r80, in units of all there, less what noise gives; (m,)."""
    sharp = light - ndimage.gaussian_filter(light, (0, _BOX_SIGMA, _BOX_SIGMA))
    where = (radius >= 0.25 * r80[:, None, None]) & (radius <= 1.5 * r80[:, None, None])
    total = np.where(where, light, 0).sum((1, 2))
    # What is left of white noise has sigma sqrt(1 - 2 k(0) + sum k^2); half of it is above zero.
    kernel = ndimage.gaussian_filter(np.eye(1, 31, 15).T @ np.eye(1, 31, 15), _BOX_SIGMA)
    left = np.sqrt(1 - 2 * kernel.max() + (kernel**2).sum())
    noise = left * sigma / np.sqrt(2 * np.pi) * where.sum((1, 2))
    return (np.where(where, np.maximum(sharp, 0), 0).sum((1, 2)) - noise) / np.where(total > 0, total, np.nan)


def isophote_residual(
    light: Planes, radius: np.ndarray, sigma: np.ndarray, aperture: float, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What stands out of a model of elliptical isophotes, each of the median of its pixels.

    Returns:
        The sum of all pixels within the aperture that exceed the model by more than twice the noise, and their
        signal to noise added in squares; (m,) each.
    """
    m, h, w = light.shape
    rings = int(np.ceil(aperture)) + 1
    ring = np.where(good, np.minimum(radius, rings - 1), rings).astype(np.uint16).reshape(m, -1)
    flat = light.reshape(m, -1)
    order = np.argsort(flat, axis=1)
    order = np.take_along_axis(order, np.argsort(np.take_along_axis(ring, order, 1), axis=1, kind="stable"), 1)
    counts = np.stack([np.bincount(row, minlength=rings + 1) for row in ring])
    ends = np.cumsum(counts, axis=1)
    middle = np.minimum(ends - counts + np.maximum(counts - 1, 0) // 2, h * w - 1)
    medians = np.take_along_axis(flat, np.take_along_axis(order, middle, 1), 1)[:, :rings]
    # Between the middles of the rings, brightness changes as a straight line.
    at = np.clip(radius - 0.5, 0, rings - 1.001)
    low = at.astype(int)
    one = np.arange(m)[:, None, None]
    model = medians[one, low] * (1 - (at - low)) + medians[one, low + 1] * (at - low)
    excess = np.where(good & (radius <= aperture) & (radius > 2), light - model, 0)
    above = np.where(excess > _CLIP * sigma[:, None, None], excess, 0)
    return above.sum((1, 2)), np.sqrt(((above / sigma[:, None, None]) ** 2).sum((1, 2)))
