"""Models I, II and III of DeepLenseSim: no substructure, cold dark matter, or a vortex of axions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deeplense_core.sim.recipes.common_test import power_law
from deeplense_core.sim.scene import RECIPES, Detector, Draws, Optics, Recipe, Scene
from deeplense_core.spec import knob

CLASSES = ("no", "sphere", "vort")
"""The published folders ``no_sub``, ``cdm`` and ``axion`` under the names that all data sets share here."""
CDM, AXION = 1, 2
N_CDM, N_AXION = 25, 100
Z_LENS, Z_SOURCE = 0.5, 1.0
PUBLISHED_DEFLECTION = 0.6337383
"""D_ls / D_s at z_s = 1 over that at z_s = 2.5: deflections were meant for the one, the source is at the other."""
PUBLISHED_SLOPE = -0.9
SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
SOURCE = "DeepLenseSim scripts (MIT), written for lenstronomy 1.9.2"
MODEL_1_AMPLITUDE = 20.0  # counts per second and arcsec^2 at the half-light radius


@dataclass(frozen=True)
class ModelConfig:
    """Lens, source and substructure; what the instruments are is part of each model."""

    log10_halo_mass: float = knob(12.0, "Mass of the halo, log10", ge=10, le=13, unit="solar masses", group="Lens")
    e1: float = knob(0.1, "Ellipticity of the halo along x", ge=-0.5, le=0.5, group="Lens")
    shear: float = knob(0.05, "External shear along x", ge=0, le=0.5, group="Lens")
    source_radius: float = knob(0.25, "Half-light radius of the source", ge=0.05, le=2, unit="arcsec", group="Source")
    source_n: float = knob(1.0, "Sersic index of the source", ge=0.5, le=5, group="Source")
    source_offset_max: float = knob(0.35, "Largest offset of the source in x and in y", ge=0, le=2,
                                    unit="arcsec", group="Source")
    log10_cdm_mass_min: float = knob(6.0, "Lightest subhalo, log10", ge=4, le=11, unit="solar masses",
                                     group="Substructure")
    log10_cdm_mass_max: float = knob(10.0, "Heaviest subhalo, log10", ge=4, le=11, unit="solar masses",
                                     group="Substructure")
    cdm_slope: float = knob(-1.9, "Slope of the subhalo mass function dN/dm; the published images have -0.9",
                            ge=-3, le=-0.5, group="Substructure")
    log10_vortex_mass: float = knob(math.log10(3e10), "Mass of the axion vortex, log10", ge=8, le=12,
                                    unit="solar masses", group="Substructure")


@dataclass(frozen=True)
class Instrument:
    """A camera: arcsec, magnitudes, seconds and electrons."""

    name: str
    pixel_scale_arcsec: float
    psf_fwhm_arcsec: float
    psf_truncate_sigma: float
    zero_point: float
    sky_brightness: float
    exposure_s: float
    n_exposures: int
    read_noise: float
    magnitude: float = 20.0

    def rate(self, magnitude: float) -> float:
        """Electrons per second of a source of that magnitude."""
        return 10 ** (0.4 * (self.zero_point - magnitude))

    @property
    def total_s(self) -> float:
        return self.exposure_s * self.n_exposures

    @property
    def sky_rate(self) -> float:
        """Electrons per second and pixel of the sky."""
        return self.rate(self.sky_brightness) * self.pixel_scale_arcsec**2


EUCLID = Instrument("Euclid VIS", 0.101, 0.16, 5.0, 24.0, 22.35, 565.0, 4, 4.2)
HST = Instrument("HST WFC3 F160W", 0.08, 0.08, 5.0, 25.96, 22.3, 5400.0, 1, 4.0)


def draw(
    c: ModelConfig, draws: Draws, labels: Tensor, scale: float, *, luminosity: bool, slope: float,
    amplitude: Callable[[], float], exposure: Callable[[Draws], Tensor],
) -> Scene:
    """Draws one scene for each label.

    Args:
        c: Settings.
        draws: Random numbers.
        labels: Indices into ``CLASSES``, (n,).
        scale: Factor on the mass of the substructure.
        luminosity: Luminosity distances between mass and Einstein radius, as published.
        slope: Slope of the subhalo mass function.
        amplitude: Gives the brightness at the source's half-light radius, counts per second and pixel.
        exposure: Draws exposure times in seconds.
    """
    from deeplense_core.sim.profiles import einstein_radius_arcsec, ellipticity_to_axes

    theta_E = einstein_radius_arcsec(10**c.log10_halo_mass, Z_LENS, Z_SOURCE, luminosity)
    theta_E_sq_per_mass = theta_E**2 / 10**c.log10_halo_mass
    halo_q, halo_phi = ellipticity_to_axes(c.e1, 0.0)
    source_q, source_phi = ellipticity_to_axes(-0.1, 0.1)
    source_x, source_y = (draws.uniform(-c.source_offset_max, c.source_offset_max) for _ in range(2))
    exposure_s = exposure(draws)
    ones = torch.ones_like(source_x)

    radius, angle = draws.own(0.25, 2.0, N_CDM), draws.own(0, 2 * math.pi, N_CDM)
    subhalos = power_law(draws.own(0, 1, N_CDM), 10**c.log10_cdm_mass_min, 10**c.log10_cdm_mass_max, slope)
    log10_axion, line_angle = draws.own(-24.0, -22.0), draws.own(0, math.pi)
    half_length = 0.03 * 10 ** (-22 - log10_axion)
    along = half_length[:, None] * torch.linspace(-1, 1, N_AXION)
    line = torch.full((N_AXION,), 10**c.log10_vortex_mass / N_AXION)

    def choose(cdm: Tensor, axion: Tensor) -> Tensor:
        cdm = torch.nn.functional.pad(cdm, (0, N_AXION - N_CDM))
        return torch.where(labels[:, None] == CDM, cdm, torch.where(labels[:, None] == AXION, axion, 0.0))

    masses = choose(subhalos, line.expand(draws.count, -1))
    return Scene(
        theta_E=theta_E * ones, q=halo_q * ones, phi=halo_phi * ones,
        gamma1=c.shear * ones, gamma2=0 * ones,
        source_x=source_x, source_y=source_y, source_R_e=c.source_radius * ones, source_n=c.source_n * ones,
        source_q=source_q * ones, source_phi=source_phi * ones, source_amplitude=amplitude() * ones,
        exposure_s=exposure_s,
        mass_x=choose(radius * angle.cos(), along * line_angle.cos()[:, None]),
        mass_y=choose(radius * angle.sin(), along * line_angle.sin()[:, None]),
        mass_theta_E_sq=scale * theta_E_sq_per_mass * masses,
        extra={"substructure_msun": scale * masses.sum(1),
               "log10_axion_mass_ev": torch.where(labels == AXION, log10_axion, math.nan),
               "vortex_half_length": torch.where(labels == AXION, half_length, math.nan),
               "vortex_angle": torch.where(labels == AXION, line_angle, math.nan)},
    )  # fmt: skip


DISTANCES = ("Einstein radii: as published, luminosity distances stand in the mass formula, so 1e12 solar masses "
             "have 1.2815 arcsec; corrected, angular-diameter distances, 1.6645 arcsec.")
MASSES = ("Subhalo masses: as published, dN/dm ~ m^-0.9; corrected, m^-1.9 as the papers say. Between the same "
          "limits that leaves 25 subhalos about 3e8 solar masses, 0.03 % of the halo instead of 2 %: the class "
          "cdm is then hardly visible.")
AXION_FILES = ("Axion mass: published files of that class are object arrays [image, mass]; here the mass is a "
               "column of the catalogue.")


@RECIPES.register("model-1", config=ModelConfig, source=SOURCE)
def model_1(config: ModelConfig, as_published: bool) -> Recipe:
    """DeepLenseSim Model I: a Gaussian camera, 150 x 150 pixels."""
    scale = 0.05

    def drawn(draws: Draws, labels: Tensor, mass_scale: float) -> Scene:
        return draw(config, draws, labels, mass_scale, luminosity=as_published,
                    slope=PUBLISHED_SLOPE if as_published else config.cdm_slope,
                    amplitude=lambda: MODEL_1_AMPLITUDE * scale**2,
                    exposure=lambda d: 10 ** d.uniform(3.0, 3.5))

    return Recipe(
        classes=CLASSES,
        optics=Optics(150, scale, 0.087 * SIGMA_PER_FWHM, psf_truncate_sigma=3.0),
        detector=Detector(kind="shot_twice" if as_published else "counts", background_rms=0.01),
        draw=drawn,
        text=("An isothermal ellipsoid of 1e12 solar masses with shear lenses one exponential source. Classes: "
              "nothing more (no_sub), 25 subhalos (cdm), or a straight vortex through the centre (axion). "
              "Exposures of 1000 to 3162 s with shot noise and a Gaussian background."),
        differences=(DISTANCES, MASSES, AXION_FILES,
                     "Noise: as published, shot noise is drawn twice; corrected, once, and the background of "
                     "0.01 counts per second is added as Gaussian noise."),
    )  # fmt: skip


def _survey_recipe(config: ModelConfig, as_published: bool, instrument: Instrument) -> Recipe:
    """Models II and III: the same lenses through a survey's camera."""

    def amplitude() -> float:
        from deeplense_core.sim.profiles import sersic_amplitude

        flux = instrument.rate(instrument.magnitude)
        return sersic_amplitude(flux, config.source_radius, config.source_n) * instrument.pixel_scale_arcsec**2

    def drawn(draws: Draws, labels: Tensor, mass_scale: float) -> Scene:
        return draw(config, draws, labels, mass_scale, luminosity=as_published,
                    slope=PUBLISHED_SLOPE if as_published else config.cdm_slope, amplitude=amplitude,
                    exposure=lambda d: torch.full((d.count,), instrument.total_s))

    optics = Optics(64, instrument.pixel_scale_arcsec, instrument.psf_fwhm_arcsec * SIGMA_PER_FWHM,
                    instrument.psf_truncate_sigma)
    detector = Detector(sky_rate=instrument.sky_rate, min_counts=instrument.sky_rate * instrument.total_s,
                        read_noise=instrument.read_noise * math.sqrt(instrument.n_exposures))
    if as_published:
        optics = replace(optics, deflection_scale=PUBLISHED_DEFLECTION)
        detector = Detector(kind="doubled")
    else:
        optics = replace(optics, supersampling=2)
    return Recipe(
        classes=CLASSES, optics=optics, detector=detector, draw=drawn,
        text=(f"The lenses of Model I, source of magnitude 20, seen by {instrument.name}: 64 x 64 pixels of "
              f"{instrument.pixel_scale_arcsec} arcsec, {instrument.total_s:.0f} s, sky, shot and read noise."),
        differences=(DISTANCES, MASSES, AXION_FILES,
                     "Redshifts: as published, Einstein radii were meant for a source at z = 2.5, so every "
                     "deflection is 0.634 of what it should be (0.81 arcsec); corrected, one plane at z = 1.",
                     "Noise: as published, the saved image is twice the noise-free model; corrected, sky, shot "
                     "and read noise of the instrument.",
                     "Sampling: as published, once per pixel; corrected, 2 x 2 per pixel, blurred before binning."),
        unit="electrons, scaled to [0, 1] by the image's own minimum and maximum",
    )  # fmt: skip


@RECIPES.register("model-2", config=ModelConfig, source=SOURCE)
def model_2(config: ModelConfig, as_published: bool) -> Recipe:
    """DeepLenseSim Model II: Euclid VIS, 64 x 64 pixels."""
    return _survey_recipe(config, as_published, EUCLID)


@RECIPES.register("model-3", config=ModelConfig, source=SOURCE)
def model_3(config: ModelConfig, as_published: bool) -> Recipe:
    """DeepLenseSim Model III: HST WFC3, 64 x 64 pixels."""
    return _survey_recipe(config, as_published, HST)
