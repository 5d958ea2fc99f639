"""The evaluation protocol of super-resolution: every row a model or a baseline, every image on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.losses import perceptual, pixel
from deeplense_core.metrics import superres as metrics
from deeplense_core.models.interpolation import KERNELS, Interpolation
from deeplense_core.precision import best_device
from deeplense_core.sources import DataInfo, Images
from deeplense_core.superres.enhance import in_unit
from deeplense_core.tasks.base import Outcome, Progress
from deeplense_core.trained import Trained

BLOCK = 32
"""Images held in memory at once."""
PERCEPTUAL_IMAGES = 16
"""The first of a part: VGG19 costs more than all other metrics together."""


def pair_scale(data: DataInfo) -> int:
    """Fine pixels along a side of a coarse one.

    Raises:
        UserError: data without targets, or whose targets are no whole number of times larger.
    """
    if data.target_shape is None:
        raise UserError(f"{data.name!r} holds single images: super-resolution learns from pairs of a coarse and a fine "
                        "image. Take sim:sr-pairs, or ingest a folder with LR and HR.")
    (c, h, w), (c2, height, width) = data.shape, data.target_shape
    scale = height // h
    if (c2, height, width) != (c, h * scale, w * scale) or scale < 2:
        raise UserError(f"Fine images of {data.target_shape} are no whole multiple (2 or more) of coarse ones of "
                        f"{data.shape}. Cut both to the same sky.")
    return scale


@dataclass(frozen=True)
class Protocol:
    """What is fixed for all rows of one table."""

    scale: int
    range_: float
    pixel_scale_arcsec: float | None
    """Of the fine images."""
    features: perceptual.Vgg19 | None
    """What the perceptual distance is taken in; None leaves it out."""
    unit: float
    """Of the view that VGG19 is shown."""
    device: torch.device
    kernel: np.ndarray | None = None
    """Of registered pairs: brings a fine image to the coarse one's sharpness."""


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """Scores a model, once and averaged over eight symmetries, beside the four interpolations.

    Raises:
        UserError: data without targets, or of another scale or number of bands than the model's.
    """
    scale = pair_scale(data)
    made_for = model.card["model_args"]
    if made_for["scale"] != scale and model.name not in KERNELS:
        raise UserError(f"{model.name!r} makes images {made_for['scale']} times finer and the pairs of {data.name!r} "
                        f"differ by {scale}. Take a model or data of the same scale.")
    if made_for["in_channels"] not in (None, data.shape[0]):
        raise UserError(f"{model.name!r} knows {made_for['in_channels']} band(s) and {data.name!r} has "
                        f"{data.shape[0]}.")
    range_ = _data_range(part)
    device = torch.device(best_device())
    features = perceptual.vgg19().to(device)
    fixed = Protocol(scale, range_, data.target_pixel_scale_arcsec, features, range_ / 10, device, data.matching_kernel)
    rows = competitors(model, scale, device)
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in rows}
    done = 0
    for low, high, columns in _blocks(part):
        common = shared(high, columns, fixed)
        near = max(0, PERCEPTUAL_IMAGES - done)
        for name, (net, averaged) in rows.items():
            made = in_unit(net, low.to(device), averaged, noise_of_training(model, name, columns)).cpu()
            for metric, values in scores(made, low, high, columns, common, fixed, near).items():
                found[name].setdefault(metric, []).append(values)
        done += len(low)
        if progress:
            progress(done, len(part))
    per_image = {name: {m: np.concatenate(v) for m, v in metrics_.items()} for name, metrics_ in found.items()}
    tables = {name: metrics.summary(values, range_) for name, values in per_image.items()}
    names = list(next(iter(per_image.values())))
    return Outcome(
        tables[model.name], tables,
        {metric: np.stack([per_image[name][metric] for name in rows], 1) for metric in names},
        {"row_names": list(rows), "data_range": range_, "scale": scale, "perceptual_weights": features.origin,
         "perceptual_images": min(len(part), PERCEPTUAL_IMAGES),
         "target_pixel_scale_arcsec": data.target_pixel_scale_arcsec},
    )


def competitors(model: Trained, scale: int, device: torch.device) -> dict[str, tuple[nn.Module, bool]]:
    """Rows of the table: name -> network, and whether it is averaged over the symmetries."""
    rows: dict[str, tuple[nn.Module, bool]] = {}
    if model.name not in KERNELS:
        rows = {model.name: (model.net, False), model.name + metrics.AVERAGED: (model.net, True)}
    return rows | {name: (Interpolation(name, scale).to(device), False) for name in KERNELS}


def noise_of_training(model: Trained, row: str, columns: Mapping[str, Tensor]) -> float | None:
    """What the coarse images of a row are brought to; None leaves them as they are.

    Registered pairs, whose noise was measured, are in a unit that no network has learnt. All other pairs are taken
    in the unit they have.
    """
    learnt = row.removesuffix(metrics.AVERAGED) == model.name
    return model.card.get("noise") if learnt and "lr_noise" in columns else None


def shared(high: Float[Tensor, "b c h w"], columns: Mapping[str, Tensor], fixed: Protocol) -> dict[str, Any]:
    """What every row of a block is measured with: arc pixels and the noise floor, from the observed images."""
    observed, sky_sigma = high.numpy(), None
    if "hr_noise" not in columns and pixel.knows_noise(columns, "hr"):
        sky_sigma = pixel.noise_variance(torch.zeros(len(high), 1, 1, 1), columns, "hr").sqrt().flatten().numpy()
    return {"mask": metrics.arc_mask(observed, sky_sigma), "psnr_floor": noise_floor(observed, columns, fixed.range_)}


def noise_floor(
    observed: Float[np.ndarray, "b c h w"], columns: Mapping[str, Any], range_: float
) -> Float[np.ndarray, " b"]:
    """PSNR of the noise-free fine images, which no network can pass; NaN where the pairs do not say their noise."""
    if not pixel.knows_noise(columns, "hr"):
        return np.full(len(observed), np.nan)
    if "hr_noise" in columns:
        return metrics.psnr(np.asarray(columns["hr_noise"], np.float64) ** 2, range_)
    sky, per_unit = (np.asarray(columns[f"truth_{name}"], np.float64) for name in ("sky", "hr_counts_per_unit"))
    return metrics.psnr(metrics.noise_floor_mse(observed, sky, per_unit), range_)


def scores(
    made: Float[Tensor, "b c h w"], low: Tensor, high: Float[Tensor, "b c h w"], columns: Mapping[str, Tensor],
    common: Mapping[str, Any], fixed: Protocol, near: int,
) -> dict[str, Float[np.ndarray, " b"]]:
    """Every metric of a block of one row, one number an image; ``near``: of how many the perceptual distance."""
    a, b, mask = made.numpy(), high.numpy(), common["mask"]
    arcsec = fixed.pixel_scale_arcsec or np.nan
    core_px = metrics.CORE_ARCSEC / fixed.pixel_scale_arcsec if fixed.pixel_scale_arcsec else 0.0
    errors = metrics.mse(a, b)
    radius = metrics.ring_radius(a, mask, core_px) - metrics.ring_radius(b, mask, core_px)
    apart = np.full(len(a), np.nan)
    if near and fixed.features:
        views = (perceptual.view(x[:near].to(fixed.device), fixed.unit) for x in (made, high))
        apart[:near] = perceptual.perceptual_distance(fixed.features, *views).cpu().numpy()
    return {
        "psnr": metrics.psnr(errors, fixed.range_), "ssim": metrics.ssim(a, b, fixed.range_), "mse": errors,
        "arc_psnr": metrics.psnr(metrics.arc_mse(a, b, mask), fixed.range_), "flux_ratio": metrics.flux_ratio(a, b),
        "centroid_shift": arcsec * metrics.centroid_shift(a, b, mask), "einstein_radius_error": arcsec * np.abs(radius),
        "reobs_chi2": _reobservation(made, low, columns, fixed), "psnr_floor": common["psnr_floor"],
        "perceptual": apart,
    }


def one_image(
    made: Float[np.ndarray, "c h w"], low: np.ndarray, high: Float[np.ndarray, "c h w"],
    columns: Mapping[str, float], scale: int, pixel_scale_arcsec: float | None, range_: float,
    kernel: np.ndarray | None = None,
) -> dict[str, float]:
    """Every metric of one result but the perceptual distance; NaN where the pair does not say what it needs.

    Args:
        made: The result.
        low: Coarse image (c, h / scale, w / scale).
        high: Observed fine image.
        columns: What is known of the pair, as in a catalogue.
        scale: Fine pixels along a side of a coarse one.
        pixel_scale_arcsec: Side of a fine pixel.
        range_: R of PSNR and SSIM.
        kernel: Of a registered pair.
    """
    fixed = Protocol(scale, range_, pixel_scale_arcsec, None, 1.0, torch.device("cpu"), kernel)
    tensors = {name: torch.tensor([value], dtype=torch.float32) for name, value in columns.items()}
    fine, coarse, result = (torch.from_numpy(image[None]) for image in (high, low, made))
    found = scores(result, coarse, fine, tensors, shared(fine, tensors, fixed), fixed, 0)
    return {name: float(values[0]) for name, values in found.items() if name != "perceptual"}


def _reobservation(made: Tensor, low: Tensor, columns: Mapping[str, Tensor], fixed: Protocol) -> np.ndarray:
    blur = pixel.matching_blur(columns, fixed.pixel_scale_arcsec, fixed.kernel)
    if blur is None or not pixel.knows_noise(columns, "lr"):
        return np.full(len(made), np.nan)
    return pixel.reobservation_chi2(made, low, columns, fixed.scale, blur).numpy().astype(np.float64)


def _data_range(part: Images) -> float:
    peaks = [block.max((1, 2, 3), keepdims=True) for block in part.target_blocks(256)]
    return metrics.data_range(np.concatenate(peaks))


def _blocks(part: Images) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Coarse images, fine images and their columns, in order."""
    pairs = zip(part.blocks(BLOCK), part.target_blocks(BLOCK), strict=True)
    for i, (low, high) in enumerate(pairs):
        rows = slice(i * BLOCK, i * BLOCK + len(low))
        columns = {name: torch.from_numpy(np.asarray(values[rows])) for name, values in part.columns.items()}
        yield torch.from_numpy(low), torch.from_numpy(high), columns
