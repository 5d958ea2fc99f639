"""What every image must be, whatever its format: small enough, of real numbers, finite, two or three axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplense_core.errors import UserError

MAX_PIXELS = 64 * 2**20
"""Largest number of values in one image."""
MAX_CHANNELS = 16
MAX_FILE_BYTES = 8 * MAX_PIXELS + 2**20
"""Largest file of one image: as many float64 values, and a header."""


class BadImageError(UserError):
    """A file that cannot be used as an image.

    Attributes:
        reason: A few words, the same for all files with this fault, to count by.
        choices: What could be asked for instead, as in ``LensImage.meta``: ``hdus``, ``keys``, ``planes``.
    """

    def __init__(self, reason: str, message: str, choices: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.reason = reason
        self.choices = dict(choices or {})

    def __reduce__(self):
        return type(self), (self.reason, str(self), self.choices)


def check_pixels(pixels: np.ndarray, name: str) -> np.ndarray:
    """The pixels as float32, after a look for NaN, infinity and a blank frame.

    Raises:
        BadImageError: when one is found.
    """
    if pixels.dtype.kind not in "buif":
        raise BadImageError("wrong dtype", f"{name!r} holds {pixels.dtype}, not real numbers.")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is refused below
        pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    low, high = pixels.min(), pixels.max()  # of one NaN both are NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = pixels.size - int(np.isfinite(pixels).sum())
        raise BadImageError(
            "NaN or infinite pixels",
            f"{name!r} has {bad} NaN or infinite pixels of {pixels.size}. Fill them or cut them away first.",
        )
    if low == high:
        raise BadImageError(
            "constant image", f"{name!r} is blank: every pixel is {pixels.flat[0]:g}. There is nothing in it."
        )
    return pixels


def to_chw(array: np.ndarray, channels: str = "auto", name: str = "The image") -> np.ndarray:
    """An image in any common order of axes as ``(c, h, w)``.

    Args:
        array: ``(h, w)``, ``(c, h, w)`` or ``(h, w, c)``; further leading axes of length 1 are dropped.
        channels: Where a 3-D array has its channels: ``first``, ``last``, or ``auto`` (the shorter end).
        name: What messages call it.

    Raises:
        BadImageError: when the array has no such shape.
    """
    return few_channels(axes_to_chw(array, channels, name), name)


def axes_to_chw(array: np.ndarray, channels: str, name: str) -> np.ndarray:
    """As :func:`to_chw`, with any number of channels."""
    if channels not in ("auto", "first", "last"):
        raise UserError(f"channels = {channels!r} is not one of auto, first, last.")
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    elif array.ndim != 3:
        raise BadImageError("wrong shape", f"{name!r} has shape {array.shape}; an image has 2 or 3 dimensions.")
    elif channels == "last" or (channels == "auto" and array.shape[2] < array.shape[0]):
        array = np.moveaxis(array, 2, 0)
    if not array.size:
        raise BadImageError("empty image", f"{name!r} has shape {array.shape}: no pixels in it.")
    return array


def few_channels(array: np.ndarray, name: str) -> np.ndarray:
    """The (c, h, w) array itself, where it has no more channels than one image may."""
    if len(array) > MAX_CHANNELS:
        raise BadImageError(
            "wrong shape",
            f"{name!r} has {len(array)} channels; at most {MAX_CHANNELS} are allowed. "
            "Choose one plane of the cube, or say which axis holds the channels.",
            {"planes": len(array)},
        )
    return array


def check_size(count: int, shape: tuple[int, ...], name: str) -> None:
    """Refuses an array by the size that its file claims, before it is read."""
    if count > MAX_PIXELS:
        raise BadImageError(
            "too large",
            f"{name!r} claims shape {shape}: more than the {MAX_PIXELS // 2**20} Mpixel allowed. Cut it smaller.",
        )
