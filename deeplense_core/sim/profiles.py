"""Lens and light profiles as pure functions of tensors, in float32 or float64, eager or compiled.

Angles are in arcsec, position angles in radians from the x axis, and elliptical radii are averaged as a
product: ``sqrt(q x^2 + y^2 / q)``. What needs no speed is caustics' own. The ellipsoid, the Sersic profile and
the sum over point masses are caustics' formulas with faster elementary functions (ten times, fused on a CPU),
split in two: constants of one system, taken once, and the work of one pixel. Tests hold every function against
caustics and lenstronomy. Importing caustics takes seconds: import this module where something is simulated.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from caustics.lenses.func.external_shear import reduced_deflection_angle_external_shear
from caustics.lenses.func.point import mass_to_rein_point
from caustics.lenses.func.sie import convergence_sie
from caustics.lenses.func.sis import reduced_deflection_angle_sis
from caustics.light.func.sersic import k_lenstronomy
from torch import Tensor

from deeplense_core.sim.fastmath import atan_ratio, atanh_ratio, exp2, log2

CORE_ARCSEC = 1e-10
"""Core radius that keeps a halo finite on its own centre; lenstronomy uses the same."""
CLOSEST_SQ_ARCSEC = 1e-12
"""Softening of the squared distance to a point mass, for a pixel exactly on it."""
LIGHTEST_SQ_ARCSEC = 1e-15
"""Smallest squared Einstein radius of a point mass; what is lighter pulls as this, which is nothing."""


def per_image(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1), to broadcast against images."""
    return values[:, None, None]


def rotate(x: Tensor, y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates in axes turned by the angle of ``cos`` and ``sin``."""
    return x * cos + y * sin, y * cos - x * sin


class Ellipsoid(NamedTuple):
    """Constants of singular isothermal ellipsoids, (n, 1, 1) each; see :func:`sie_deflection`."""

    cos: Tensor
    sin: Tensor
    q_sq: Tensor
    flattening: Tensor
    strength: Tensor

    @classmethod
    def of(cls, theta_E: Tensor, q: Tensor, phi: Tensor) -> Ellipsoid:
        """From Einstein radius in arcsec, axis ratio and position angle in radians, (n,) each."""
        q = q.clamp_max(1 - 1e-6)  # the formula is 0/0 for a sphere
        flattening = torch.sqrt(1 - q * q)
        strength = theta_E * torch.sqrt(q) / flattening
        return cls(*map(per_image, (phi.cos(), phi.sin(), q * q, flattening, strength)))


def sie_deflection(x: Tensor, y: Tensor, lens: Ellipsoid) -> tuple[Tensor, Tensor]:
    """Deflection in arcsec of ``kappa = theta_E / (2 sqrt(q x^2 + y^2/q))`` about the origin.

    Keeton 2002, astro-ph/0102341, equations 34 and 35, as in caustics.
    """
    x, y = rotate(x, y, lens.cos, lens.sin)
    psi = torch.sqrt(lens.q_sq * (x * x) + y * y) + CORE_ARCSEC
    along = lens.strength * atan_ratio(lens.flattening * x, psi)
    across = lens.strength * atanh_ratio(lens.flattening * y, psi)
    return rotate(along, across, lens.cos, -lens.sin)


def sis_deflection(x: Tensor, y: Tensor, theta_E: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a singular isothermal sphere at the origin, in arcsec."""
    return reduced_deflection_angle_sis(0.0, 0.0, theta_E, x, y, CORE_ARCSEC)


def sie_convergence(x: Tensor, y: Tensor, theta_E: Tensor, q: Tensor, phi: Tensor) -> Tensor:
    """Convergence of :func:`sie_deflection`, without unit."""
    return convergence_sie(0.0, 0.0, q, phi, theta_E, x, y, CORE_ARCSEC)


def shear_deflection(x: Tensor, y: Tensor, gamma1: Tensor, gamma2: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection ``(g1 x + g2 y, g2 x - g1 y)`` of an external shear about the origin, in arcsec."""
    return reduced_deflection_angle_external_shear(0.0, 0.0, gamma1, gamma2, x, y)


class PointMasses(NamedTuple):
    """Point masses as seen from the columns and rows of a grid, two by two; see :func:`pair_deflection`.

    Each is a pair of tensors: the masses of even number, and those of odd number, k/2 of each.
    """

    dx: tuple[Tensor, Tensor]
    """Distance along x in arcsec, (n, k/2, 1, w)."""
    dx_sq: tuple[Tensor, Tensor]
    """Its square over the squared Einstein radius."""
    dy: tuple[Tensor, Tensor]
    """Distance along y in arcsec, (n, k/2, h, 1)."""
    dy_sq: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, mass_x: Tensor, mass_y: Tensor, theta_E_sq: Tensor) -> PointMasses:
        """From the grid's axes (w,) and (h,), positions in arcsec (n, k) and squared Einstein radii (n, k)."""
        if mass_x.shape[1] % 2:  # one without mass makes the number even
            mass_x, mass_y, theta_E_sq = (torch.nn.functional.pad(v, (0, 1)) for v in (mass_x, mass_y, theta_E_sq))
        weight = 1 / theta_E_sq.clamp_min(LIGHTEST_SQ_ARCSEC)[:, :, None, None]
        dx = x - mass_x[:, :, None, None]
        dy = (y - mass_y[:, :, None])[..., None]
        values = dx, dx * dx * weight, dy, (dy * dy + CLOSEST_SQ_ARCSEC) * weight
        return cls(*((v[:, 0::2].contiguous(), v[:, 1::2].contiguous()) for v in values))

    def pair(self, index: int) -> PointMasses:
        """One pair of masses."""
        return PointMasses(*((even[:, index], odd[:, index]) for even, odd in self))


def pair_deflection(masses: PointMasses) -> tuple[Tensor, Tensor]:
    """Deflection ``theta_E^2 r / |r|^2`` of two point masses, summed, in arcsec: one division serves both."""
    even_sq, odd_sq = (a + b for a, b in zip(masses.dx_sq, masses.dy_sq, strict=True))
    inverse = torch.reciprocal(even_sq * odd_sq)
    even, odd = odd_sq * inverse, even_sq * inverse
    return even * masses.dx[0] + odd * masses.dx[1], even * masses.dy[0] + odd * masses.dy[1]


def point_masses_deflection(masses: PointMasses) -> tuple[Tensor, Tensor]:
    """Summed deflection of all point masses in arcsec, (n, h, w), a pair at a time."""
    total_x, total_y = pair_deflection(masses.pair(0))
    for index in range(1, masses.dx[0].shape[1]):
        ax, ay = pair_deflection(masses.pair(index))
        total_x, total_y = total_x + ax, total_y + ay
    return total_x, total_y


class Sersic(NamedTuple):
    """Constants of elliptical Sersic profiles, (n, 1, 1) each; see :func:`sersic_brightness`."""

    x: Tensor
    y: Tensor
    cos: Tensor
    sin: Tensor
    along: Tensor
    across: Tensor
    half_power: Tensor
    steepness: Tensor
    amplitude: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, R_e: Tensor, n: Tensor, q: Tensor, phi: Tensor, amplitude: Tensor) -> Sersic:
        """From centre and half-light radius in arcsec, index, axis ratio, angle, brightness at R_e; (n,) each."""
        steepness = k_lenstronomy(n) / math.log(2)
        values = (x, y, phi.cos(), phi.sin(), q / R_e**2, 1 / (q * R_e**2), 0.5 / n, steepness, amplitude)
        return cls(*map(per_image, values))


def sersic_brightness(x: Tensor, y: Tensor, source: Sersic) -> Tensor:
    """Surface brightness ``amplitude * exp(-b ((R/R_e)^(1/n) - 1))`` with ``b = 1.9992 n - 0.3271``."""
    along, across = rotate(x - source.x, y - source.y, source.cos, source.sin)
    radius_sq = source.along * (along * along) + source.across * (across * across) + 1e-20
    relative = exp2(source.half_power * log2(radius_sq))
    return source.amplitude * exp2(source.steepness * (1.0 - relative))


def sersic_amplitude(flux: float, R_e: float, n: float) -> float:
    """Amplitude at ``R_e`` (flux per arcsec^2) of a Sersic profile whose total flux is ``flux``.

    Graham & Driver 2005, equation 4; ``R_e`` in arcsec. The axis ratio drops out of a product average.
    """
    b = k_lenstronomy(n)
    return flux / (2 * math.pi * n * R_e**2 * math.exp(b) * b ** (-2 * n) * math.gamma(2 * n))


@cache
def einstein_radius_arcsec(mass_msun: float, z_lens: float, z_source: float, luminosity: bool = False) -> float:
    """Einstein radius of a point mass in arcsec: ``sqrt(4 G M / c^2 * D_ls / (D_l D_s))``.

    Args:
        mass_msun: Mass in solar masses.
        z_lens, z_source: Redshifts, in a flat LCDM with H0 = 70 km/s/Mpc and Om0 = 0.3.
        luminosity: Use luminosity distances, the mistake in the published DeepLenseSim recipes.
    """
    from astropy.cosmology import FlatLambdaCDM

    cosmology: Any = FlatLambdaCDM(H0=70.0, Om0=0.3)  # pyright: ignore[reportCallIssue]
    comoving = [cosmology.comoving_distance(z).value for z in (z_lens, z_source)]
    if luminosity:
        d_l, d_s = comoving[0] * (1 + z_lens), comoving[1] * (1 + z_source)
        d_ls = d_s - d_l  # as published: a plain difference
    else:
        d_l, d_s = comoving[0] / (1 + z_lens), comoving[1] / (1 + z_source)
        d_ls = (comoving[1] - comoving[0]) / (1 + z_source)
    mass = torch.tensor(mass_msun, dtype=torch.float64)
    return float(mass_to_rein_point(mass, d_ls, d_l, d_s))


def ellipticity_to_axes(e1: float, e2: float) -> tuple[float, float]:
    """Axis ratio and position angle (radians) of the ellipticity components ``e1``, ``e2``."""
    size = math.hypot(e1, e2)
    return (1 - size) / (1 + size), math.atan2(e2, e1) / 2


def gaussian_taps(sigma_pixels: float, radius: int) -> list[float]:
    """One-dimensional Gaussian sampled at whole pixels from ``-radius`` to ``radius``, summing to one."""
    if radius == 0:
        return [1.0]
    weights = [math.exp(-0.5 * (i / sigma_pixels) ** 2) for i in range(-radius, radius + 1)]
    return [w / sum(weights) for w in weights]


def blur(image: Tensor, taps: list[float]) -> Tensor:
    """Convolves (n, h, w) with a separable symmetric kernel; the frame loses its radius on each side."""
    radius = len(taps) // 2
    height, width = image.shape[-2] - 2 * radius, image.shape[-1] - 2 * radius
    rows = image[..., :height, :] * taps[0]
    for i, tap in enumerate(taps[1:], 1):
        rows = rows + image[..., i:i + height, :] * tap
    columns = rows[..., :width] * taps[0]
    for i, tap in enumerate(taps[1:], 1):
        columns = columns + rows[..., i:i + width] * tap
    return columns
