"""The GSoC Common Test: one lens, one source, and either nothing else, point masses, or a vortex line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deeplense_core.sim.scene import RECIPES, Detector, Draws, Optics, Recipe, Scene
from deeplense_core.spec import knob

N_MASSES = 25
SLOPE = -1.9
DECADES = 4.0


@dataclass(frozen=True)
class CommonTestConfig:
    """Fitted on published images; the ranges are theirs."""

    theta_E_min: float = knob(0.95, "Smallest Einstein radius", ge=0.1, le=3, unit="arcsec", group="Lens")  # noqa: N815
    theta_E_max: float = knob(1.65, "Largest Einstein radius", ge=0.1, le=3, unit="arcsec", group="Lens")  # noqa: N815
    shear_max: float = knob(0.3, "Largest external shear", ge=0, le=0.5, group="Lens")
    source_R_e: float = knob(0.5, "Half-light radius of the source", ge=0.05, le=2, unit="arcsec", group="Source")  # noqa: N815
    source_n: float = knob(1.5, "Sersic index of the source", ge=0.5, le=5, group="Source")
    source_amplitude: float = knob(100.0, "Brightness of the source at its half-light radius", ge=1, le=1e5,
                                   unit="counts per pixel", group="Source")
    source_q_min: float = knob(0.45, "Smallest axis ratio of the source", ge=0.1, le=1, group="Source")
    source_q_max: float = knob(0.95, "Largest axis ratio of the source", ge=0.1, le=1, group="Source")
    source_offset_max: float = knob(0.45, "Largest offset of the source", ge=0, le=2, unit="arcsec", group="Source")
    mass_fraction: float = knob(0.02, "Substructure's part of the halo's mass", ge=0, le=1, group="Substructure")
    sphere_radius_max: float = knob(2.0, "Largest distance of a point mass from the centre", ge=0.1, le=5,
                                    unit="arcsec", group="Substructure")
    vortex_length: float = knob(1.0, "Length of the vortex line", ge=0.01, le=5, unit="arcsec",
                                group="Substructure")
    vortex_centre_min: float = knob(0.3, "Smallest distance of the line from the centre", ge=0, le=5,
                                    unit="arcsec", group="Substructure")
    vortex_centre_max: float = knob(1.3, "Largest distance of the line from the centre", ge=0, le=5,
                                    unit="arcsec", group="Substructure")
    psf_sigma: float = knob(0.087, "Width (sigma) of the Gaussian point-spread function", ge=0, le=1,
                            unit="arcsec", group="Camera")
    sky: float = knob(10.0, "Sky level", ge=0, le=1e5, unit="counts per pixel", group="Camera")


def power_law(u: Tensor, low: float, high: float, slope: float) -> Tensor:
    """Masses between ``low`` and ``high`` with dN/dm ~ m^slope, from uniform numbers ``u``."""
    power = slope + 1
    return (low**power + u * (high**power - low**power)) ** (1 / power)


def draw(config: CommonTestConfig, as_published: bool, draws: Draws, labels: Tensor, scale: float) -> Scene:
    """Draws one scene for each label."""
    c = config
    theta_E = draws.uniform(c.theta_E_min, c.theta_E_max)
    shear = draws.uniform(0, c.shear_max)
    shear_angle = draws.uniform(0, math.radians(6.28) if as_published else math.pi)
    offset, direction = draws.uniform(0, c.source_offset_max), draws.uniform(0, 2 * math.pi)
    source_q, source_phi = draws.uniform(c.source_q_min, c.source_q_max), draws.uniform(0, math.pi)

    sphere_r, sphere_angle = draws.own(0, c.sphere_radius_max, N_MASSES), draws.own(0, 2 * math.pi, N_MASSES)
    sphere_share = power_law(draws.own(0, 1, N_MASSES), 1.0, 10.0**DECADES, SLOPE)
    line_r, line_where = draws.own(c.vortex_centre_min, c.vortex_centre_max), draws.own(0, 2 * math.pi)
    line_angle = draws.own(0, math.pi)
    along = torch.linspace(-0.5, 0.5, N_MASSES) * c.vortex_length
    line_x, line_y = line_r * line_where.cos(), line_r * line_where.sin()

    is_vort, is_smooth = labels[:, None] == 2, labels[:, None] == 0
    share = torch.where(is_vort, torch.ones_like(sphere_share), sphere_share)
    total = c.mass_fraction * scale * theta_E**2
    masses = torch.where(is_smooth, 0.0, total[:, None] * share / share.sum(1, keepdim=True))
    mass_x = torch.where(is_vort, line_x[:, None] + along * line_angle.cos()[:, None],
                         sphere_r * sphere_angle.cos())
    mass_y = torch.where(is_vort, line_y[:, None] + along * line_angle.sin()[:, None],
                         sphere_r * sphere_angle.sin())
    ones = torch.ones_like(theta_E)
    vort_only = labels == 2
    nan = torch.full_like(theta_E, math.nan)
    return Scene(
        theta_E=theta_E, q=ones, phi=0 * ones,
        gamma1=shear * (2 * shear_angle).cos(), gamma2=-shear * (2 * shear_angle).sin(),
        source_x=offset * direction.cos(), source_y=offset * direction.sin(), source_R_e=c.source_R_e * ones,
        source_n=c.source_n * ones, source_q=source_q, source_phi=source_phi,
        source_amplitude=c.source_amplitude * ones, exposure_s=ones,
        mass_x=mass_x, mass_y=mass_y, mass_theta_E_sq=masses,
        extra={"vortex_x": torch.where(vort_only, line_x, nan), "vortex_y": torch.where(vort_only, line_y, nan),
               "vortex_angle": torch.where(vort_only, line_angle, nan)},
    )


@RECIPES.register("common-test", config=CommonTestConfig,
                  source="Fits to the published GSoC Common Test images; generator PyLensing (PyAutoLens, MIT)")
def common_test(config: CommonTestConfig, as_published: bool) -> Recipe:
    """No substructure, 25 point masses, or a vortex line: the GSoC Common Test at 150 x 150 pixels."""
    return Recipe(
        classes=("no", "sphere", "vort"),
        optics=Optics(n_pix=150, pixel_scale_arcsec=0.05, psf_sigma_arcsec=config.psf_sigma, spherical=True),
        detector=Detector(sky_rate=config.sky, min_counts=config.sky),
        draw=lambda draws, labels, scale: draw(config, as_published, draws, labels, scale),
        text=("A singular isothermal sphere with external shear lenses one Sersic source. The class is told by "
              "2 % of the halo's mass: none (no), 25 point masses around the centre (sphere), or 25 on a "
              "straight line (vort). Poisson noise on a sky of 10 counts per pixel."),
        differences=("Shear: published angles lie between 0 and 6.28 degrees, because 2 pi was read as degrees, "
                     "so the shear is nearly always aligned with x; corrected, it points in any direction.",),
    )
