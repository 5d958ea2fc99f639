"""The sky of a scene: profiles on a grid, finer than the pixels and wider than the frame.

The formulas are those of :mod:`deeplense_core.sim.profiles`, with the elementary functions of PyTorch: these
recipes run eagerly, where each operation of a polynomial is a pass over memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeplense_core.sim.galaxies.scene import Lens, Pattern, Profiles, Stars

FINE = 2
"""Points of the sky along a side of a pixel."""
PAD = 8
"""Pixels of sky beyond the frame on each side, and reach of the point-spread function."""
PATCH = 40
"""Fine points along a side of the square in which a small object is drawn."""
_SOFT = 0.35
"""Softening of a profile's centre, in fine points: a cusp between two points is neither missed nor doubled."""


def steepness(n: Tensor) -> Tensor:
    """``b = 1.9992 n - 0.3271`` of a Sersic profile (Capaccioli 1989)."""
    return 1.9992 * n - 0.3271


def sersic_amplitudes(flux: Tensor, R_e: Tensor, n: Tensor) -> Tensor:  # noqa: N803
    """Brightness at ``R_e`` in counts per square arcsec of profiles of this total flux (Graham & Driver 2005, eq. 4).

    ``flux`` may have bands as its last axis more than the others.
    """
    b = steepness(n)
    area = 2 * math.pi * n * R_e**2 * torch.exp(b - 2 * n * torch.log(b) + torch.lgamma(2 * n))
    return flux / (area[..., None] if flux.ndim > n.ndim else area)


def elliptical_sq(x: Tensor, y: Tensor, q: Tensor, phi: Tensor, unit: Tensor, soft: Tensor | float) -> Tensor:
    """Squared elliptical radius ``q x'^2 + y'^2 / q`` and its softening, in units of ``unit`` squared.

    As a form of second degree, so that axes that broadcast to a grid cost two passes over it.
    """
    cos, sin, scale = phi.cos(), phi.sin(), unit.square()
    xx = (q * cos.square() + sin.square() / q) / scale
    yy = (q * sin.square() + cos.square() / q) / scale
    xy = 2 * cos * sin * (q - 1 / q) / scale
    return torch.addcmul(xx * x * x + (yy * y * y + soft / scale), xy * x, y)


def sersic(radius_sq: Tensor, n: Tensor) -> Tensor:
    """``exp(-b (R^(1/n) - 1))`` of squared radii in units of R_e: brightness in units of that at R_e."""
    b = steepness(n)
    relative = radius_sq.log_().mul_(0.5 / n).add_(b.log()).exp_()
    return torch.sub(b, relative).exp_()


def grid(n_pix: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Where the sky is evaluated, in arcsec: x (n, 1, g) and y (n, g, 1)."""
    count = FINE * (n_pix + 2 * PAD)
    axis = (torch.arange(count, device=scale.device, dtype=scale.dtype) - (count - 1) / 2) / FINE
    return axis * scale[:, None, None], axis[:, None] * scale[:, None, None]


def pixels(n_pix: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Middles of the frame's pixels in arcsec: x (n, 1, w) and y (n, h, 1)."""
    axis = torch.arange(n_pix, device=scale.device, dtype=scale.dtype) - (n_pix - 1) / 2
    return axis * scale[:, None, None], axis[:, None] * scale[:, None, None]


def profiles(x: Tensor, y: Tensor, p: Profiles, soft: Tensor) -> Tensor:
    """Light of profiles in counts per square arcsec on a grid, (n, b, g, g)."""
    amplitude = sersic_amplitudes(p.flux, p.R_e, p.n)  # (n, k, b)
    shapes = []
    for k in range(p.x.shape[1]):
        x0, y0, R_e, n, q, phi = (value[:, k, None, None] for value in p[:6])  # noqa: N806
        shapes.append(sersic(elliptical_sq(x - x0, y - y0, q, phi, R_e, soft), n))
    return _painted(torch.stack(shapes, 1), amplitude)


def _painted(shapes: Tensor, amplitude: Tensor) -> Tensor:
    """Sum of shapes (n, k, g, g), each in its brightness in every band (n, k, b): (n, b, g, g)."""
    light = amplitude.mT @ shapes.flatten(2)
    return light.reshape(*light.shape[:2], *shapes.shape[2:])


def clumps(x: Tensor, y: Tensor, p: Profiles) -> Tensor:
    """Light of round Gaussians (n = 0.5), (n, 1, g, g), of one colour: the fluxes are (n, k, 1)."""
    amplitude = sersic_amplitudes(p.flux, p.R_e, p.n)
    b = float(steepness(torch.tensor(0.5)))
    total = torch.zeros_like(x)
    for k in range(p.x.shape[1]):
        x0, y0, R_e = (value[:, k, None, None] for value in p[:3])  # noqa: N806
        radius_sq = torch.addcmul((x - x0).square_(), y - y0, y - y0).mul_(-b / R_e.square()).add_(b)
        total += radius_sq.exp_().mul_(amplitude[:, k, :, None])
    return total[:, None]


def pattern(x: Tensor, y: Tensor, p: Pattern, area: Tensor) -> Tensor:
    """Discs with arms, rings and tails, (n, 1, g, g); their light is normalised on the grid.

    In the plane of the disc, (R, t) the polar coordinates: arms are ``exp(s (cos(m (t - w ln R) - phase) - 1))`` on
    an exponential disc that is empty inside; a ring is a Gaussian around its radius, with ``m`` bright places; a tail
    is a ring of one bright place whose radius grows with t as ``exp(w t)``.
    """
    v = Pattern(*(value[:, None, None] for value in p))
    cos, sin = v.phi.cos(), v.phi.sin()
    dx, dy = x - v.x, y - v.y
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    radius = (along.square() * v.q + across.square() / v.q).add_(1e-6).sqrt_() / v.radius
    angle = torch.atan2(across, along * v.q)
    ring = v.width > 0
    wound = torch.where(ring, angle, angle - v.winding * radius.log())
    bright = torch.exp(v.sharpness * (torch.cos(v.arms * wound - v.phase) - 1))
    middle = torch.where(ring, torch.exp(v.winding * torch.remainder(angle - v.phase + math.pi, 2 * math.pi)
                                         - v.winding * math.pi), 1.0)
    from_ring = (radius - middle) * v.radius / v.width.clamp_min(1e-3)
    disc = torch.exp(-1.678 * radius) * (1 - torch.exp(-6 * radius.square()))
    shape = torch.where(ring, torch.exp(-0.5 * from_ring.square()), disc) * (1 - v.contrast + v.contrast * bright)
    return (shape * (v.flux / (shape.sum((1, 2), keepdim=True) * area)))[:, None]


def lensed_source(x: Tensor, y: Tensor, lens: Lens, source: Profiles, soft: Tensor) -> Tensor:
    """Light of sources behind lenses, each a galaxy and its clumps, all of one colour; (n, 1, g, g)."""
    # Imports caustics, which takes seconds: not before something is rendered.
    from deeplense_core.sim.profiles import Ellipsoid, per_image, shear_deflection, sie_deflection

    dx, dy = x - per_image(lens.x), y - per_image(lens.y)
    ax, ay = sie_deflection(dx, dy, Ellipsoid.of(lens.theta_E, lens.q, lens.phi))
    sx, sy = shear_deflection(dx, dy, per_image(lens.gamma1), per_image(lens.gamma2))
    at_x, at_y = dx - sx - ax, dy - sy - ay
    galaxy, rest = (Profiles(*(value[:, part] for value in source)) for part in (slice(0, 1), slice(1, None)))
    return profiles(at_x, at_y, galaxy, soft) + clumps(at_x, at_y, rest)


def add_patches(sky: Tensor, scale: Tensor, p: Profiles) -> None:
    """Adds small objects to the sky (n, b, g, g), each drawn in a square of its own that fades out at its edge."""
    image, k = (p.flux.amax(2) > 0).nonzero(as_tuple=True)
    if not len(image):
        return
    side, step = sky.shape[-1], (scale / FINE)[image]
    some = Profiles(*(value[image, k] for value in p))
    # Where the square begins, kept inside the grid, and the object's place in it, in fine points.
    place = [(value / step + (side - 1) / 2) for value in (some.x, some.y)]
    first = [(at - (PATCH - 1) / 2).round().clamp(0, side - PATCH) for at in place]
    axis = torch.arange(PATCH, device=sky.device, dtype=sky.dtype)
    dx, dy = ((axis - (at - start)[:, None]) * step[:, None] for at, start in zip(place, first, strict=True))
    dx, dy = dx[:, None, :], dy[:, :, None]
    R_e, n, q, phi = (value[:, None, None] for value in some[2:6])  # noqa: N806
    shape = sersic(elliptical_sq(dx, dy, q, phi, R_e, (_SOFT * step[:, None, None]) ** 2), n)
    edge = (PATCH / 2 * step)[:, None, None]
    shape = shape * (1 - ((dx.square() + dy.square()) / edge**2).square()).clamp_min(0).square()
    light = shape[:, None] * sersic_amplitudes(some.flux, some.R_e, some.n)[:, :, None, None]
    rows, columns = (start.long()[:, None] + axis.long() for start in (first[1], first[0]))
    bands = torch.arange(sky.shape[1], device=sky.device)
    sky.index_put_((image[:, None, None, None], bands[:, None, None], rows[:, None, :, None],
                    columns[:, None, None, :]), light, accumulate=True)


def soft_sq(scale: Tensor) -> Tensor:
    """Squared softening of centres in arcsec^2, (n, 1, 1), for pixels of this scale."""
    return ((_SOFT / FINE) * scale[:, None, None]) ** 2


def spikes(x: Tensor, y: Tensor, stars: Stars, fwhm: Tensor) -> Tensor:
    """Diffraction spikes of the stars as the camera sees them, in counts per square arcsec; (n, b, h, w).

    Two lines at right angles, as thin as the seeing, that fade as an exponential of the distance.
    """
    out = x.new_zeros(len(x), stars.flux.shape[2], y.shape[1], x.shape[2])
    for k in range(stars.x.shape[1]):
        rows = ((stars.flux[:, k].amax(1) > 0) & (stars.spikes[:, k] > 0)).nonzero()[:, 0]
        if not len(rows):
            continue
        x0, y0, part, angle = (value[rows, k, None, None] for value in stars[:4])
        width = 0.45 * fwhm[rows].mean(1)[:, None, None]
        length = 4 * width
        dx, dy = x[rows] - x0, y[rows] - y0
        along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
        cross = sum(torch.exp(-0.5 * (b / width).square() - a.abs() / length)
                    for a, b in ((along, across), (across, along)))  # fmt: skip
        norm = 2 * math.sqrt(2 * math.pi) * width * 2 * length
        out[rows] += (part * cross / norm)[:, None] * stars.flux[rows, k][:, :, None, None]
    return out
