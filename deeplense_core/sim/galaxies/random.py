"""Random numbers of galaxies, made of the uniform ones of :class:`~deeplense_core.sim.scene.Draws`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from deeplense_core.sim.scene import Draws


def shared(draws: Draws, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers (n, *shape), equal within images that share."""
    values = [draws.uniform(low, high) for _ in range(math.prod(shape))]
    return torch.stack(values, 1).reshape(draws.count, *shape)


def normal(draws: Draws, *shape: int) -> Tensor:
    """Standard normal numbers (n, *shape), equal within images that share."""
    return _normal(shared(draws, 0, 1, *shape) if shape else draws.uniform(0, 1))


def own_normal(draws: Draws) -> Tensor:
    """Standard normal numbers (n,), for every image its own."""
    return _normal(draws.own(0, 1))


def _normal(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.9995, 0.9995))


def log_uniform(draws: Draws, low: float, high: float) -> Tensor:
    """Numbers (n,) whose logarithm is uniform, equal within images that share."""
    return torch.exp(draws.uniform(math.log(low), math.log(high)))


def colours(draws: Draws, g_r: tuple[float, float], r_i: tuple[float, float]) -> Tensor:
    """Colours g-r and r-i, (n, 2), each of this mean and scatter."""
    return torch.stack([mean + scatter * normal(draws) for mean, scatter in (g_r, r_i)], 1)


def choice(u: Tensor, parts: Mapping[int, float]) -> Tensor:
    """Keys of ``parts`` in their proportions, int64, by uniform numbers ``u``."""
    keys, weights = torch.tensor(list(parts)), torch.tensor(list(parts.values()))
    edges = torch.cumsum(weights / weights.sum(), 0)[:-1]
    return keys[torch.searchsorted(edges, u.contiguous(), right=True)]
