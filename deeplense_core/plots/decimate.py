"""Fewer vertices, same shape: what keeps a curve of 100,000 thresholds light in the browser."""

from __future__ import annotations

import heapq

import numpy as np

CURVE_POINTS = 400


def _farthest(x: np.ndarray, y: np.ndarray, first: int, last: int) -> tuple[float, int]:
    """Distance and index of the vertex between ``first`` and ``last`` farthest from their chord."""
    if last - first < 2:
        return 0.0, first
    dx, dy = x[last] - x[first], y[last] - y[first]
    px, py = x[first + 1 : last] - x[first], y[first + 1 : last] - y[first]
    length = np.hypot(dx, dy)
    distance = np.abs(dx * py - dy * px) / length if length > 0 else np.hypot(px, py)
    best = int(distance.argmax())
    return float(distance[best]), first + 1 + best


def decimate(x: np.ndarray, y: np.ndarray, limit: int = CURVE_POINTS) -> np.ndarray:
    """Indices (at most ``limit``, rising) of the vertices that carry the shape of a polyline.

    The vertex that deviates most is kept first (Douglas and Peucker 1973, run to a count instead of a
    tolerance); vertices on the line between kept ones are dropped even below the limit. Scale both axes
    to about the same range first.

    Args:
        x: (n,) finite.
        y: (n,) finite.
        limit: 2 or more.
    """
    last = len(x) - 1
    kept = {0, last}
    distance, at = _farthest(x, y, 0, last)
    queue = [(-distance, at, 0, last)]
    while len(kept) < limit:
        distance, at, first, end = heapq.heappop(queue) if queue else (0.0, 0, 0, 0)
        if -distance <= 1e-12:
            break
        kept.add(at)
        for left, right in ((first, at), (at, end)):
            part, middle = _farthest(x, y, left, right)
            heapq.heappush(queue, (-part, middle, left, right))
    return np.array(sorted(kept))
