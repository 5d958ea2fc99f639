"""Draws how surveys look: seeing, depth, pixels, and what goes wrong. The class is not known here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deeplense_core.sim.galaxies.random import choice, normal, shared
from deeplense_core.sim.galaxies.scene import SCALINGS, Survey
from deeplense_core.sim.scene import Draws

if TYPE_CHECKING:
    from deeplense_core.sim.recipes.lens_finding import EasyConfig as Population

SKY_MAG, DEPTH_FROM_R, SEEING_FROM_R = (22.2, 21.2, 20.2), (0.15, 0.0, -0.4), (1.05, 1.0, 0.95)
"""Of g, r, i: a dark sky in magnitudes per square arcsec; how deep and how sharp bands are beside r."""
MIXED = {0: 0.45, 1: 0.3, 2: 0.15, 3: 0.1}
"""Parts of the scalings where they are mixed."""
RATES = {"missing": 0.06, "noisy": 0.04, "sky": 0.04, "shift": 0.05, "stripe": 0.12, "trail": 0.05}
"""Images in which this goes wrong, at ``faults = 1``."""


def draw_survey(c: Population, draws: Draws, bands: list[int]) -> Survey:
    """Conditions of observation in those of the bands g, r, i."""
    varied = min(1.0, c.faults)
    scale = draws.uniform(c.pixel_scale_min, c.pixel_scale_max)
    fwhm = draws.uniform(c.seeing_min, c.seeing_max)[:, None] * torch.tensor(SEEING_FROM_R)
    fwhm = fwhm + 0.04 * varied * normal(draws, 3)
    depth = draws.uniform(c.depth_min, c.depth_max)[:, None] + torch.tensor(DEPTH_FROM_R)
    depth = depth + 0.25 * varied * normal(draws, 3)
    sky_mag = torch.tensor(SKY_MAG) + 0.3 * varied * normal(draws, 3)
    sky = varied * torch.tensor([0.4, 0.4, 0.4, 0.3])[:, None] * normal(draws, 4, 3)
    bad_sky = _one_band(draws, c.faults * RATES["sky"]) * torch.sign(shared(draws, -1, 1, 3)) * shared(draws, 3, 12, 3)
    sky = torch.cat([sky[:, :1] + bad_sky[:, None], sky[:, 1:]], 1)
    noisy = 1 + _one_band(draws, c.faults * RATES["noisy"]) * shared(draws, 2, 5, 3)
    shift = (_one_band(draws, c.faults * RATES["shift"])[:, None] * shared(draws, -1.5, 1.5, 2, 3)).round()
    scaling, gain = _scaling(c, draws)
    survey = Survey(
        pixel_scale=scale, fwhm=fwhm.clamp(0.45, 1.3), depth=depth, sky_mag=sky_mag, noise_scale=noisy,
        correlation=0.1 + 0.35 * varied * draws.uniform(0, 1), sky_level=sky, shift=shift,
        missing=_one_band(draws, c.faults * RATES["missing"]), stripe=_stripes(c, draws),
        trail=_trails(c, draws), scaling=scaling, gain=gain,
    )  # fmt: skip
    survey = survey._replace(missing=survey.missing * (len(bands) > 1))
    return Survey(*(value[..., bands] if value.ndim > 1 else value for value in survey))


def _one_band(draws: Draws, rate: float) -> Tensor:
    """1 in one band of some images, else 0; (n, 3)."""
    there, which = draws.uniform(0, 1) < rate, (3 * draws.uniform(0, 1)).floor()
    return (there[:, None] & (torch.arange(3) == which[:, None])).float()


def _stripes(c: Population, draws: Draws) -> Tensor:
    """Missing rows or columns, in one band or in all; one in four is at the border, as at the end of a survey."""
    there = (draws.uniform(0, 1) < c.faults * RATES["stripe"])[:, None]
    one = _one_band(draws, 1.0)
    touched = torch.where(draws.uniform(0, 1)[:, None] < 0.5, one, 1.0)
    at_border, place = draws.uniform(0, 1) < 0.25, draws.uniform(0, 1)
    width = torch.where(at_border, draws.uniform(2, 0.25 * c.n_pix), draws.uniform(1, 5)).round()
    start = torch.where(at_border, (place > 0.5) * (c.n_pix - width), (place * (c.n_pix - width)).floor())
    column = (draws.uniform(0, 1) < 0.5).float()
    each = torch.ones(3)
    return torch.stack([start[:, None] * each, there * touched * width[:, None], column[:, None] * each], 1)


def _trails(c: Population, draws: Draws) -> Tensor:
    one = _one_band(draws, c.faults * RATES["trail"])
    offset, angle = draws.uniform(-0.5 * c.n_pix, 0.5 * c.n_pix), draws.uniform(0, math.pi)
    bright = one * draws.uniform(4, 30)[:, None]
    each = torch.ones(3)
    return torch.stack([offset[:, None] * each, angle[:, None] * each, bright], 1)


def _scaling(c: Population, draws: Draws) -> tuple[Tensor, Tensor]:
    """How values are written, (n,), and the factors of the bands, (n, 3)."""
    mixed = choice(draws.uniform(0, 1), MIXED)
    factor = 10 ** (draws.uniform(-1.8, 1.2)[:, None] + 0.04 * normal(draws, 3))
    if c.scaling == "mixed":
        return mixed, factor
    return torch.full_like(mixed, SCALINGS.index(c.scaling)), torch.ones_like(factor)
