"""Super-resolution, image by image: fidelity, flux, places, and what the noise allows. Nothing is renormalised.

Images are (n, c, h, w) surface brightness in one unit. Every function of a pair takes what was made first and what
was observed second, and gives one number an image, float64. ``data_range`` is one number for a whole table:
:func:`data_range` of the observed images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from deeplense_core.errors import UserError
from deeplense_core.metrics.bootstrap import interval, resample_weights
from deeplense_core.registry import nearest

Images = Float[np.ndarray, "n c h w"]
PerImage = Float[np.ndarray, " n"]

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""Gaussian weights in a window of 11 x 11 pixels (Wang et al. 2004)."""
ARC_SMOOTHING_PX, ARC_SIGMA = 2.0, 5.0
"""Arc pixels: the smoothed fine image stands this many sky sigmas above the sky."""
CORE_ARCSEC = 0.4
"""Light within this radius belongs to the lens galaxy, not to arcs."""
AVERAGED = " x8"
"""After a row's name: the mean over the eight flips and quarter turns."""
BETTER = {"psnr": 1, "psnr_median": 1, "psnr_of_mean_mse": 1, "arc_psnr": 1, "ssim": 1, "mse": -1, "perceptual": -1,
          "centroid_shift": -1, "einstein_radius_error": -1}
"""Metric -> 1 where more is better, -1 where less is; flux_ratio and reobs_chi2 are best at 1."""
BEST_AT_ONE = ("flux_ratio", "reobs_chi2")
OF_A_SET = ("psnr_median", "psnr_of_mean_mse")
"""Metrics of many images at once: no image has one of its own, so no two rows can be compared in pairs."""


def data_range(observed: Images) -> float:
    """Typical peak of the observed images: the median of their maxima, to three digits; the R of every PSNR."""
    peak = float(np.median([image.max() for image in observed]))
    if not peak > 0:
        raise UserError("The fine images have no light above zero, so PSNR has no scale. Check their sky level.")
    return float(f"{peak:.3g}")


def mse(made: Images, observed: Images) -> PerImage:
    """Mean squared error of each image, in the square of the pixels' unit."""
    off = made.astype(np.float64) - observed
    return np.einsum("nchw,nchw->n", off, off) / off[0].size


def psnr(mean_squared_error: np.ndarray | float, range_: float) -> Any:
    """10 log10(R^2 / MSE) in dB; infinite for equal images."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(range_**2 / np.asarray(mean_squared_error))


def ssim(made: Images, observed: Images, range_: float) -> PerImage:
    """Structural similarity with Gaussian weights, population covariance, mean over bands and over the pixels whose
    window lies within the image; equal to scikit-image's."""
    a, b = made.astype(np.float64), observed.astype(np.float64)

    def smooth(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, (0, 0, SSIM_SIGMA, SSIM_SIGMA), truncate=SSIM_RADIUS / SSIM_SIGMA + 1e-6)

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b, cov = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2, smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * range_) ** 2, (0.03 * range_) ** 2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    score /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    r = SSIM_RADIUS
    return score[..., r:-r, r:-r].mean((1, 2, 3))


def arc_mask(observed: Images, sky_sigma: PerImage | None) -> np.ndarray:
    """Pixels of arcs and galaxies, (n, h, w) bool, from the observed fine images: the same for every row of a table.

    Args:
        observed: Fine images.
        sky_sigma: Noise of the blank sky, (n,); None takes 1.48 times the median absolute deviation.
    """
    flat = observed.mean(1, dtype=np.float64)
    level = np.zeros(len(flat))
    if sky_sigma is None:
        level = np.median(flat, (1, 2))
        sky_sigma = 1.4826 * np.median(np.abs(flat - level[:, None, None]), (1, 2))
    smoothed = gaussian_filter(flat, (0, ARC_SMOOTHING_PX, ARC_SMOOTHING_PX))
    return smoothed - level[:, None, None] > ARC_SIGMA * np.asarray(sky_sigma)[:, None, None]


def arc_mse(made: Images, observed: Images, mask: np.ndarray) -> PerImage:
    """Mean squared error over arc pixels; NaN for an image without any."""
    off = ((made.astype(np.float64) - observed) ** 2).mean(1)
    count = mask.sum((1, 2))
    return np.where(count > 0, (off * mask).sum((1, 2)) / np.maximum(count, 1), np.nan)


def flux_ratio(made: Images, observed: Images) -> PerImage:
    """Light in the made image over light in the observed one: pixels are brightness, and both have pixels of one
    area, so sums of pixels compare. NaN where there is no light."""
    light, there = (x.sum((1, 2, 3), dtype=np.float64) for x in (made, observed))
    return np.where(there > 0, light / np.where(there > 0, there, 1), np.nan)


def centroid(images: Images, mask: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """Centre of the light of the masked pixels, (x, y) in pixels from the middle of the frame; NaN without light."""
    flat = images.mean(1, dtype=np.float64) * mask
    light = flat.sum((1, 2))
    light = np.where(light > 0, light, np.nan)
    x, y = (_from_middle(side) for side in (flat.shape[2], flat.shape[1]))
    return np.stack([(flat.sum(1) @ x) / light, (flat.sum(2) @ y) / light], 1)


def centroid_shift(made: Images, observed: Images, mask: np.ndarray) -> PerImage:
    """How far the centre of light moved, in pixels."""
    return np.hypot(*(centroid(made, mask) - centroid(observed, mask)).T)


def ring_radius(images: Images, mask: np.ndarray, core_px: float) -> PerImage:
    """Light-weighted mean radius of the arcs about the middle of the frame, in pixels: an estimate of the Einstein
    radius that is linear in the image but for one ratio, so that noise does not bias it. The inner ``core_px``,
    where a lens galaxy shines, are left out."""
    flat = images.mean(1, dtype=np.float64)
    x, y = (_from_middle(side) for side in (flat.shape[2], flat.shape[1]))
    radius = np.hypot(x, y[:, None])
    light = flat * (mask & (radius > core_px))
    total = light.sum((1, 2))
    return (light * radius).sum((1, 2)) / np.where(total > 0, total, np.nan)


def noise_floor_mse(observed: Images, sky: PerImage, counts_per_unit: PerImage) -> Float[np.ndarray, " n"]:
    """Mean squared error of the noise-free fine image: the mean variance of the noise, (brightness + sky) / counts
    per unit. The observed image has the noise-free one's mean, so its own pixels give that without bias."""
    return (observed.mean((1, 2, 3), dtype=np.float64) + sky) / counts_per_unit


def _from_middle(side: int) -> np.ndarray:
    return np.arange(side) - (side - 1) / 2


def summary(per_image: Mapping[str, PerImage], range_: float, n_boot: int = 1000, seed: int = 0) -> dict[str, dict]:
    """Metrics of one row with bootstrap intervals over images.

    Args:
        per_image: ``psnr`` and ``mse`` (n,), and any others; NaN where an image has none.
        range_: R of the PSNR.
        n_boot: Resamples.
        seed: Same seed, same resamples, whatever the row.

    Returns:
        Name -> value, low, high: the mean of each metric, ``psnr_median``, and ``psnr_of_mean_mse``. One image has
        no interval: low and high are None.

    Raises:
        ArithmeticError: when the mean PSNR is below the PSNR of the mean MSE, which Jensen's inequality forbids.
    """
    statistics: dict[str, tuple[PerImage, Callable[[np.ndarray], np.ndarray]]] = {
        name: (values, _identity) for name, values in per_image.items()
    }
    statistics["psnr_of_mean_mse"] = (per_image["mse"], lambda mean: psnr(mean, range_))
    found = {}
    for name, (values, after) in statistics.items():
        found[name] = _mean_with_interval(values, after, n_boot, seed)
    found["psnr_median"] = _median_with_interval(per_image["psnr"], n_boot, seed)
    check_jensen(found["psnr"]["value"], found["psnr_of_mean_mse"]["value"])
    return found


def check_jensen(mean_psnr: float | None, psnr_of_mean: float | None) -> None:
    """The mean of the logarithms is at most the logarithm of the mean: mean PSNR >= PSNR of the mean MSE."""
    if mean_psnr is None or psnr_of_mean is None:
        return
    if mean_psnr < psnr_of_mean - 1e-9 * abs(psnr_of_mean):
        raise ArithmeticError(f"mean PSNR {mean_psnr} is below the PSNR of the mean MSE, {psnr_of_mean}: "
                              "the two were not taken of the same images")


def _identity(values: np.ndarray) -> np.ndarray:
    return values


def _mean_with_interval(values: PerImage, after: Callable, n_boot: int, seed: int) -> dict[str, Any]:
    """``after`` (increasing or decreasing) of the mean, and of the means of resamples."""
    values = values[~np.isnan(values)]
    if reason := _undefined(values):
        return {"value": None, "low": None, "high": None, "undefined": reason}
    point = float(after(values.mean()))
    if len(values) == 1:
        return {"value": point, "low": None, "high": None}
    chunks = resample_weights(np.zeros(len(values), int), n_boot, seed)
    drawn = np.concatenate([after(values @ weights / len(values)) for weights in chunks])
    low, high = interval(drawn, point)
    return {"value": point, "low": low, "high": high}


def _undefined(values: PerImage) -> str:
    """Why a mean of these cannot be given; empty where it can."""
    if not len(values):
        return "no image has what it needs"
    return "" if np.isfinite(values).all() else "an image equals the observed one exactly: infinite"


def _median_with_interval(values: PerImage, n_boot: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    if reason := _undefined(values):
        return {"value": None, "low": None, "high": None, "undefined": reason}
    point = float(np.median(values))
    if len(values) == 1:
        return {"value": point, "low": None, "high": None}
    draws = np.median(rng.choice(values, (n_boot, len(values))), 1)
    low, high = interval(draws, point)
    return {"value": point, "low": low, "high": high}


def paired_means(a: PerImage, b: PerImage, metric: str, n_boot: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Mean of ``a - b`` on the same images with its bootstrap interval, and which is better.

    Args:
        a, b: One metric of two rows, (n,), the same images in the same order.
        metric: Its name, which says whether more is better.

    Raises:
        UserError: different numbers of images, or a metric of which nobody says what is better.
    """
    if metric not in BETTER and metric not in BEST_AT_ONE:
        raise UserError(f"No row is better in {metric!r}: it is the same for all of them. "
                        f"{nearest(metric, [*BETTER, *BEST_AT_ONE])}")
    if a.shape != b.shape:
        raise UserError(f"The two were scored on {len(a)} and {len(b)} images: rows of different data are not "
                        "compared.")
    if metric in BEST_AT_ONE:
        a, b = np.abs(a - 1), np.abs(b - 1)
    off = a - b
    found = _mean_with_interval(off, _identity, n_boot, seed)
    sign = BETTER.get(metric, -1)  # distance from 1: less is better
    verdict = "not distinguishable"
    if found["low"] is not None and (found["low"] > 0 or found["high"] < 0):
        verdict = "A better" if (found["low"] > 0) == (sign > 0) else "B better"
    return {**found, "verdict": verdict, "n": int((~np.isnan(off)).sum())}
