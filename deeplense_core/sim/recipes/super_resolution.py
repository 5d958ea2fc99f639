"""Pairs for super-resolution: a coarse and a fine image of one lensed sky, each an observation of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deeplense_core.sim.recipes.common_test import CommonTestConfig
from deeplense_core.sim.recipes.common_test import draw as draw_common_test
from deeplense_core.sim.scene import (
    RECIPES,
    Detector,
    Draws,
    LensLight,
    PairCameras,
    Recipe,
    Scene,
    TwoLooks,
)
from deeplense_core.spec import knob

SCALES = (2, 4)
HR_PIXEL_ARCSEC = 0.05
HR_SIDE = {2: 150, 4: 148}
"""Fine pixels along a side of ``sr-pairs``: 150 as published; 148 where a coarse pixel is four fine ones, which 150
cannot be divided into."""
PUBLISHED_LR = {"lr_psf_pixels": 2.0, "lr_depth": 0.009}
"""A coarse camera with which the coarse image correlates with the binned fine one as published, 0.88."""
SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
UNIT = ("counts of the fine camera per fine pixel, above the sky: one unit for both images, so flux is the sum of the "
        "pixels times the area of one")
NEVER_SCALED = ("Pixel values: published images are each scaled to [0, 1] by their own extremes, which destroys flux; "
                "here they keep one unit, as published or not.")


@dataclass(frozen=True)
class SrPairsConfig(CommonTestConfig):
    """The sky of ``common-test``, its camera as the fine one, and a coarse one."""

    scale: int = knob(2, "Fine pixels along a side of a coarse one", choices=SCALES, group="Pair")
    lr_psf_pixels: float = knob(1.5, "Width (sigma) of the coarse camera's point-spread function", ge=0.5, le=4,
                                unit="coarse pixels", group="Pair")
    lr_depth: float = knob(1.0, "Photons the coarse camera collects from the same area of sky, in units of "
                           "common-test's", ge=0.001, le=1000, group="Pair")
    hr_depth: float = knob(1.0, "Photons the fine camera collects, in units of common-test's", ge=0.001, le=1000,
                           group="Pair")


@RECIPES.register("sr-pairs", config=SrPairsConfig,
                  source="The sky of common-test; geometry of the published set III.A, 75 x 75 -> 150 x 150")
def sr_pairs(config: SrPairsConfig, as_published: bool) -> Recipe:
    """Coarse and fine images of the Common Test's sky: 75 x 75 pixels and 150 x 150."""
    c = replace(config, **PUBLISHED_LR) if as_published else config
    lr_sigma = c.lr_psf_pixels * c.scale * HR_PIXEL_ARCSEC
    lr_counts_per_unit = c.lr_depth * c.scale**2
    pair = PairCameras(HR_SIDE[c.scale], HR_PIXEL_ARCSEC, c.scale, max(lr_sigma, c.psf_sigma),
                       lr_min_counts=lr_counts_per_unit * c.sky, hr_min_counts=c.hr_depth * c.sky)

    def drawn(draws: Draws, labels: Tensor, mass_scale: float) -> Scene:
        scene = draw_common_test(c, as_published, draws, labels, mass_scale)
        ones = torch.ones_like(scene.theta_E)
        looks = TwoLooks(lr_psf_sigma=lr_sigma * ones, hr_psf_sigma=c.psf_sigma * ones,
                         lr_counts_per_unit=lr_counts_per_unit * ones, hr_counts_per_unit=c.hr_depth * ones,
                         sky=c.sky * ones)
        return replace(scene, looks=looks)

    return Recipe(
        classes=("no", "sphere", "vort"), optics=pair.grid(spherical=True), detector=Detector(), draw=drawn, pair=pair,
        text=(f"One sky of the Common Test, seen twice. Fine: {pair.hr_n_pix} x {pair.hr_n_pix} pixels of "
              f"{HR_PIXEL_ARCSEC} arcsec, sigma {c.psf_sigma:g} arcsec. Coarse: {pair.lr_n_pix} x {pair.lr_n_pix} "
              f"pixels of {pair.lr_pixel_scale_arcsec:g} arcsec, sigma {lr_sigma:g} arcsec, the mean of {c.scale} x "
              f"{c.scale} fine pixels of a sky blurred by itself. Each has its own Poisson noise on a sky of {c.sky:g} "
              f"counts per fine pixel, which is taken off; the variance of a pixel is (brightness + sky) / "
              f"counts_per_unit, with {c.hr_depth:g} (fine) and {lr_counts_per_unit:g} (coarse) counts a unit."),
        differences=(
            "Shear: as in common-test, published angles lie between 0 and 6.28 degrees; corrected, anywhere.",
            "Coarse camera: published coarse images correlate 0.88 with the binned fine ones, so much noise and blur "
            f"do they carry. As published, sigma {PUBLISHED_LR['lr_psf_pixels']:g} coarse pixels and "
            f"{PUBLISHED_LR['lr_depth']:g} of the photons give that; corrected, {config.lr_psf_pixels:g} pixels "
            f"and {config.lr_depth:g}: no more noise from the same area of sky than the fine image has.",
            NEVER_SCALED,
        ),
        unit=UNIT,
    )  # fmt: skip


@dataclass(frozen=True)
class SrSurveyConfig:
    """Lens galaxies and sources as a survey finds them, an HSC-like and an HST-like camera."""

    theta_E_min: float = knob(0.8, "Smallest Einstein radius", ge=0.1, le=3, unit="arcsec", group="Lens")  # noqa: N815
    theta_E_max: float = knob(1.8, "Largest Einstein radius", ge=0.1, le=3, unit="arcsec", group="Lens")  # noqa: N815
    q_min: float = knob(0.6, "Smallest axis ratio of halo and lens galaxy", ge=0.2, le=1, group="Lens")
    shear_max: float = knob(0.1, "Largest external shear", ge=0, le=0.5, group="Lens")
    lens_mag_min: float = knob(18.5, "Brightest lens galaxy", ge=14, le=28, unit="mag", group="Lens")
    lens_mag_max: float = knob(20.5, "Faintest lens galaxy", ge=14, le=28, unit="mag", group="Lens")
    source_mag_min: float = knob(22.0, "Brightest source, before it is lensed", ge=16, le=30, unit="mag",
                                 group="Source")
    source_mag_max: float = knob(24.0, "Faintest source, before it is lensed", ge=16, le=30, unit="mag",
                                 group="Source")
    source_offset_max: float = knob(0.35, "Largest offset of the source", ge=0, le=2, unit="arcsec", group="Source")
    scale: int = knob(2, "Fine pixels along a side of a coarse one", choices=SCALES, group="Pair")
    seeing_min: float = knob(0.6, "Best seeing (FWHM) of the coarse camera", ge=0.3, le=2, unit="arcsec", group="Pair")
    seeing_max: float = knob(0.8, "Worst seeing (FWHM) of the coarse camera", ge=0.3, le=2, unit="arcsec",
                             group="Pair")
    hr_fwhm: float = knob(0.11, "Point-spread function (FWHM) of the fine camera", ge=0.05, le=0.3, unit="arcsec",
                          group="Pair")
    lr_depth_min: float = knob(0.5, "Shallowest coarse image: photons from the same area of sky, in units of the fine "
                               "camera's", ge=0.01, le=100, group="Pair")
    lr_depth_max: float = knob(1.5, "Deepest coarse image", ge=0.01, le=100, group="Pair")
    hr_exposure_s: float = knob(2028.0, "Exposure of the fine camera", ge=1, le=1e6, unit="s", group="Pair")


SURVEY_LR_PIXEL_ARCSEC, SURVEY_LR_SIDE = 0.168, 64
SURVEY_GRID = 4
"""Points of the sky along a side of a coarse pixel: 0.042 arcsec, a quarter of the fine camera's sharpest image."""
ZERO_POINT = 25.94  # HST ACS F814W, AB magnitude of one electron per second
SKY_MAG = (21.7, 22.3)  # mag / arcsec^2, from orbit


def draw_survey(c: SrSurveyConfig, draws: Draws, labels: Tensor) -> Scene:
    """Draws one lens galaxy with a source behind it, and the conditions of both exposures, for each label."""
    from deeplense_core.sim.profiles import sersic_amplitude

    pixel_area = (SURVEY_LR_PIXEL_ARCSEC / c.scale) ** 2

    def counts(magnitude: Tensor) -> Tensor:
        return c.hr_exposure_s * 10 ** (0.4 * (ZERO_POINT - magnitude))

    def amplitude(magnitude: Tensor, radius: Tensor, index: Tensor) -> Tensor:
        profiles = zip(counts(magnitude).tolist(), radius.tolist(), index.tolist(), strict=True)
        return torch.tensor([sersic_amplitude(*profile) for profile in profiles]) * pixel_area

    theta_E = draws.uniform(c.theta_E_min, c.theta_E_max)
    q, phi = draws.uniform(c.q_min, 0.98), draws.uniform(0, math.pi)
    shear, shear_angle = draws.uniform(0, c.shear_max), draws.uniform(0, math.pi)
    lens_mag, lens_R_e, lens_n = (draws.uniform(*r) for r in ((c.lens_mag_min, c.lens_mag_max), (0.5, 1.2), (3, 5)))
    source_mag = draws.uniform(c.source_mag_min, c.source_mag_max)
    source_R_e, source_n = draws.uniform(0.1, 0.35), draws.uniform(0.7, 2.0)
    source_q, source_phi = draws.uniform(0.4, 0.95), draws.uniform(0, math.pi)
    offset, direction = draws.uniform(0, c.source_offset_max), draws.uniform(0, 2 * math.pi)
    seeing, sky_mag = draws.uniform(c.seeing_min, c.seeing_max), draws.uniform(*SKY_MAG)
    lr_depth = draws.uniform(c.lr_depth_min, c.lr_depth_max)
    ones = torch.ones_like(theta_E)
    looks = TwoLooks(lr_psf_sigma=seeing * SIGMA_PER_FWHM, hr_psf_sigma=c.hr_fwhm * SIGMA_PER_FWHM * ones,
                     lr_counts_per_unit=lr_depth * c.scale**2, hr_counts_per_unit=ones,
                     sky=counts(sky_mag) * pixel_area)
    none = torch.zeros(len(labels), 1)
    return Scene(
        theta_E=theta_E, q=q, phi=phi, gamma1=shear * (2 * shear_angle).cos(), gamma2=shear * (2 * shear_angle).sin(),
        source_x=offset * direction.cos(), source_y=offset * direction.sin(), source_R_e=source_R_e, source_n=source_n,
        source_q=source_q, source_phi=source_phi, source_amplitude=amplitude(source_mag, source_R_e, source_n),
        exposure_s=c.hr_exposure_s * ones, mass_x=none, mass_y=none, mass_theta_E_sq=none,
        lens_light=LensLight(lens_R_e, lens_n, amplitude(lens_mag, lens_R_e, lens_n)), looks=looks,
        extra={"lens_mag": lens_mag, "source_mag": source_mag, "seeing_fwhm": seeing},
    )  # fmt: skip


@RECIPES.register("sr-survey", config=SrSurveyConfig,
                  source="Geometry of the published set III.B, 64 x 64 -> 128 x 128; HSC and HST ACS F814W in numbers")
def sr_survey(config: SrSurveyConfig, as_published: bool) -> Recipe:
    """Lens galaxies as HSC sees them from the ground, 64 x 64, and as HST does from orbit, 128 x 128."""
    c = config
    hr_side, hr_pixel = SURVEY_LR_SIDE * c.scale, SURVEY_LR_PIXEL_ARCSEC / c.scale
    darkest = c.hr_exposure_s * 10 ** (0.4 * (ZERO_POINT - SKY_MAG[1])) * hr_pixel**2
    pair = PairCameras(hr_side, hr_pixel, c.scale, max(c.seeing_max, c.hr_fwhm) * SIGMA_PER_FWHM,
                       SURVEY_GRID // c.scale, lr_min_counts=c.lr_depth_min * c.scale**2 * darkest,
                       hr_min_counts=darkest)
    return Recipe(
        classes=("lens",), optics=pair.grid(), detector=Detector(), pair=pair,
        draw=lambda draws, labels, _: draw_survey(c, draws, labels),
        text=(f"A lens galaxy and the arcs of a source behind it, seen twice. Fine, as HST ACS: {hr_side} x {hr_side} "
              f"pixels of {hr_pixel:g} arcsec, FWHM {c.hr_fwhm:g} arcsec, {c.hr_exposure_s:g} s. Coarse, as HSC: "
              f"{SURVEY_LR_SIDE} x {SURVEY_LR_SIDE} pixels of {SURVEY_LR_PIXEL_ARCSEC} arcsec, seeing "
              f"{c.seeing_min:g} to {c.seeing_max:g} arcsec, {c.lr_depth_min:g} to {c.lr_depth_max:g} of the photons "
              f"from the same area. Sky of {SKY_MAG[0]} to {SKY_MAG[1]} mag / arcsec^2, the same for both (a brighter "
              "sky from the ground counts as less depth) and taken off; the variance of a pixel is (brightness + sky) "
              "/ counts_per_unit, all in the catalogue."),
        differences=("The published set III.B holds real pairs; no recipe was published for it, so both ways are one.",
                     NEVER_SCALED),
        bands=("F814W",), unit=UNIT,
    )  # fmt: skip
