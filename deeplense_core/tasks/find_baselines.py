"""What simpler things reach in lens finding: brightness and colours of the pixels, and features of a catalogue.

No network: both are a logistic regression, learnt on the images that the network learnt on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.features import feature_matrix, robust_scale
from deeplense_core.metrics.logistic import logistic, sigmoid
from deeplense_core.photometry import measured_names
from deeplense_core.preprocess import center_crop, in_sky_noise
from deeplense_core.sources import SIM, DataInfo, Images, describe, simulated_images, stored_images
from deeplense_core.trained import Trained

IMAGES = 1_000
"""Training images that a baseline learns from: it has a few dozen numbers to find."""
RINGS = 4
BLOCK = 256
Rows = Callable[[Images, DataInfo], Float[np.ndarray, "n f"]]


def baseline_scores(model: Trained, data: DataInfo, part: Images) -> dict[str, Float[np.ndarray, " n"]]:
    """Scores of a part by each baseline; none where the network's training images are gone or of one class.

    Returns:
        Name of the row -> P(lens).
    """
    learnt = _training_images(model)
    if learnt is None:
        return {}
    info, images = learnt
    names = measured_names(model.card["bands"], model.shape[0])
    kinds: dict[str, Rows] = {
        "brightness and colours of the pixels": lambda some, of: _fitted(model, some, of, brightness_and_colours),
        "features of the catalogue, logistic regression": lambda some, _: _features(names, some, model.card["bands"]),
    }
    is_lens = images.labels == info.classes.index(LENS_CLASSES[0])
    if is_lens.all() or not is_lens.any():
        return {}
    return {name: _regression(rows(images, info), is_lens)(rows(part, data)) for name, rows in kinds.items()}


def _training_images(model: Trained) -> tuple[DataInfo, Images] | None:
    data, seed = model.card["data"], model.card["seed"]
    if data.startswith(SIM):
        return describe(data), simulated_images(data.removeprefix(SIM), IMAGES, seed, 0)
    try:
        dataset = open_dataset(Path(data))
    except UserError:
        return None
    part = stored_images(dataset, "train")
    return describe(data), part.some(np.random.default_rng(seed).permutation(len(part))[:IMAGES])


def brightness_and_colours(images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n f"]:
    """Mean brightness of each band in rings about the middle, in asinh of its sky noise: no shapes, only light."""
    x = torch.asinh(in_sky_noise(torch.from_numpy(images)))
    side = min(x.shape[2:])
    x = center_crop(x, side)
    axis = torch.arange(side) - (side - 1) / 2
    ring = (torch.hypot(axis, axis[:, None]) / (side / 2) * RINGS).long()
    rings = [x[..., ring == k].mean(2) for k in range(RINGS)]
    return torch.cat(rings, 1).numpy()


def _fitted(model: Trained, part: Images, data: DataInfo, change: Callable) -> np.ndarray:
    return np.concatenate([change(model.fit(block, data.pixel_scale_arcsec)[0]) for block in part.blocks(BLOCK)])


def _features(names: list[str], part: Images, bands: list[str]) -> np.ndarray:
    return np.concatenate([feature_matrix(names, columns, block, bands)
                           for block, columns in part.blocks_and_columns(BLOCK)])  # fmt: skip


def _regression(rows: Float[np.ndarray, "n f"], is_lens: Bool[np.ndarray, " n"]) -> Callable[[np.ndarray], np.ndarray]:
    """P(lens) by a logistic regression on standardised numbers, unknown ones at their middle, both classes alike."""
    centre, spread = robust_scale(rows)

    def scaled(values: np.ndarray) -> np.ndarray:
        units = (values.astype(np.float64) - centre) / spread
        return np.where(np.isfinite(values), units, 0).clip(-5, 5)

    weights, offset = logistic(scaled(rows), is_lens, balanced=True)
    return lambda others: sigmoid(scaled(others) @ weights + offset)
