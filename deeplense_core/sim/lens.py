"""One lens at the reader's choice: its image, and what made it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deeplense_core.sim.recipes.common_test import DECADES, SLOPE, power_law
from deeplense_core.sim.scene import Detector, Draws, Optics, Scene
from deeplense_core.spec import knob

N_PIX, PIXEL_SCALE_ARCSEC, SOURCE_SCALE_ARCSEC = 150, 0.05, 0.02
SUBSTRUCTURE = ("none", "subhalos", "vortex")


@dataclass(frozen=True)
class LensConfig:
    """Everything that decides one image; lengths in arcsec, angles in degrees from the x axis."""

    theta_E: float = knob(1.3, "Einstein radius of the halo", ge=0.3, le=2.5, unit="arcsec", group="Lens")  # noqa: N815
    q: float = knob(0.8, "Axis ratio of the halo; 1 is round", ge=0.3, le=1, group="Lens")
    angle: float = knob(30.0, "Direction of the halo's long axis", ge=0, le=180, unit="deg", group="Lens")
    shear: float = knob(0.05, "External shear by what lies around the lens", ge=0, le=0.3, group="Lens")
    shear_angle: float = knob(0.0, "Direction of the shear", ge=0, le=180, unit="deg", group="Lens")
    substructure: str = knob("none", "Further mass: none, subhalos of cold dark matter, or a vortex of axions",
                             choices=SUBSTRUCTURE, group="Substructure")
    mass_fraction: float = knob(0.02, "Part of the halo's mass that is in the substructure", ge=0, le=0.2,
                                group="Substructure")
    masses: int = knob(25, "Point masses that make it up", ge=1, le=100, group="Substructure")
    vortex_x: float = knob(0.6, "Centre of the vortex line", ge=-2, le=2, unit="arcsec", group="Substructure")
    vortex_y: float = knob(0.4, "Centre of the vortex line", ge=-2, le=2, unit="arcsec", group="Substructure")
    vortex_angle: float = knob(120.0, "Direction of the vortex line", ge=0, le=180, unit="deg",
                               group="Substructure")
    vortex_length: float = knob(1.0, "Length of the vortex line", ge=0.1, le=4, unit="arcsec",
                                group="Substructure")
    source_x: float = knob(0.1, "Where the source is", ge=-1.5, le=1.5, unit="arcsec", group="Source")
    source_y: float = knob(0.05, "Where the source is", ge=-1.5, le=1.5, unit="arcsec", group="Source")
    source_R_e: float = knob(0.3, "Half-light radius of the source", ge=0.03, le=1,  # noqa: N815
                             unit="arcsec", group="Source")
    source_n: float = knob(1.0, "Sersic index: 1 is a disc, 4 an elliptical galaxy", ge=0.5, le=4, group="Source")
    source_q: float = knob(0.7, "Axis ratio of the source", ge=0.2, le=1, group="Source")
    source_angle: float = knob(60.0, "Direction of the source's long axis", ge=0, le=180, unit="deg",
                               group="Source")
    brightness: float = knob(100.0, "Source at its half-light radius", ge=1, le=1000, unit="counts per pixel",
                             group="Source")
    psf: float = knob(0.087, "Width (sigma) of the point-spread function", ge=0, le=0.4, unit="arcsec",
                      group="Camera")
    sky: float = knob(10.0, "Sky level", ge=0.1, le=500, unit="counts per pixel", group="Camera")
    noise: bool = knob(True, "Photon noise", group="Camera")
    seed: int = knob(0, "Chooses the noise and where the subhalos are", ge=0, le=9999, group="Camera")


@dataclass(frozen=True)
class LensView:
    """One rendered lens. Rows are y, upwards from the first."""

    image: np.ndarray
    """Counts, float32 (h, w)."""
    kappa: np.ndarray
    """Convergence averaged over each pixel where masses are points, float32 (h, w)."""
    source: np.ndarray
    """The source without a lens, sky or optics, in counts per image pixel, float32 (h, w)."""
    critical: list[np.ndarray]
    """Critical curves, (n, 2) positions in arcsec each."""
    caustics: list[np.ndarray]
    """The same curves in the source plane."""
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC
    source_scale_arcsec: float = SOURCE_SCALE_ARCSEC
    unit: str = "counts"


@torch.no_grad()
def render_lens(config: LensConfig) -> LensView:
    """Renders one lens; the same settings give the same bytes."""
    from deeplense_core.sim.profiles import Sersic, per_image, sersic_brightness, sie_convergence
    from deeplense_core.sim.render import (
        Constants,
        expected_image,
        expose,
        masses_function,
        pixel_axis,
        point_masses,
    )

    draws = Draws(config.seed, 1)
    key = draws.keys()
    scene = _scene(config, draws)
    # A source smaller than three pixels needs a finer grid.
    fine = 2 if config.source_R_e < 3 * PIXEL_SCALE_ARCSEC else 1
    optics = Optics(N_PIX, PIXEL_SCALE_ARCSEC, config.psf, supersampling=fine)
    detector = Detector(sky_rate=config.sky, min_counts=config.sky)
    constants = Constants.of(scene)
    masses = point_masses(scene, optics)
    pull_x, pull_y = masses_function(False)(masses) if masses else (torch.zeros(()), torch.zeros(()))
    rate = expected_image(constants, pull_x, pull_y, optics)
    image = expose(rate, per_image(scene.exposure_s), key, detector, config.noise)[0]

    axis = pixel_axis(N_PIX, PIXEL_SCALE_ARCSEC, scene.theta_E)
    kappa = sie_convergence(axis, axis[:, None], scene.theta_E, scene.q.clamp_max(1 - 1e-6), scene.phi)
    _add_points(kappa, scene)
    plane = pixel_axis(N_PIX, SOURCE_SCALE_ARCSEC, scene.theta_E)
    s = scene
    light = Sersic.of(s.source_x, s.source_y, s.source_R_e, s.source_n, s.source_q, s.source_phi, s.source_amplitude)
    source = sersic_brightness(plane, plane[:, None], light)[0]
    critical, caustics = critical_curves(scene)
    return LensView(image.numpy(), kappa.numpy(), source.numpy(), critical, caustics)


def _scene(c: LensConfig, draws: Draws) -> Scene:
    one = torch.ones(1)
    x, y, shares = _substructure(c, draws)
    twice = 2 * math.radians(c.shear_angle)
    return Scene(
        theta_E=c.theta_E * one, q=c.q * one, phi=math.radians(c.angle) * one,
        gamma1=c.shear * math.cos(twice) * one, gamma2=c.shear * math.sin(twice) * one,
        source_x=c.source_x * one, source_y=c.source_y * one, source_R_e=c.source_R_e * one,
        source_n=c.source_n * one, source_q=c.source_q * one, source_phi=math.radians(c.source_angle) * one,
        source_amplitude=c.brightness * one, exposure_s=one, mass_x=x, mass_y=y,
        mass_theta_E_sq=c.mass_fraction * c.theta_E**2 * shares,
    )


def _substructure(c: LensConfig, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Positions in arcsec and shares of the mass, (1, k) each, as the ``common-test`` recipe has them."""
    if c.substructure == "none" or c.mass_fraction == 0:
        nothing = torch.zeros(1, 0)
        return nothing, nothing, nothing
    if c.substructure == "vortex":
        along = torch.linspace(-0.5, 0.5, c.masses)[None] * c.vortex_length
        angle = math.radians(c.vortex_angle)
        equal = torch.full((1, c.masses), 1 / c.masses)
        return c.vortex_x + along * math.cos(angle), c.vortex_y + along * math.sin(angle), equal
    radius, angle = draws.own(0, 2, c.masses), draws.own(0, 2 * math.pi, c.masses)
    mass = power_law(draws.own(0, 1, c.masses), 1.0, 10.0**DECADES, SLOPE)
    return radius * angle.cos(), radius * angle.sin(), mass / mass.sum(1, keepdim=True)


def _add_points(kappa: Tensor, scene: Scene) -> None:
    """Adds each point mass as its mean convergence over the pixel that it is in."""
    half = (N_PIX - 1) / 2
    column = (scene.mass_x[0] / PIXEL_SCALE_ARCSEC + half).round().long()
    row = (scene.mass_y[0] / PIXEL_SCALE_ARCSEC + half).round().long()
    inside = (column >= 0) & (column < N_PIX) & (row >= 0) & (row < N_PIX)
    mean = math.pi * scene.mass_theta_E_sq[0] / PIXEL_SCALE_ARCSEC**2
    kappa.index_put_((row[inside], column[inside]), mean[inside], accumulate=True)


def critical_curves(scene: Scene, n: int = 400) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Where magnification is infinite, and those curves in the source plane; positions in arcsec.

    The determinant of the lens map's Jacobian, by central differences on an ``n`` x ``n`` grid over the frame.
    """
    from skimage.measure import find_contours

    from deeplense_core.sim.profiles import (
        Ellipsoid,
        PointMasses,
        point_masses_deflection,
        shear_deflection,
        sie_deflection,
    )

    s = scene.mapped(lambda v: v.double())
    step = N_PIX * PIXEL_SCALE_ARCSEC / n
    axis = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * step
    x, y = axis, axis[:, None]
    halo = sie_deflection(x, y, Ellipsoid.of(s.theta_E, s.q, s.phi))
    shear = shear_deflection(x, y, s.gamma1[:, None, None], s.gamma2[:, None, None])
    ax, ay = halo[0] + shear[0], halo[1] + shear[1]
    if s.mass_x.shape[1]:
        pull = point_masses_deflection(PointMasses.of(axis, axis, s.mass_x, s.mass_y, s.mass_theta_E_sq))
        ax, ay = ax + pull[0], ay + pull[1]
    beta_x, beta_y = (x - ax)[0].numpy(), (y - ay)[0].numpy()
    (xy, xx), (yy, yx) = np.gradient(beta_x, step), np.gradient(beta_y, step)
    centre = (n - 1) / 2  # differences across the halo's cusp make a small ring that is not there
    curves = [curve for curve in find_contours(xx * yy - xy * yx, 0.0)
              if len(curve) > 12 and np.abs(curve - centre).max() > 8]
    critical = [(curve[:, ::-1] - centre) * step for curve in curves]
    caustics = [np.stack([_at(beta_x, curve), _at(beta_y, curve)], axis=1) for curve in curves]
    return critical, caustics


def _at(values: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Bilinear interpolation of a map at (row, column) positions."""
    row, column = np.minimum(curve.astype(int), len(values) - 2).T
    r, c = curve[:, 0] - row, curve[:, 1] - column
    top = values[row, column] * (1 - c) + values[row, column + 1] * c
    return top * (1 - r) + (values[row + 1, column] * (1 - c) + values[row + 1, column + 1] * c) * r
