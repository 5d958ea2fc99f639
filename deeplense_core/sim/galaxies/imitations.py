"""What can be taken for an arc: spiral arms, rings, tidal tails, and small blue objects around a galaxy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeplense_core.sim.galaxies.scene import COMPANIONS, EDGE_ON, MERGER, RING, SPIRAL, Pattern, Profiles
from deeplense_core.sim.scene import Draws

KNOTS = 5


def draw_pattern(draws: Draws, kind: Tensor, galaxy: Profiles) -> Pattern:
    """Arms of spirals, rings, tails of mergers; without flux in other images."""
    spiral, ring, tail = kind == SPIRAL, kind == RING, kind == MERGER

    def by_kind(of_spiral: Tensor, of_ring: Tensor, of_tail: Tensor) -> Tensor:
        return torch.where(spiral, of_spiral, torch.where(ring, of_ring, of_tail))

    sign = torch.where(draws.own(0, 1) < 0.5, 1.0, -1.0)
    winding = sign / torch.tan(torch.deg2rad(draws.own(12, 32)))
    few = 2 + (draws.own(0, 1) ** 2 * 2.99).floor()
    zero = torch.zeros_like(sign)
    return Pattern(
        x=galaxy.x[:, 0], y=galaxy.y[:, 0],
        q=by_kind(galaxy.q[:, 1], draws.own(0.55, 1), draws.own(0.6, 1)),
        phi=by_kind(galaxy.phi[:, 1], draws.own(0, math.pi), draws.own(0, math.pi)),
        radius=by_kind(draws.own(0.5, 1.2), draws.own(0.7, 2.3), draws.own(0.8, 2.4)),
        width=by_kind(zero, draws.own(0.08, 0.3), draws.own(0.1, 0.3)),
        arms=by_kind(few, 1 + (3 * draws.own(0, 1)).floor(), zero + 1),
        winding=by_kind(winding, zero, draws.own(-0.25, 0.25)),
        sharpness=by_kind(draws.own(1.5, 6), draws.own(0.5, 3), draws.own(1.2, 5)),
        contrast=by_kind(draws.own(0.65, 1), draws.own(0, 0.8), zero + 1),
        phase=draws.own(0, 2 * math.pi),
        flux=(spiral | ring | tail).float(),
    )  # fmt: skip


def draw_knots(draws: Draws, kind: Tensor, galaxy: Profiles, arms: Pattern) -> Profiles:
    """Companions at about one distance, a thin disc that lies along a circle, or bright places in spiral arms."""
    spiral, companions, thin = kind == SPIRAL, kind == COMPANIONS, kind == EDGE_ON
    index = torch.arange(KNOTS)
    number = torch.where(companions, 1 + (3.99 * draws.own(0, 1)).floor(),
                         torch.where(spiral, (KNOTS + 0.99) * draws.own(0, 1), thin.float())).floor()
    around, scatter = draws.own(0.7, 2.4), draws.own(0.8, 1.2, KNOTS)
    angle = draws.own(0, 2 * math.pi, KNOTS)
    opposite = (draws.own(0, 1) < 0.4)[:, None] & (index % 2 == 1)
    angle = torch.where(opposite, angle.roll(1, 1) + math.pi + draws.own(-0.3, 0.3, KNOTS), angle)
    radius = around[:, None] * scatter
    x, y = radius * angle.cos(), radius * angle.sin()
    on_x, on_y = _on_arms(arms, radius, draws.own(0, 1, KNOTS))
    x, y = torch.where(spiral[:, None], on_x, x), torch.where(spiral[:, None], on_y, y)

    tangential = thin[:, None] | (draws.own(0, 1, KNOTS) < 0.5)
    phi = torch.where(tangential, angle + math.pi / 2 + draws.own(-0.2, 0.2, KNOTS), draws.own(0, math.pi, KNOTS))
    size = torch.where(thin[:, None], draws.own(0.35, 0.65, KNOTS), draws.own(0.06, 0.35, KNOTS))
    size = torch.where(spiral[:, None], 0.6 * size, size)
    q = torch.where(thin[:, None], draws.own(0.12, 0.25, KNOTS), draws.own(0.3, 1, KNOTS))
    share = torch.where(spiral, 0.12, 1.0)[:, None] * draws.own(0.3, 1, KNOTS) * (index < number[:, None])
    return Profiles(
        x=galaxy.x[:, :1] + x, y=galaxy.y[:, :1] + y, R_e=size, n=draws.own(0.6, 1.6, KNOTS), q=q, phi=phi,
        flux=share[:, :, None],
    )  # fmt: skip


def _on_arms(p: Pattern, radius: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Places on the spiral arms at these elliptical radii (n, k), from the middle; ``u`` chooses the arm."""
    arm = (u * p.arms[:, None]).floor()
    turn = (p.phase[:, None] + 2 * math.pi * arm) / p.arms[:, None]
    turn = turn + p.winding[:, None] * (radius / p.radius[:, None]).log()
    q = p.q[:, None].sqrt()
    along, across = radius * turn.cos() / q, radius * turn.sin() * q
    cos, sin = p.phi.cos()[:, None], p.phi.sin()[:, None]
    return along * cos - across * sin, along * sin + across * cos
