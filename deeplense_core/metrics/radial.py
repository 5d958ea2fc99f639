"""Brightness against distance from the middle of the frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def radial_profile(
    image: Float[np.ndarray, "h w"], pixel_scale: float, step: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Mean brightness in rings about the middle of the frame.

    Args:
        image: Any unit.
        pixel_scale: Side of a pixel, in the unit of the radii (arcsec, or 1 for pixels).
        step: Width of a ring, in that unit; rings without a pixel are left out.

    Returns:
        Mean radius of the pixels of each ring, and their mean value, out to the nearest border.
    """
    height, width = image.shape
    y, x = np.indices(image.shape)
    radius = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2) * pixel_scale
    inside = radius <= min(height, width) / 2 * pixel_scale
    ring = (radius[inside] / step).astype(int)
    count = np.bincount(ring)
    filled = count > 0
    mean_radius = np.bincount(ring, radius[inside])[filled] / count[filled]
    return mean_radius, np.bincount(ring, image[inside])[filled] / count[filled]
