"""Whether an image is like those a network was trained on, told from a few plain numbers and from its features.

A softmax is as sure of itself on an image of another kind as on one of its own. The plain numbers are coarse, cheap
and readable: they catch another noise level, another sky or another scaling. The distance between features catches
what has no name. Neither catches every difference there can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deeplense_core.errors import UserError

NAMES = {"noise": "noise", "border": "light at the border", "mean": "mean brightness"}
"""What is measured -> how it is called in a warning."""
QUANTILES = (0.005, 0.995)
MARGIN = 2.0
"""Factor beyond the range of the training images that still passes."""
DIRECTIONS = 24
"""Principal directions that a :class:`FeatureCloud` keeps at most."""
FEWEST = 100
"""Images below which a :class:`FeatureCloud` would say little."""
WITHIN = 0.99
"""Part of held-out images like the training images that lie within distance 1 of their cloud."""


def input_statistics(images: Float[np.ndarray, "n c h w"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Numbers of each image scaled to [0, 1] by its own minimum and maximum.

    Returns:
        ``noise``: standard deviation of a pixel, from the median absolute difference of neighbours in the outer
        eighth of the frame, where there is little structure. ``border``: median of that frame. ``mean``: of all.
    """
    low, high = images.min((1, 2, 3)), images.max((1, 2, 3))
    span = np.maximum(high - low, 1e-12)
    noise, border = frame_statistics(images)
    return {"noise": noise / span, "border": (border - low) / span, "mean": (images.mean((1, 2, 3)) - low) / span}


def frame_statistics(
    images: Float[np.ndarray, "n c h w"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Standard deviation of a pixel and median brightness in the outer eighth of the frame, above and below."""
    edge = max(1, images.shape[2] // 8)
    rows = np.concatenate([images[:, :, :edge], images[:, :, -edge:]], 2).reshape(len(images), -1, images.shape[3])
    rows = rows[:, :: max(1, rows.shape[1] // 16)]  # medians of thousands of pixels: more cost time and say the same
    steps = np.abs(np.diff(rows, axis=2)).reshape(len(images), -1)
    return np.median(steps, 1) * 1.4826 / np.sqrt(2), np.median(rows.reshape(len(images), -1), 1)


def familiar_ranges(blocks: Iterable[Float[np.ndarray, "n c h w"]]) -> dict[str, list[float]]:
    """``[low, high]`` of each statistic over held-out training images: the central 99 %."""
    found = [input_statistics(block) for block in blocks]
    joined = {name: np.concatenate([part[name] for part in found]) for name in NAMES}
    return {name: [float(q) for q in np.quantile(values, QUANTILES)] for name, values in joined.items()}


def strangeness(images: Float[np.ndarray, "n c h w"], ranges: Mapping[str, list[float]]) -> list[list[str]]:
    """What sets each image apart from the training images, in words; empty where nothing does."""
    said: list[list[str]] = [[] for _ in images]
    for name, values in input_statistics(images).items():
        low, high = ranges[name]
        for words, value in zip(said, np.maximum(values, 1e-6), strict=True):
            if value < low / MARGIN:
                words.append(f"{NAMES[name]} {_times(low / value)} lower")
            elif value > high * MARGIN:
                words.append(f"{NAMES[name]} {_times(value / max(high, 1e-6))} higher")
    return said


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x" if ratio < 100 else "over 100x"


@dataclass(frozen=True, eq=False)
class FeatureCloud:
    """Where the features of familiar images lie: a Gaussian with few principal directions, the rest round.

    The Mahalanobis distance under probabilistic PCA (Tipping & Bishop 1999), with a covariance that stays regular
    however long the features are. Distances are in units of the one within which 99 % of held-out images lie.
    """

    mean: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "k d"]
    spread: Float[np.ndarray, " k"]
    """Standard deviation along each direction."""
    rest: Float[np.ndarray, ""]
    """Standard deviation along any other."""
    limit: Float[np.ndarray, ""]

    def distance(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """How far each image lies from the cloud: up to 1 for 99 % of familiar ones."""
        away = np.asarray(features, dtype=np.float64) - self.mean
        along = away @ self.directions.T
        across = np.maximum((away**2).sum(1) - (along**2).sum(1), 0)
        return np.sqrt(((along / self.spread) ** 2).sum(1) + across / self.rest**2) / self.limit

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        return save({name: np.asarray(value, np.float32) for name, value in asdict(self).items()})


def read_cloud(data: bytes) -> FeatureCloud:
    """The cloud in a safetensors file.

    Raises:
        UserError: when it is damaged.
    """
    try:
        return FeatureCloud(**load(data))
    except (SafetensorError, TypeError) as err:
        raise UserError("The file of familiar features is damaged. Make it again with: calibrate MODEL") from err


def fit_cloud(features: Float[np.ndarray, "n d"]) -> FeatureCloud:
    """The cloud of held-out images: its shape from every other one, its limit from those between.

    Args:
        features: At least ``FEWEST`` rows, in an order that means nothing.
    """
    if len(features) < FEWEST:
        raise UserError(f"{len(features)} images are too few to say what is familiar: at least {FEWEST} are needed.")
    shape, rest = np.asarray(features[::2], np.float64), features[1::2]
    mean = shape.mean(0)
    _, singular, directions = np.linalg.svd(shape - mean, full_matrices=False)
    variances = singular**2 / (len(shape) - 1)
    kept = min(DIRECTIONS, len(shape) // 4, max(1, len(variances) - 1))
    floor = 1e-6 * variances[0] + 1e-12  # directions in which nothing varies must not decide
    left = variances[kept:].sum() / max(1, features.shape[1] - kept)
    cloud = FeatureCloud(mean, directions[:kept], np.sqrt(np.maximum(variances[:kept], floor)),
                         np.array(np.sqrt(max(left, floor))), np.array(1.0))  # fmt: skip
    return replace(cloud, limit=np.array(np.quantile(cloud.distance(rest), WITHIN)))
