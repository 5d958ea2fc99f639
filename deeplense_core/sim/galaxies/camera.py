"""From the sky to stored values: seeing, pixels, noise that is correlated, what goes wrong, and the scaling.

The point-spread function is two Gaussians, a core and a wing, which make a profile like Moffat's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeplense_core.sim import noise
from deeplense_core.sim.galaxies.light import FINE, PAD
from deeplense_core.sim.galaxies.scene import SCALINGS, ZERO_POINT, Stars, Survey
from deeplense_core.superres.observe import gaussian_operator

CORE, WING = 0.93, 2.2
"""Sigmas of core and wing, in units of that of a Gaussian of the seeing's FWHM."""
WING_LIGHT = 0.22
SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
APERTURE_AREA = math.pi
"""Square arcsec of the aperture of 2 arcsec that the depth is stated for."""


def blur(sky: Tensor, survey: Survey, n_pix: int) -> Tensor:
    """Seeing and pixels: counts per square arcsec on the fine grid -> counts per pixel.

    Args:
        sky: (n, b, g, g), or (n, 1, g, g) of what looks the same in every band before the seeing.
        survey: Conditions in b bands.
        n_pix: Pixels along a side of the frame.

    Returns:
        (n, b, n_pix, n_pix).
    """
    n, bands = survey.fwhm.shape
    sigma = (SIGMA_PER_FWHM * survey.fwhm / survey.pixel_scale[:, None]).reshape(-1)
    core = gaussian_operator(CORE * FINE * sigma, FINE * PAD, n_pix, FINE).unflatten(0, (n, bands))
    image = core @ sky @ core.mT
    rows = sky[..., ::2, :] + sky[..., 1::2, :]
    binned = (rows[..., ::2] + rows[..., 1::2]) / FINE**2
    wing = gaussian_operator(WING * sigma, PAD, n_pix, 1).unflatten(0, (n, bands))
    image.mul_(1 - WING_LIGHT).add_(wing @ binned @ wing.mT, alpha=WING_LIGHT)
    return image * survey.pixel_scale.square()[:, None, None, None]


def add_points(image: Tensor, x: Tensor, y: Tensor, stars: Stars, survey: Survey) -> None:
    """Adds stars to an image of counts per pixel (n, b, h, w); x (n, 1, w) and y (n, h, 1) are its pixels."""
    area = survey.pixel_scale.square()
    for k in range(stars.x.shape[1]):
        rows = (stars.flux[:, k].amax(1) > 0).nonzero()[:, 0]
        if not len(rows):
            continue
        dx, dy = x[rows] - stars.x[rows, k, None, None], y[rows] - stars.y[rows, k, None, None]
        radius_sq = (dx.square() + dy.square())[:, None]
        light = stars.flux[rows, k] * (1 - stars.spikes[rows, k, None]) * area[rows, None]
        for part, width in ((1 - WING_LIGHT, CORE), (WING_LIGHT, WING)):
            # A pixel is a little blur of its own.
            variance = (width * SIGMA_PER_FWHM * survey.fwhm[rows]) ** 2 + area[rows, None] / 12
            value = torch.exp(-0.5 * radius_sq / variance[:, :, None, None])
            image[rows] += value * (part * light / (2 * math.pi * variance))[:, :, None, None]


def sky_sigma(survey: Survey) -> Tensor:
    """Noise of the sky in counts per pixel, (n, b)."""
    limit = 10 ** (0.4 * (ZERO_POINT - survey.depth)) / 5
    return limit * survey.pixel_scale[:, None] / math.sqrt(APERTURE_AREA) * survey.noise_scale


def variance(image: Tensor, survey: Survey) -> Tensor:
    """Variance of expected counts: the sky's and the photons of the objects, in the ratio of their brightness."""
    sigma_sq = sky_sigma(survey).square()
    sky = 10 ** (0.4 * (ZERO_POINT - survey.sky_mag)) * survey.pixel_scale.square()[:, None]
    return sigma_sq[:, :, None, None] * (1 + image.clamp_min(0) / sky[:, :, None, None])


def correlated(key: Tensor, shape: torch.Size, weight: Tensor) -> Tensor:
    """Normal numbers of variance 1, (n, b, h, w), to which neighbours add with ``weight`` (n,)."""
    _, bands, h, w = shape
    z = torch.stack([noise.normal(noise.random_bits(key, h + 2, w + 2, band)) for band in range(bands)], 1)
    a = weight[:, None, None, None]
    z = z[..., 1:-1, :] + a * (z[..., :-2, :] + z[..., 2:, :])
    z = z[..., 1:-1] + a * (z[..., :-2] + z[..., 2:])
    return z / (1 + 2 * a.square())


def residual_sky(survey: Survey, n_pix: int) -> Tensor:
    """What the subtraction of the sky left, in counts per pixel, (n, b, h, w)."""
    u = torch.linspace(-1, 1, n_pix, device=survey.fwhm.device)
    level, slope_x, slope_y, curve = survey.sky_level.unbind(1)
    shape = (level[:, :, None, None] + slope_x[:, :, None, None] * u + slope_y[:, :, None, None] * u[:, None]
             + curve[:, :, None, None] * (u.square() + u[:, None].square() - 2 / 3))
    return shape * sky_sigma(survey)[:, :, None, None]


def trails(survey: Survey, n_pix: int) -> Tensor:
    """Straight trails of satellites and cosmic rays, in counts per pixel; (n, b, h, w)."""
    offset, angle, bright = (value[:, :, None, None] for value in survey.trail.unbind(1))
    u = torch.arange(n_pix, device=offset.device) - (n_pix - 1) / 2
    distance = u * angle.cos() + u[:, None] * angle.sin() - offset
    return bright * sky_sigma(survey)[:, :, None, None] * torch.exp(-0.5 * (distance / 1.1).square())


def displaced(image: Tensor, shift: Tensor) -> Tensor:
    """Bands moved by whole pixels (n, 2, b), the border repeated."""
    moved = (shift != 0).any(1).nonzero().tolist()
    for i, band in moved:
        dx, dy = (int(v) for v in shift[i, :, band])
        w = torch.arange(image.shape[-1], device=image.device)
        rows, columns = ((w - d).clamp(0, len(w) - 1) for d in (dy, dx))
        image[i, band] = image[i, band][rows[:, None], columns]
    return image


def blanked(image: Tensor, survey: Survey) -> Tensor:
    """The image with missing rows, columns and bands at exactly 0."""
    w = torch.arange(image.shape[-1], device=image.device)
    start, width, is_column = (value[:, :, None, None] for value in survey.stripe.unbind(1))
    place = torch.where(is_column > 0, w, w[:, None])
    gone = ((place >= start) & (place < start + width)) | (survey.missing > 0)[:, :, None, None]
    return image.masked_fill(gone, 0.0)


def scaled(image: Tensor, survey: Survey) -> Tensor:
    """Stored values, (n, b, h, w), by the image's scaling; a band that is missing stays 0."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    kind = survey.scaling[:, None, None, None]
    sigma = sky_sigma(survey)[:, :, None, None]
    gain = survey.gain[:, :, None, None]
    unit = (image - low) / (high - low).clamp_min(torch.finfo(image.dtype).tiny)
    out = torch.where(kind == SCALINGS.index("min-max"), unit, image * gain)
    out = torch.where(kind == SCALINGS.index("sky sigma"), image / sigma, out)
    return torch.where(kind == SCALINGS.index("tiny"), image * gain * 1e-9, out)


def stored(expected: Tensor, survey: Survey, key: Tensor, noisy: bool) -> Tensor:
    """The stored image of expected counts, (n, b, h, w)."""
    n_pix = expected.shape[-1]
    image = expected
    if noisy:
        image = image + variance(image, survey).sqrt_() * correlated(key, image.shape, survey.correlation)
    image = image + residual_sky(survey, n_pix)
    if bool((survey.trail[:, 2] > 0).any()):
        image = image + trails(survey, n_pix)
    return scaled(blanked(displaced(image, survey.shift), survey), survey)
