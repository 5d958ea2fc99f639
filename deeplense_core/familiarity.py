"""Whether an image is like those a network was trained on, told from a few plain numbers.

A softmax is as sure of itself on an image of another kind as on one of its own. These numbers are coarse, cheap
and readable: they catch another noise level, another sky or another scaling, not every difference there can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

NAMES = {"noise": "noise", "border": "light at the border", "mean": "mean brightness"}
"""What is measured -> how it is called in a warning."""
QUANTILES = (0.005, 0.995)
MARGIN = 2.0
"""Factor beyond the range of the training images that still passes."""


def input_statistics(images: Float[np.ndarray, "n c h w"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Numbers of each image scaled to [0, 1] by its own minimum and maximum.

    Returns:
        ``noise``: standard deviation of a pixel, from the median absolute difference of neighbours in the outer
        eighth of the frame, where there is little structure. ``border``: median of that frame. ``mean``: of all.
    """
    low = images.min((1, 2, 3), keepdims=True)
    x = (images - low) / np.maximum(images.max((1, 2, 3), keepdims=True) - low, 1e-12)
    edge = max(1, x.shape[2] // 8)
    rows = np.concatenate([x[:, :, :edge], x[:, :, -edge:]], 2).reshape(len(x), -1, x.shape[3])
    steps = np.abs(np.diff(rows, axis=2)).reshape(len(x), -1)
    return {
        "noise": np.median(steps, 1) * 1.4826 / np.sqrt(2),
        "border": np.median(rows.reshape(len(x), -1), 1),
        "mean": x.mean((1, 2, 3)),
    }


def familiar_ranges(blocks: Iterable[Float[np.ndarray, "n c h w"]]) -> dict[str, list[float]]:
    """``[low, high]`` of each statistic over held-out training images: the central 99 %."""
    found = [input_statistics(block) for block in blocks]
    joined = {name: np.concatenate([part[name] for part in found]) for name in NAMES}
    return {name: [float(q) for q in np.quantile(values, QUANTILES)] for name, values in joined.items()}


def strangeness(image: Float[np.ndarray, "c h w"], ranges: Mapping[str, list[float]]) -> list[str]:
    """What sets an image apart from the training images, in words; empty when nothing does."""
    said = []
    for name, values in input_statistics(image[None]).items():
        low, high = ranges[name]
        value = max(float(values[0]), 1e-6)
        if value < low / MARGIN:
            said.append(f"{NAMES[name]} {_times(low / value)} lower")
        elif value > high * MARGIN:
            said.append(f"{NAMES[name]} {_times(value / max(high, 1e-6))} higher")
    return said


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x" if ratio < 100 else "over 100x"
