"""Lens and light profiles as pure functions of tensors, in float32 or float64, eager or compiled.

Angles are in arcsec, position angles in radians from the x axis, and elliptical radii are averaged as a
product: ``sqrt(q x^2 + y^2 / q)``. The formulas are caustics'; what is added is its lazy import (it costs
seconds), this project's conventions, and a sum over many point masses that stays in registers.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace

import torch
from torch import Tensor

CORE_ARCSEC = 1e-10
"""Core radius that keeps a profile finite on its own centre; lenstronomy uses the same."""

CLOSEST_SQ_ARCSEC = 1e-20
"""Smallest squared distance to a point mass, for a pixel exactly on it."""


@cache
def caustics_functions() -> SimpleNamespace:
    """The functions of caustics used here, imported once and only when something is simulated."""
    from caustics.lenses.func.external_shear import reduced_deflection_angle_external_shear
    from caustics.lenses.func.point import mass_to_rein_point
    from caustics.lenses.func.sie import convergence_sie, reduced_deflection_angle_sie
    from caustics.lenses.func.sis import reduced_deflection_angle_sis
    from caustics.light.func.sersic import brightness_sersic, k_lenstronomy

    return SimpleNamespace(
        sie=reduced_deflection_angle_sie, sie_convergence=convergence_sie, sis=reduced_deflection_angle_sis,
        shear=reduced_deflection_angle_external_shear, sersic=brightness_sersic, k_sersic=k_lenstronomy,
        mass_to_einstein_radius=mass_to_rein_point,
    )


def sie_deflection(x: Tensor, y: Tensor, theta_E: Tensor, q: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a singular isothermal ellipsoid at the origin, ``kappa = theta_E / (2 sqrt(q x^2 + y^2/q))``.

    Args:
        x, y: Positions in arcsec.
        theta_E: Einstein radius (product average of the axes) in arcsec.
        q: Axis ratio in (0, 1].
        phi: Position angle of the major axis in radians.

    Returns:
        The two components in arcsec. Keeton 2002, astro-ph/0102341, equations 34 and 35.
    """
    return caustics_functions().sie(0.0, 0.0, q, phi, theta_E, x, y, CORE_ARCSEC)


def sis_deflection(x: Tensor, y: Tensor, theta_E: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a singular isothermal sphere at the origin, in arcsec."""
    return caustics_functions().sis(0.0, 0.0, theta_E, x, y, CORE_ARCSEC)


def sie_convergence(x: Tensor, y: Tensor, theta_E: Tensor, q: Tensor, phi: Tensor) -> Tensor:
    """Convergence of :func:`sie_deflection`, without unit."""
    return caustics_functions().sie_convergence(0.0, 0.0, q, phi, theta_E, x, y, CORE_ARCSEC)


def shear_deflection(x: Tensor, y: Tensor, gamma1: Tensor, gamma2: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection ``(g1 x + g2 y, g2 x - g1 y)`` of an external shear about the origin, in arcsec."""
    return caustics_functions().shear(0.0, 0.0, gamma1, gamma2, x, y)


def point_masses_deflection(
    x: Tensor, y: Tensor, mass_x: Tensor, mass_y: Tensor, theta_E_sq: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed deflection of k point masses, ``theta_E^2 r / |r|^2`` each, in arcsec.

    The loop is unrolled by the compiler, so the sum never leaves the registers: no (b, k, h, w) tensor.

    Args:
        x, y: Positions in arcsec, broadcastable against (b, 1, 1).
        mass_x, mass_y: Positions of the masses in arcsec, (b, k).
        theta_E_sq: Squared Einstein radii in arcsec^2, (b, k).
    """
    shape = torch.broadcast_shapes(x.shape, y.shape, (mass_x.shape[0], 1, 1))
    ax, ay = x.new_zeros(shape), x.new_zeros(shape)
    for k in range(mass_x.shape[1]):
        dx, dy = x - mass_x[:, k, None, None], y - mass_y[:, k, None, None]
        pull = theta_E_sq[:, k, None, None] / (dx * dx + dy * dy + CLOSEST_SQ_ARCSEC)
        ax, ay = ax + pull * dx, ay + pull * dy
    return ax, ay


def sersic_brightness(
    x: Tensor, y: Tensor, centre_x: Tensor, centre_y: Tensor, R_e: Tensor, n: Tensor, q: Tensor, phi: Tensor,
    amplitude: Tensor,
) -> Tensor:
    """Surface brightness of an elliptical Sersic profile, in the units of ``amplitude``.

    Args:
        x, y: Positions in the source plane in arcsec.
        centre_x, centre_y, R_e: Centre and half-light radius (product average of the axes) in arcsec.
        n: Sersic index.
        q, phi: Axis ratio and position angle in radians.
        amplitude: Surface brightness at ``R_e``.
    """
    functions = caustics_functions()
    root = torch.sqrt(q)
    # caustics measures sqrt(x^2 + y^2/q^2): dividing R_e by sqrt(q) makes it the product average.
    return functions.sersic(centre_x, centre_y, q, phi, n, R_e / root, amplitude, x, y,
                            functions.k_sersic(n), CORE_ARCSEC)


def sersic_amplitude(flux: float, R_e: float, n: float) -> float:
    """Amplitude at ``R_e`` (flux per arcsec^2) of a Sersic profile whose total flux is ``flux``.

    Graham & Driver 2005, equation 4; ``R_e`` in arcsec. The axis ratio drops out of a product average.
    """
    b = float(caustics_functions().k_sersic(n))
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

    cosmology = FlatLambdaCDM(H0=70.0, Om0=0.3)
    if luminosity:
        d_l, d_s = (cosmology.luminosity_distance(z).value for z in (z_lens, z_source))
        # The published code takes the luminosity distance between lens and source as a plain difference.
        d_ls = d_s - d_l
    else:
        d_l, d_s = (cosmology.angular_diameter_distance(z).value for z in (z_lens, z_source))
        comoving = [cosmology.comoving_distance(z).value for z in (z_lens, z_source)]
        d_ls = (comoving[1] - comoving[0]) / (1 + z_source)
    masses = torch.tensor(mass_msun, dtype=torch.float64)
    return float(caustics_functions().mass_to_einstein_radius(masses, d_ls, d_l, d_s))


def ellipticity_to_axes(e1: float, e2: float) -> tuple[float, float]:
    """Axis ratio and position angle (radians) of the ellipticity components ``e1``, ``e2``."""
    size = math.hypot(e1, e2)
    return (1 - size) / (1 + size), math.atan2(e2, e1) / 2


def gaussian_taps(sigma_pixels: float, radius: int) -> list[float]:
    """One-dimensional Gaussian sampled at whole pixels from ``-radius`` to ``radius``, summing to one."""
    weights = [math.exp(-0.5 * (i / sigma_pixels) ** 2) if sigma_pixels > 0 else float(i == 0)
               for i in range(-radius, radius + 1)]
    total = sum(weights)
    return [w / total for w in weights]


def blur(image: Tensor, taps: list[float]) -> Tensor:
    """Convolves (b, h, w) with a separable, symmetric kernel; the frame shrinks by its radius on each side."""
    radius = len(taps) // 2
    height, width = image.shape[-2] - 2 * radius, image.shape[-1] - 2 * radius
    rows = sum(tap * image[..., i:i + height, :] for i, tap in enumerate(taps))
    return sum(tap * rows[..., i:i + width] for i, tap in enumerate(taps))
