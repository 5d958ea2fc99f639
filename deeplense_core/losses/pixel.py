"""Losses in pixels: distances to the fine image, in fixed units or in units of its noise, and to the coarse one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeplense_core.errors import UserError
from deeplense_core.models.interpolation import enlarge
from deeplense_core.superres.observe import matching_sigma, observe, reach

PIXEL_LOSSES = ("chi2", "mse", "l1")
Columns = Mapping[str, Float[Tensor, " b"]]


def pixel_loss(
    kind: str, made: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"],
    variance: Float[Tensor, "b c h w"] | None, unit: float,
) -> Float[Tensor, ""]:
    """Mean over pixels of the squared distance in units of the noise (``chi2``), or of ``unit`` (``mse``), or of the
    distance itself (``l1``).

    ``chi2`` and ``mse`` lead to the mean of what is likely, so flux is right on average; ``l1`` leads to the median,
    which for the skewed noise of few photons lies beside it.
    """
    off = made - wanted
    if kind == "l1":
        return off.abs().mean() / unit
    if kind == "mse":
        return off.square().mean() / unit**2
    assert variance is not None
    return (off.square() / variance).mean()


def noise_variance(
    brightness: Float[Tensor, "b c h w"], columns: Columns, which: str
) -> Float[Tensor, "b c h w"]:
    """Variance of the noise of the coarse (``lr``) or fine (``hr``) image: (brightness + sky) / counts per unit.

    Of real pairs only the noise of the blank sky is known: then that, squared, everywhere.

    Args:
        brightness: An estimate of the noise-free image; noise below zero counts as zero.
        columns: ``truth_sky`` and ``truth_<which>_counts_per_unit``, or ``<which>_noise``.
        which: ``lr`` or ``hr``.

    Raises:
        UserError: when the data do not say.
    """
    if f"{which}_noise" in columns:
        return columns[f"{which}_noise"].square()[:, None, None, None].expand_as(brightness)
    sky, per_unit = column(columns, "sky"), column(columns, f"{which}_counts_per_unit")
    return (brightness.clamp_min(0) + sky[:, None, None, None]) / per_unit[:, None, None, None]


def knows_noise(columns: Mapping[str, Any], which: str) -> bool:
    """Whether :func:`noise_variance` can tell the noise of the ``lr`` or ``hr`` images."""
    return f"{which}_noise" in columns or {"truth_sky", f"truth_{which}_counts_per_unit"} <= set(columns)


def target_variance(images: Float[Tensor, "b c h w"], columns: Columns, scale: int) -> Float[Tensor, "b c H W"]:
    """Variance of the fine image's noise as the coarse image tells it: independent of that noise itself, so that
    weighing by it favours no pixel for having scattered low."""
    return noise_variance(enlarge(images, scale, "bilinear"), columns, "hr")


def matching_blur(
    columns: Columns, pixel_scale_arcsec: float | None, kernel: np.ndarray | None = None
) -> Tensor | None:
    """What brings a fine image to the coarse one's sharpness, for ``observe``: sigmas (b,) in fine pixels, or a kernel.

    Args:
        columns: ``truth_lr_psf_sigma`` and ``truth_hr_psf_sigma`` in arcsec.
        pixel_scale_arcsec: Side of a fine pixel.
        kernel: Of a pair that was registered: measured, and taken as it is.

    Returns:
        None where the data do not say.
    """
    if kernel is not None:
        return torch.from_numpy(np.array(kernel, np.float32))
    if pixel_scale_arcsec is None or not {"truth_lr_psf_sigma", "truth_hr_psf_sigma"} <= set(columns):
        return None
    return matching_sigma_px(columns, pixel_scale_arcsec)


def matching_sigma_px(columns: Columns, pixel_scale_arcsec: float) -> Float[Tensor, " b"]:
    """Sigma in fine pixels of what the fine image lacks in blur.

    Raises:
        UserError: when the data do not say their point-spread functions.
    """
    sigma = matching_sigma(column(columns, "lr_psf_sigma"), column(columns, "hr_psf_sigma"))
    return torch.as_tensor(sigma) / pixel_scale_arcsec


def reobservation_chi2(
    made: Float[Tensor, "b c H W"], images: Float[Tensor, "b c h w"], columns: Columns, scale: int, blur: Tensor
) -> Float[Tensor, " b"]:
    """Chi squared per coarse pixel of the result put back through the coarse camera; 1 is as good as noise allows.

    Pixels to which light from outside the frame would belong are left out. The variance is that of the
    re-observed result, held fixed.
    """
    again = observe(made, blur, scale)
    variance = noise_variance(again.detach(), columns, "lr")
    edge = reach(blur, scale)
    inner = (..., slice(edge, images.shape[-2] - edge), slice(edge, images.shape[-1] - edge))
    return ((again - images).square() / variance)[inner].mean((1, 2, 3))


def column(columns: Columns, name: str) -> Float[Tensor, " b"]:
    """One truth of the pairs.

    Raises:
        UserError: when the data set does not have it.
    """
    key = f"truth_{name}"
    if key not in columns:
        raise UserError(f"These pairs do not say their {name!r} (column {key!r}), which loss=chi2 and physics need. "
                        "Take loss=mse and physics=0, or simulated pairs.")
    return columns[key]
