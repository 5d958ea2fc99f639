"""Draws fields of galaxies: what may matter by the class, and everything else without a look at it.

Colours, brightness of the main galaxy, neighbours, seeing, depth, faults and scaling come first and are the same in
distribution for every class; so is the signal to noise of arcs and of what could be taken for them. With matched
classes they are the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deeplense_core.sim.galaxies.imitations import draw_knots, draw_pattern
from deeplense_core.sim.galaxies.observing import draw_survey
from deeplense_core.sim.galaxies.random import choice, colours, log_uniform, normal, own_normal, shared
from deeplense_core.sim.galaxies.scene import (
    DISC,
    EDGE_ON,
    ELLIPTICAL,
    EMPTY,
    KINDS,
    LENS,
    MERGER,
    RING,
    SPIRAL,
    STAR,
    ZERO_POINT,
    GalaxyScene,
    Lens,
    Profiles,
    Stars,
)
from deeplense_core.sim.scene import Draws

if TYPE_CHECKING:
    from deeplense_core.sim.recipes.lens_finding import EasyConfig as Population

PLAIN = {ELLIPTICAL: 0.5, DISC: 0.3, EMPTY: 0.2}
LOOK_ALIKE = {SPIRAL: 0.22, RING: 0.18, MERGER: 0.18, EDGE_ON: 0.12, KINDS.index("companions"): 0.2, STAR: 0.1}
"""Parts of the non-lenses, of each sort."""
CLUMPS, AROUND = 4, 10
RED, BLUE = ((1.25, 0.28), (0.55, 0.15)), ((0.6, 0.22), (0.25, 0.12))
"""Mean and scatter of g-r and r-i of galaxies as they are observed at redshifts of 0.2 to 0.8."""
SOURCE = ((0.2, 0.25), (0.1, 0.15))
RED_PART, RED_SOURCES = 0.7, 0.15


def draw(c: Population, draws: Draws, labels: Tensor, bands: list[int]) -> GalaxyScene:
    """Fields for labels (0 lens, 1 not), seen in those of the bands g, r, i."""
    survey = draw_survey(c, draws, bands)
    repaint = _repaint(c, draws)
    main_mag = c.mag_min + (c.mag_max - c.mag_min) * draws.uniform(0, 1) ** 0.7
    red = draws.uniform(0, 1) < RED_PART
    main_colour = torch.where(red[:, None], colours(draws, *RED), colours(draws, *BLUE))
    extra_colour = torch.where(draws.uniform(0, 1)[:, None] < RED_SOURCES, colours(draws, (0.9, 0.3), (0.4, 0.2)),
                               colours(draws, *SOURCE))
    around = _around(c, draws, survey.pixel_scale)
    snr = log_uniform(draws, c.snr_min, c.snr_max)

    kind = _kinds(c, draws, labels)
    galaxy = _galaxy(draws, kind, main_mag, main_colour)
    lens = _lens(c, draws, galaxy)
    source = _source(draws, lens.theta_E)
    pattern = draw_pattern(draws, kind, galaxy)
    knots = draw_knots(draws, kind, galaxy, pattern)
    stars = _stars(c, draws, kind, main_mag, survey.pixel_scale)
    # Spirals and mergers have more of it than arcs do, as on the sky.
    snr = snr * torch.where(kind == SPIRAL, 3.0, torch.where(kind == MERGER, 1.4, 1.0))

    def paint(flux: Tensor) -> Tensor:
        return repaint(flux)[..., bands]

    observed = {
        "main_mag": main_mag, "main_g_r": main_colour[:, 0], "extra_g_r": extra_colour[:, 0],
        **{f"fwhm_{'gri'[band]}": survey.fwhm[:, i] for i, band in enumerate(bands)},
        **{f"depth_{'gri'[band]}": survey.depth[:, i] for i, band in enumerate(bands)},
    }  # fmt: skip
    return GalaxyScene(
        kind=kind, galaxy=galaxy._replace(flux=paint(galaxy.flux)), lens=lens,
        source=source, pattern=pattern, knots=knots, around=around._replace(flux=paint(around.flux)),
        stars=stars._replace(flux=paint(stars.flux)), extra_sed=paint(_sed(extra_colour)), extra_snr=snr,
        survey=survey, extra=observed,
    )  # fmt: skip


def _sed(colour: Tensor) -> Tensor:
    """Flux in g, r, i in units of that in r, (n, ..., 3), of colours g-r and r-i, (n, ..., 2)."""
    return 10 ** (-0.4 * torch.stack([colour[..., 0], torch.zeros_like(colour[..., 0]), -colour[..., 1]], -1))


def _repaint(c: Population, draws: Draws) -> Callable[[Tensor], Tensor]:
    """A function that changes all colours of an image alike: what a finder must not judge by."""
    factor = 10 ** (0.4 * c.colour_scatter * normal(draws, 3))
    grey = draws.uniform(0, 1) < c.grey

    def repaint(flux: Tensor) -> Tensor:
        shape = (len(grey),) + (1,) * (flux.ndim - 1)
        flux = torch.where(grey.reshape(shape), flux[..., 1:2], flux)
        return flux * factor.reshape(len(grey), *(1,) * (flux.ndim - 2), 3)

    return repaint


def _kinds(c: Population, draws: Draws, labels: Tensor) -> Tensor:
    looks_alike = draws.own(0, 1) < c.lookalikes
    u = draws.own(0, 1)
    kind = torch.where(looks_alike, choice(u, LOOK_ALIKE), choice(u, PLAIN))
    return torch.where(labels == 0, LENS, kind)


def _galaxy(draws: Draws, kind: Tensor, mag: Tensor, colour: Tensor) -> Profiles:
    """The main galaxy in two components, (n, 2): an elliptical and its halo, bulge and disc, or two that merge."""
    total = 10 ** (0.4 * (ZERO_POINT - mag))
    radius = 10 ** (0.08 - 0.15 * (mag - 18.5) + 0.13 * normal(draws)).clamp(-0.6, 0.6)
    x, y = (0.1 * normal(draws) for _ in range(2))
    q, phi = draws.uniform(0.5, 0.98), draws.uniform(0, math.pi)
    share, index = draws.uniform(0.35, 1.25).clamp_max(1.0), draws.uniform(2, 6)
    halo_q, halo_phi = (q + 0.1 * normal(draws)).clamp(0.35, 1), phi + 0.15 * normal(draws)
    bulge, disc_n = draws.uniform(0.05, 0.5), draws.uniform(0.8, 1.3)
    face_q, thin_q = draws.uniform(0.4, 0.98), draws.uniform(0.1, 0.2)
    apart, where, ratio = draws.own(0.6, 2.6), draws.own(0, 2 * math.pi), draws.own(0.15, 0.9)
    elliptical_disc, edge_alone = draws.own(0, 1) < 0.15, draws.own(0, 1) < 0.5

    thin = (kind == EDGE_ON) & edge_alone
    disc = (kind == DISC) | (kind == SPIRAL) | thin | ((kind == LENS) & elliptical_disc)
    merging = kind == MERGER

    def second(elliptical: Tensor, of_disc: Tensor, of_merger: Tensor) -> Tensor:
        return torch.where(merging, of_merger, torch.where(disc, of_disc, elliptical))

    first_part = second(share, bulge, 1 / (1 + ratio))
    disc_q = torch.where(thin, thin_q, face_q)
    parts = torch.stack([first_part, 1 - first_part], 1) * total[:, None]
    parts = parts * torch.where(kind == EMPTY, 0.02, torch.where(kind == STAR, 1e-3, 1.0))[:, None]
    bluer = torch.where(disc, draws.uniform(0, 0.5), torch.where(merging, draws.own(-0.4, 0.4), 0.05))
    both = torch.stack([colour, colour - bluer[:, None] * torch.tensor([1.0, 0.5])], 1)
    return Profiles(
        x=torch.stack([x, x + torch.where(merging, apart * where.cos(), 0.0)], 1),
        y=torch.stack([y, y + torch.where(merging, apart * where.sin(), 0.0)], 1),
        R_e=torch.stack([second(radius * 0.8, 0.35 * radius, radius), second(
            2.2 * radius, 1.2 * radius, 0.7 * radius)], 1).clamp_min(0.15),
        n=torch.stack([second(index, 0.5 * index + 0.5, index), second(0 * index + 1.2, disc_n, 0.6 * index)], 1),
        q=torch.stack([torch.where(thin, face_q.clamp_min(0.6), q), second(halo_q, disc_q, face_q)], 1),
        phi=torch.stack([phi, second(halo_phi, phi, where)], 1),
        flux=parts[:, :, None] * _sed(both),
    )  # fmt: skip


def _lens(c: Population, draws: Draws, galaxy: Profiles) -> Lens:
    """Mass about the main galaxy, nearly as round and as turned as its light."""
    shear, angle = draws.own(0, 0.1), draws.own(0, math.pi)
    return Lens(
        x=galaxy.x[:, 0], y=galaxy.y[:, 0], theta_E=draws.own(c.theta_E_min, c.theta_E_max),
        q=(galaxy.q[:, 0] + 0.1 * own_normal(draws)).clamp(0.45, 0.98),
        phi=galaxy.phi[:, 0] + 0.15 * own_normal(draws),
        gamma1=shear * (2 * angle).cos(), gamma2=shear * (2 * angle).sin(),
    )  # fmt: skip


def _source(draws: Draws, theta_E: Tensor) -> Profiles:  # noqa: N803
    """A galaxy with clumps, near enough to be seen more than once; its flux is 1 count until S/N decides."""
    offset, where = 0.5 * theta_E * draws.own(0, 1), draws.own(0, 2 * math.pi)
    radius = torch.exp(draws.own(math.log(0.06), math.log(0.45)))
    x, y = offset * where.cos(), offset * where.sin()
    number, share = draws.own(0, 1) * (CLUMPS + 1), draws.own(0.1, 0.7)
    far, turn = draws.own(0.2, 1.6, CLUMPS), draws.own(0, 2 * math.pi, CLUMPS)
    there = (torch.arange(CLUMPS) < number[:, None].floor()).float()
    weight = there * draws.own(0.2, 1, CLUMPS)
    weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-9) * share[:, None]
    own = torch.where(there.any(1), 1 - share, 1.0)
    sizes = (radius[:, None] * draws.own(0.1, 0.35, CLUMPS)).clamp_min(0.02)
    ones = torch.ones_like(sizes)

    def joined(galaxy: Tensor, clumps: Tensor) -> Tensor:
        return torch.cat([galaxy[:, None], clumps], 1)

    return Profiles(
        x=joined(x, x[:, None] + radius[:, None] * far * turn.cos()),
        y=joined(y, y[:, None] + radius[:, None] * far * turn.sin()),
        R_e=joined(radius, sizes), n=joined(draws.own(0.6, 2.2), 0.5 * ones), q=joined(draws.own(0.35, 1), ones),
        phi=joined(draws.own(0, math.pi), 0 * ones), flux=joined(own, weight)[:, :, None],
    )  # fmt: skip


def _around(c: Population, draws: Draws, pixel_scale: Tensor) -> Profiles:
    """Small galaxies anywhere in the frame but on the main one: none, some or many."""
    u, number = draws.uniform(0, 1), draws.uniform(0, 1)
    number = torch.where(u < 0.25, 0.0, torch.where(u < 0.75, 1 + 3.99 * number, 5 + 5.99 * number)).floor()
    half = 0.53 * c.n_pix * pixel_scale[:, None]
    x, y = (shared(draws, -1, 1, AROUND) * half for _ in range(2))
    there = (torch.arange(AROUND) < number[:, None]) & (x.square() + y.square() > 1.5**2)
    mag = 25.2 - 5 * shared(draws, 0, 1, AROUND).square()
    g_r = shared(draws, -0.1, 1.7, AROUND)
    colour = torch.stack([g_r, 0.4 * g_r + 0.1 * normal(draws, AROUND)], -1)
    radius = 10 ** (-0.25 - 0.1 * (mag - 21) + 0.15 * normal(draws, AROUND)).clamp(-1, -0.2)
    return Profiles(
        x=x, y=y, R_e=radius, n=shared(draws, 0.7, 3, AROUND), q=shared(draws, 0.3, 1, AROUND),
        phi=shared(draws, 0, math.pi, AROUND),
        flux=(there * 10 ** (0.4 * (ZERO_POINT - mag)))[..., None] * _sed(colour),
    )  # fmt: skip


def _stars(c: Population, draws: Draws, kind: Tensor, main_mag: Tensor, pixel_scale: Tensor) -> Stars:
    """The star in the middle of an image that shows one, and two anywhere in the field, seldom there."""
    half = 0.5 * c.n_pix * pixel_scale[:, None]
    x, y = (shared(draws, -1, 1, 2) * half for _ in range(2))
    there = (shared(draws, 0, 1, 2) < 0.15) & (x.square() + y.square() > 1.5**2)
    mag = shared(draws, 17.5, 23, 2)
    g_r = torch.stack([draws.own(0.1, 1.5), *(draws.uniform(0.1, 1.5) for _ in range(2))], 1)
    spiked = torch.stack([0.06 * draws.own(0, 1), *(0.05 * draws.uniform(0, 1) for _ in range(2))], 1)
    angle = draws.uniform(0, math.pi / 2)[:, None].expand(-1, 3)
    middle = (0.1 * own_normal(draws))[:, None]
    flux = torch.cat([((kind == STAR) * 10 ** (0.4 * (ZERO_POINT - main_mag)))[:, None],
                      there * 10 ** (0.4 * (ZERO_POINT - mag))], 1)
    return Stars(x=torch.cat([middle, x], 1), y=torch.cat([middle, y], 1), spikes=spiked, angle=angle.contiguous(),
                 flux=flux[..., None] * _sed(torch.stack([g_r, 0.45 * g_r], -1)))
