"""A real pair: the same sky by a coarse and by a fine telescope, brought onto one grid, and checked.

The fine image is resampled to exactly ``scale`` times finer pixels than the coarse one has. Blurred to the coarse
telescope's sharpness and binned, it must be the coarse image, but for zero point and background: that is the check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.tangent_plane import TangentPlane
from deeplense_core.superres.observe import check_psf, matching_kernel, observe, reach

CORE = 0.05
"""Of a point-spread function's peak: what is brighter decides where its middle is."""
LARGEST_SHIFT_PX = 3.0
"""Coarse pixels by which two coordinate systems may differ and still be believed."""
_STEPS = 3


@dataclass(frozen=True)
class BandCheck:
    """One band of the coarse image against the fine image as the coarse telescope would see it.

    ``coarse = zero_point * observed fine + background``, by least squares.
    """

    zero_point: float
    background: float
    noise: float
    """Standard deviation of the coarse image's pixels, from differences of neighbours."""
    residual_rms: float
    """Root mean square of what is left, in units of ``noise``; 1 where nothing but noise is."""
    correlation: float
    residual: np.ndarray
    """What is left in units of ``noise``, float32 (h, w), whole frame."""


@dataclass(frozen=True)
class RegisteredPair:
    """Both images on one grid, with what the comparison of them gave."""

    lr: LensImage
    """The coarse image, whole pixels of it, as it was; (c, h, w)."""
    hr: LensImage
    """The fine image on ``scale`` times finer pixels: mean brightness of each, in its own unit; (1, s h, s w)."""
    scale: int
    kernel: np.ndarray
    """Brings the fine image to the coarse one's sharpness in ``band``, for ``observe``."""
    band: int
    """The band of the coarse image that the fine one resembles most."""
    checks: tuple[BandCheck, ...]
    """One for each band of the coarse image."""
    border: int
    """Coarse pixels on each side that the check leaves out: light from outside reaches there."""
    shift_arcsec: tuple[float, float]
    """What the fine image was moved by, in x and y, beyond what the coordinates say."""

    @property
    def hr_in_lr_unit(self) -> np.ndarray:
        """The fine image in the unit of the coarse band, to hold a super-resolved image against; (1, s h, s w)."""
        check = self.checks[self.band]
        return (check.zero_point * self.hr.pixels + check.background).astype(np.float32)


def register(
    lr: LensImage, hr: LensImage, psf_lr: np.ndarray, psf_hr: np.ndarray, scale: int = 2
) -> RegisteredPair:
    """Brings a coarse and a fine image of one sky onto one grid and checks one against the other.

    The coordinates place the fine image; what is left, a fraction of a pixel as a rule, is fitted on the images.

    Args:
        lr: Coarse image with a WCS, any number of bands.
        hr: Fine image with a WCS, one band.
        psf_lr: Point-spread functions of the coarse image on its pixels, (c, k, k) or (k, k), k odd.
        psf_hr: That of the fine image on its own pixels, (k, k), k odd.
        scale: Fine pixels along a side of a coarse one, after resampling.

    Raises:
        UserError: without coordinates, without common sky, or where the images do not show the same.
    """
    if len(hr.pixels) != 1:
        raise UserError(f"The fine image has {len(hr.pixels)} bands; choose one of them.")
    psfs = np.broadcast_to(psf_lr, (len(lr.pixels), *np.shape(psf_lr)[-2:]))
    lr_plane, hr_plane = TangentPlane.of(lr), TangentPlane.of(hr)
    x0, y0, x1, y1 = common_sky(lr_plane, lr.pixels.shape[1:], hr_plane, hr.pixels.shape[1:])
    coarse = lr_plane.cut(x0, y0)
    fine = coarse.finer(scale)
    cut = np.ascontiguousarray(lr.pixels[:, y0:y1, x0:x1])
    shape = scale * (y1 - y0), scale * (x1 - x0)
    ratio = fine.pixel_scale_arcsec / hr_plane.pixel_scale_arcsec
    psf_fine = resample_psf(psf_hr, ratio, average=True)
    kernels = [matching_kernel(resample_psf(psf, 1 / scale), psf_fine, scale) for psf in psfs]
    border = min(reach(torch.from_numpy(kernels[0]), scale), min(cut.shape[1:]) // 4)

    def placed(shift: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], tuple[BandCheck, ...], int]:
        pixels = resample(hr.pixels[0], hr_plane, fine, shape, shift)
        sky = torch.from_numpy(pixels)[None, None]
        seen = [observe(sky, torch.from_numpy(kernel), scale)[0, 0].numpy() for kernel in kernels]
        checks = tuple(compare(band, model, border) for band, model in zip(cut, seen, strict=True))
        return pixels, seen, checks, int(np.argmax([check.correlation for check in checks]))

    shift = np.zeros(2)
    pixels, seen, checks, best = placed(shift)
    for _ in range(_STEPS):
        shift = shift + offset(cut[best], seen[best], border) * coarse.pixel_scale_arcsec
        _refuse_strangers(checks[best], shift / coarse.pixel_scale_arcsec)
        pixels, seen, checks, best = placed(shift)
    return RegisteredPair(
        lr=replace(lr, pixels=cut, meta={**lr.meta, "wcs": coarse.cards()}),
        hr=LensImage(pixels[None], fine.pixel_scale_arcsec, hr.bands, {**hr.meta, "wcs": fine.cards()}),
        scale=scale, kernel=kernels[best], band=best, checks=checks, border=border,
        shift_arcsec=(float(shift[0]), float(shift[1])),
    )  # fmt: skip


def common_sky(
    lr: TangentPlane, lr_shape: tuple[int, ...], hr: TangentPlane, hr_shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """The largest frame of whole coarse pixels, (x0, y0, x1, y1), that the fine image covers.

    Raises:
        UserError: when it covers fewer than 8 x 8.
    """
    height, width = lr_shape
    x, y = np.meshgrid(np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5)
    there_x, there_y = hr.pixels(*lr.sky(x, y))
    corner = (np.abs(there_x - (hr_shape[1] - 1) / 2) <= hr_shape[1] / 2) & (
        np.abs(there_y - (hr_shape[0] - 1) / 2) <= hr_shape[0] / 2)  # fmt: skip
    inside = corner[:-1, :-1] & corner[1:, :-1] & corner[:-1, 1:] & corner[1:, 1:]
    x0, y0, x1, y1 = 0, 0, width, height
    while x1 > x0 and y1 > y0 and not inside[y0:y1, x0:x1].all():
        part = ~inside[y0:y1, x0:x1]
        sides = part[:, 0].mean(), part[0].mean(), part[:, -1].mean(), part[-1].mean()
        worst = int(np.argmax(sides))
        x0, y0, x1, y1 = x0 + (worst == 0), y0 + (worst == 1), x1 - (worst == 2), y1 - (worst == 3)
    if x1 - x0 < 8 or y1 - y0 < 8:
        raise UserError("The two images have no common piece of sky of 8 x 8 coarse pixels: their coordinates point "
                        "elsewhere. Bring images of the same field.")
    return x0, y0, x1, y1


def resample(
    image: np.ndarray, plane: TangentPlane, onto: TangentPlane, shape: tuple[int, int], shift_arcsec: np.ndarray
) -> np.ndarray:
    """Mean brightness over the pixels of another grid, float32 ``shape``: flux is kept.

    Cubic splines through the image, averaged over points not farther apart than half of its pixels.

    Args:
        image: Brightness, (h, w).
        plane: Its grid.
        onto: The grid wanted.
        shape: (h, w) of it.
        shift_arcsec: What the image is moved by along x and y of ``onto``.
    """
    points = max(2, math.ceil(2 * onto.pixel_scale_arcsec / plane.pixel_scale_arcsec))
    inside = (np.arange(points) + 0.5) / points - 0.5
    columns = (np.arange(shape[1])[:, None] + inside).ravel() - shift_arcsec[0] / onto.pixel_scale_arcsec
    made = np.empty(shape, dtype=np.float32)
    smooth = image.astype(np.float64)
    for row in range(shape[0]):
        rows = row + inside - shift_arcsec[1] / onto.pixel_scale_arcsec
        x, y = plane.pixels(*onto.sky(*np.meshgrid(columns, rows)))
        values = map_coordinates(smooth, [y, x], order=3, mode="nearest")
        made[row] = values.reshape(points, shape[1], points).mean((0, 2))
    return made


def resample_psf(psf: np.ndarray, step: float, average: bool = False) -> np.ndarray:
    """A point-spread function on pixels ``step`` times as large, centred, summing to 1, (k, k), k odd.

    Its centroid becomes its middle: positions in an image are centroids, and published ones are often off.

    Args:
        psf: (k, k), k odd.
        step: Side of a new pixel in old ones.
        average: Mean over the new pixel, as when an image is resampled; else the value in its middle.

    Raises:
        UserError: one without a middle pixel or without light.
    """
    check_psf(psf)
    middle = _centroid(psf)
    margin = min(*middle, *(np.array(psf.shape) - 1 - middle))
    radius = int((margin + 1e-6) // step)  # a middle found by sums is off by their rounding
    points = max(2, math.ceil(2 * step)) if average else 1
    inside = (np.arange(points) + 0.5) / points - 0.5
    axis = (np.arange(-radius, radius + 1)[:, None] + inside).ravel() * step
    grid = np.meshgrid(axis + middle[0], axis + middle[1], indexing="ij")
    values = map_coordinates(psf.astype(np.float64), grid, order=3, mode="nearest")
    side = 2 * radius + 1
    made = values.reshape(side, points, side, points).mean((1, 3))
    return made / made.sum()


def _centroid(psf: np.ndarray) -> np.ndarray:
    """Row and column of the centre of light of the core, which is what is above a twentieth of the peak."""
    core = np.where(psf > CORE * psf.max(), psf, 0.0)
    rows, columns = np.indices(psf.shape)
    return np.array([np.sum(rows * core), np.sum(columns * core)]) / np.sum(core)


def compare(coarse: np.ndarray, seen: np.ndarray, border: int) -> BandCheck:
    """A band of the coarse image (h, w) against the fine image as seen by that telescope, border left out."""
    inner = (slice(border, -border),) * 2
    a, b = (x[inner].astype(np.float64).ravel() for x in (seen, coarse))
    zero_point, background = np.polyfit(a, b, 1)
    noise = noise_of(coarse)
    residual = (coarse - zero_point * seen - background) / noise
    return BandCheck(
        float(zero_point), float(background), noise, float(np.sqrt(np.mean(residual[inner] ** 2))),
        float(np.corrcoef(a, b)[0, 1]), residual.astype(np.float32),
    )  # fmt: skip


def noise_of(image: np.ndarray) -> float:
    """Standard deviation of the noise of (h, w), from second differences, which smooth light does not have."""
    second = image[:, 2:] - 2 * image[:, 1:-1] + image[:, :-2]
    return max(float(1.4826 * np.median(np.abs(second - np.median(second))) / math.sqrt(6)), 1e-30)


def offset(coarse: np.ndarray, seen: np.ndarray, border: int) -> np.ndarray:
    """By how many coarse pixels ``seen`` must be moved in x and y to lie on ``coarse``: one Gauss-Newton step."""
    inner = (slice(border, -border),) * 2
    along_y, along_x = np.gradient(seen.astype(np.float64))
    columns = [np.asarray(part)[inner].ravel() for part in (seen, np.ones_like(seen), along_x, along_y)]
    fitted = np.linalg.lstsq(np.stack(columns, axis=1), coarse[inner].ravel().astype(np.float64), rcond=None)[0]
    return -fitted[2:] / fitted[0]


def _refuse_strangers(check: BandCheck, shift_px: np.ndarray) -> None:
    if check.zero_point > 0 and np.abs(shift_px).max() <= LARGEST_SHIFT_PX:
        return
    raise UserError("The two images do not show the same sky: the fine one, blurred and binned, correlates "
                    f"{check.correlation:.2f} with the coarse one, and would have to move by "
                    f"{np.abs(shift_px).max():.1f} of its pixels. Are the coordinates right?")
