"""A sky through a telescope: blurred by a point-spread function, then binned to larger pixels.

Pixels hold surface brightness in one unit at every scale, so binning is a mean, and flux is the sum of the pixels
times the area of one. Everything is linear, differentiable, and the same function for the simulator, the losses
and the re-observation of a result.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deeplense_core.errors import UserError

REACH_SIGMA = 4.0
"""Radius of a Gaussian kernel in its sigmas; 6e-5 of the light lies beyond."""
LIGHT_WITHIN = 0.95
"""Share of a measured kernel's light inside the border that comparisons leave out."""
REGULARISATION = 1e-6
"""Of a matching kernel: power of a frequency, relative to the largest, below which it is not restored."""


def kernel_radius(sigma_px: float) -> int:
    """Whole pixels that a Gaussian kernel of this sigma reaches."""
    return math.ceil(REACH_SIGMA * sigma_px)


def reach(psf: Tensor | float, scale: int) -> int:
    """Binned pixels beside the border that light from outside the frame would reach; of a measured kernel, whose
    wings go on and on, what most of its light reaches."""
    if isinstance(psf, Tensor) and psf.ndim >= 2:
        return radius_of_light(psf.detach().cpu().numpy()) // scale + 1
    return -(-kernel_radius(_largest(psf)) // scale)


def radius_of_light(kernel: np.ndarray) -> int:
    """Pixels from the middle within which a square of a kernel (..., k, k) that sums to 1 holds most of its light."""
    middle = kernel.shape[-1] // 2
    for radius in range(1, middle + 1):
        inner = slice(middle - radius, middle + radius + 1)
        if kernel[..., inner, inner].sum((-2, -1)).min() >= LIGHT_WITHIN:
            return radius
    return middle


def matching_sigma(lr_sigma: Tensor | float, hr_sigma: Tensor | float) -> Tensor | float:
    """Sigma of the Gaussian that turns a Gaussian of ``hr_sigma`` into one of ``lr_sigma``, in their unit.

    Raises:
        UserError: where the fine image is the blurrier one.
    """
    left = lr_sigma**2 - hr_sigma**2
    if bool((torch.as_tensor(left) < 0).any()):
        raise UserError("The high-resolution image is blurrier than the low-resolution one: it cannot be blurred "
                        f"to match (sigma {hr_sigma} against {lr_sigma}). Are the two exchanged?")
    return left**0.5


def gaussian_operator(sigma_px: Tensor, radius: int, count: int, scale: int) -> Tensor:
    """Blur and bin along one axis as a matrix: a Gaussian sampled at whole pixels, then means of ``scale``.

    Args:
        sigma_px: Sigmas in pixels of the fine grid, (b,); 0 does not blur.
        radius: Pixels that the kernel reaches, and that the fine grid has on each side beyond the frame.
        count: Binned pixels of the frame.
        scale: Fine pixels in a binned one.

    Returns:
        (b, count, count * scale + 2 * radius); each row sums to 1.
    """
    offset = torch.arange(-radius, radius + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    taps = torch.exp(-0.5 * (offset / sigma_px.clamp_min(1e-3)[:, None]) ** 2)
    taps = taps / taps.sum(1, keepdim=True)
    binned = torch.nn.functional.pad(taps, (0, scale - 1)) / scale
    for shift in range(1, scale):
        binned = binned + torch.nn.functional.pad(taps, (shift, scale - 1 - shift)) / scale
    # One row's weights, placed ``scale`` further right in each row: written into rows that are longer by ``scale``.
    width = count * scale + 2 * radius
    rows = torch.nn.functional.pad(binned, (0, width + scale - binned.shape[1])).repeat(1, count)
    return rows[:, : count * width].reshape(-1, count, width)


def camera_operator(sigma_px: Tensor, count: int, scale: int) -> Tensor:
    """:func:`gaussian_operator` of the frame alone: beyond it the sky goes on as it is on the border, so what would
    come from there is the border pixel's. (b, count, count * scale); the transposed matrix is the way back."""
    radius = kernel_radius(_largest(sigma_px))
    wide = gaussian_operator(sigma_px, radius, count, scale)
    matrix = wide[..., radius : radius + count * scale].clone()
    matrix[..., 0] += wide[..., :radius].sum(-1)
    matrix[..., -1] += wide[..., radius + count * scale :].sum(-1)
    return matrix


def apply_operator(operator: Tensor, image: Tensor) -> Tensor:
    """The matrices (b or 1, m, n) along both axes of square images (b, ..., n, n): (b, ..., m, m)."""
    if image.ndim == 4:
        operator = operator[:, None]
    return operator @ image @ operator.transpose(-1, -2)


def observe(sky: Tensor, psf: Tensor | float, scale: int) -> Tensor:
    """A sky as a telescope with larger pixels sees it: convolved, then means of ``scale`` x ``scale`` pixels.

    Beyond the frame the sky goes on as it is on the border; :func:`reach` says how far that matters.

    Args:
        sky: Surface brightness, (b, c, h, w); h and w are multiples of ``scale``.
        psf: Sigma of a Gaussian in pixels of the sky, a number or (b,); or a kernel image that sums to 1, (k, k) or
            (b, k, k), k odd, its centre in the middle pixel.
        scale: Pixels of the sky along a side of a binned one.

    Returns:
        (b, c, h / scale, w / scale) in the same unit.

    Raises:
        UserError: when the frame is not a multiple of ``scale``, or a kernel has no middle pixel.
    """
    height, width = sky.shape[-2:]
    if height % scale or width % scale:
        raise UserError(f"{height} x {width} pixels cannot be binned by {scale}: not a multiple. Cut the frame.")
    if isinstance(psf, Tensor) and psf.ndim >= 2:
        return _bin(_convolve(sky, psf), scale)
    sigma = torch.as_tensor(psf, dtype=sky.dtype, device=sky.device).reshape(-1)
    rows, columns = (camera_operator(sigma, side // scale, scale)[:, None] for side in (height, width))
    return rows @ sky @ columns.transpose(-1, -2)


def _largest(psf: Tensor | float) -> float:
    return float(torch.as_tensor(psf).max())


def _bin(image: Tensor, scale: int) -> Tensor:
    height, width = image.shape[-2:]
    blocks = image.reshape(*image.shape[:-2], height // scale, scale, width // scale, scale)
    return blocks.mean((-3, -1))


def _convolve(sky: Tensor, kernel: Tensor) -> Tensor:
    """``sky`` (b, c, h, w) convolved with kernels (k, k) or (b, k, k), by Fourier transforms."""
    if kernel.shape[-1] % 2 == 0 or kernel.shape[-2] % 2 == 0:
        raise UserError(f"A kernel of {tuple(kernel.shape[-2:])} pixels has no middle pixel. Cut it to odd sides.")
    ry, rx = (side // 2 for side in kernel.shape[-2:])
    padded = torch.nn.functional.pad(sky, (rx, rx, ry, ry), mode="replicate")
    size = tuple(padded.shape[-2:])
    kernel = kernel.to(sky).reshape(-1, 1, *kernel.shape[-2:])
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
    height, width = sky.shape[-2:]
    return torch.fft.irfft2(product, s=size)[..., 2 * ry : 2 * ry + height, 2 * rx : 2 * rx + width]


def matching_kernel(
    lr_psf: np.ndarray, hr_psf: np.ndarray, scale: int = 1, regularisation: float = REGULARISATION
) -> np.ndarray:
    """The kernel that, followed by binning, turns a fine image into what the coarse telescope saw.

    A Wiener-regularised ratio of Fourier transforms. A measured point-spread function has its detector's pixel in
    it already, so the ``scale`` x ``scale`` mean of the binning is taken out of the coarse one.

    Args:
        lr_psf: Point-spread function of the coarse image, sampled on the fine image's pixels, (k, k), k odd.
        hr_psf: That of the fine image, on the same pixels; any odd sides.
        scale: Fine pixels along a side of a coarse one.
        regularisation: Relative power below which a frequency is not restored.

    Returns:
        float64 (k, k), summing to 1; for :func:`observe`.

    Raises:
        UserError: when one has no middle pixel or no light.
    """
    side = max(*lr_psf.shape, *hr_psf.shape)
    side += 2 * (side // 2)  # room, so that the ends do not meet
    coarse, fine = (np.fft.rfft2(_centred(psf, side)) for psf in (lr_psf, hr_psf))
    frequency = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    # Mean of ``scale`` pixels whose middle is the grid's origin: the sinc of sampled sums.
    box_y, box_x = (np.where(f == 0, 1.0, np.sin(np.pi * scale * f) / (scale * np.sin(np.pi * np.where(f == 0, 1, f))))
                    for f in frequency)  # fmt: skip
    fine = fine * box_y[:, None] * box_x[None, :]
    power = np.abs(fine) ** 2
    ratio = coarse * fine.conj() / (power + regularisation * power.max())
    kernel = np.fft.fftshift(np.fft.irfft2(ratio, s=(side, side)))
    middle, radius = side // 2, lr_psf.shape[0] // 2
    kernel = kernel[middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
    return kernel / kernel.sum()


def check_psf(psf: np.ndarray) -> None:
    """Refuses what is no picture of a point-spread function.

    Raises:
        UserError: when it has no middle pixel or no light.
    """
    if psf.ndim != 2 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise UserError(f"A point-spread function of shape {psf.shape} has no middle pixel. Give odd sides.")
    if not psf.sum() > 0:
        raise UserError(f"A point-spread function must have light in it; this one sums to {psf.sum():g}.")


def _centred(psf: np.ndarray, side: int) -> np.ndarray:
    """A point-spread function of light 1 on a (side, side) grid, its middle pixel at the origin."""
    psf = np.asarray(psf, dtype=np.float64)
    check_psf(psf)
    grid = np.zeros((side, side))
    grid[: psf.shape[0], : psf.shape[1]] = psf / psf.sum()
    return np.roll(grid, (-(psf.shape[0] // 2), -(psf.shape[1] // 2)), axis=(0, 1))
