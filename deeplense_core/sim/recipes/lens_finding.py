"""Lens finding: lenses among galaxies, in g, r and i; an easy set, and one as hard as the sky."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.sim.galaxies.population import draw
from deeplense_core.sim.galaxies.scene import KINDS, SCALINGS, GalaxyScene
from deeplense_core.sim.scene import RECIPES, Detector, Draws, Optics, Recipe
from deeplense_core.spec import knob, same_knob

BANDS = ("gri", "r", "i")


@dataclass(frozen=True)
class EasyConfig:
    """A deep survey of good seeing, and non-lenses that seldom look like one."""

    lens_fraction: float = knob(0.5, "Lenses among the images; 0.001 is one in a thousand", ge=0, le=1, group="Set")
    labelled_fraction: float = knob(1.0, "Images of a data set that carry their label", ge=0, le=1, group="Set")
    lookalikes: float = knob(0.2, "Non-lenses that look like one", ge=0, le=1, group="Set")
    n_pix: int = knob(64, "Pixels along a side", choices=(64, 101), group="Set")
    bands: str = knob("gri", "Bands of an image", choices=BANDS, group="Set")
    theta_E_min: float = knob(0.7, "Smallest Einstein radius", ge=0.2, le=4, unit="arcsec", group="Lens")  # noqa: N815
    theta_E_max: float = knob(2.5, "Largest Einstein radius", ge=0.2, le=4, unit="arcsec", group="Lens")  # noqa: N815
    snr_min: float = knob(100.0, "Faintest arcs, and what could be taken for them: signal to noise over "
                          "all bands, with the light of galaxies known to a tenth",
                          ge=1, le=5000, group="Lens")
    snr_max: float = knob(600.0, "Brightest arcs", ge=1, le=5000, group="Lens")
    mag_min: float = knob(17.8, "Brightest main galaxy, in r", ge=12, le=26, unit="mag", group="Lens")
    mag_max: float = knob(20.6, "Faintest main galaxy", ge=12, le=26, unit="mag", group="Lens")
    colour_scatter: float = knob(0.0, "Scatter of each band's zero point, the same for all in an image", ge=0, le=2,
                                 unit="mag", group="Camera")
    grey: float = knob(0.0, "Images in which everything has one colour", ge=0, le=1, group="Camera")
    seeing_min: float = knob(0.6, "Best seeing (FWHM) in r", ge=0.3, le=2, unit="arcsec", group="Camera")
    seeing_max: float = knob(0.6, "Worst seeing", ge=0.3, le=2, unit="arcsec", group="Camera")
    depth_min: float = knob(26.2, "Shallowest images: 5 sigma in an aperture of 2 arcsec, in r", ge=20, le=32,
                            unit="mag", group="Camera")
    depth_max: float = knob(26.2, "Deepest images", ge=20, le=32, unit="mag", group="Camera")
    pixel_scale_min: float = knob(0.17, "Smallest pixels", ge=0.05, le=0.5, unit="arcsec", group="Camera")
    pixel_scale_max: float = knob(0.17, "Largest pixels", ge=0.05, le=0.5, unit="arcsec", group="Camera")
    faults: float = knob(0.0, "Rate of missing, noisy or displaced bands, stripes, trails and bad sky; 1 is a "
                         "survey's", ge=0, le=8, group="Camera")
    scaling: str = knob("counts", "Values: counts of zero point 27, each band from 0 to 1 by its own extremes, in "
                        "sigmas of the sky, or one of these by chance", choices=("mixed", *SCALINGS), group="Camera")


@dataclass(frozen=True)
class HardConfig(EasyConfig):
    """Many surveys at once: half of the non-lenses look like lenses, and most images carry no label."""

    labelled_fraction: float = same_knob(EasyConfig, "labelled_fraction", 0.2)
    lookalikes: float = same_knob(EasyConfig, "lookalikes", 0.5)
    theta_E_min: float = same_knob(EasyConfig, "theta_E_min", 0.5)  # noqa: N815
    theta_E_max: float = same_knob(EasyConfig, "theta_E_max", 1.8)  # noqa: N815
    snr_min: float = same_knob(EasyConfig, "snr_min", 40.0)
    snr_max: float = same_knob(EasyConfig, "snr_max", 400.0)
    mag_min: float = same_knob(EasyConfig, "mag_min", 17.6)
    mag_max: float = same_knob(EasyConfig, "mag_max", 21.4)
    colour_scatter: float = same_knob(EasyConfig, "colour_scatter", 0.2)
    grey: float = same_knob(EasyConfig, "grey", 0.15)
    seeing_max: float = same_knob(EasyConfig, "seeing_max", 1.0)
    depth_min: float = same_knob(EasyConfig, "depth_min", 24.0)
    depth_max: float = same_knob(EasyConfig, "depth_max", 26.2)
    pixel_scale_max: float = same_knob(EasyConfig, "pixel_scale_max", 0.27)
    faults: float = same_knob(EasyConfig, "faults", 1.0)
    scaling: str = same_knob(EasyConfig, "scaling", "mixed")


@dataclass(frozen=True)
class HardOneBandConfig(HardConfig):
    """The same surveys in a single band."""

    bands: str = same_knob(EasyConfig, "bands", "i")


def _recipe(config: EasyConfig, as_published: bool, text: str) -> Recipe:
    c = replace(config, scaling="min-max") if as_published else config
    indices = ["gri".index(band) for band in c.bands]
    scales = None if c.pixel_scale_min == c.pixel_scale_max else (c.pixel_scale_min, c.pixel_scale_max)

    def drawn(draws: Draws, labels: Tensor, mass_scale: float) -> GalaxyScene:
        return draw(c, draws, labels, indices)

    def render(scene, keys, device, noisy):
        # Not needed to know what a recipe makes.
        from deeplense_core.sim.galaxies.render import render as render_galaxies

        return render_galaxies(scene, keys, device, noisy, c.n_pix)

    units = {"counts": "counts of zero point 27, sky subtracted", "mixed": "mixed: see truth_scaling"}
    return Recipe(
        classes=LENS_CLASSES, optics=Optics(c.n_pix, c.pixel_scale_max, 0.0), detector=Detector(),
        draw=drawn, render=render, pixel_scale_range_arcsec=scales, bands=tuple(c.bands),
        unit=units.get(c.scaling, c.scaling), fractions=(c.lens_fraction, 1 - c.lens_fraction),
        labelled_fraction=c.labelled_fraction, words={"kind": KINDS, "scaling": SCALINGS},
        text=(f"{text} Lenses: an elliptical galaxy, Einstein radius {c.theta_E_min:g} to {c.theta_E_max:g} arcsec, "
              f"with a clumpy source behind it whose arcs have a signal to noise of {c.snr_min:g} to {c.snr_max:g}. "
              f"{c.lookalikes:.0%} of the non-lenses are look-alikes (spirals, rings, mergers, edge-on discs, blue "
              "companions, stars), of the same signal to noise and colours as arcs; the rest are ellipticals, discs "
              "and empty fields. Seeing, depth, colours, neighbours, faults and scaling do not depend on the class."),
        differences=("Scaling: the published set of 2025 has each band scaled from 0 to 1 by its own extremes, which "
                     "erases colour and flux. As published, so; corrected, values are as this recipe's setting says.",),
    )  # fmt: skip


@RECIPES.register("lens-finding-easy", config=EasyConfig,
                  source="This project's own populations; geometry of the published lens-finding sets of 2024 and 2025")
def lens_finding_easy(config: EasyConfig, as_published: bool) -> Recipe:
    """Lenses among galaxies, in g, r and i: deep images of good seeing, mostly plain non-lenses."""
    return _recipe(config, as_published, "One deep survey: seeing 0.6 arcsec, pixels of 0.17 arcsec.")


@RECIPES.register("lens-finding-hard", config=HardConfig,
                  source="This project's own populations; geometry of the published lens-finding sets of 2024 and 2025")
def lens_finding_hard(config: HardConfig, as_published: bool) -> Recipe:
    """Lenses among galaxies as several surveys see them: look-alikes, faults, few labels."""
    return _recipe(config, as_published,
                   "Many surveys at once: seeing, depth, pixel scale, scaling and faults differ from image to image "
                   "(pixel_scale_arcsec of the catalogue; in a data set most images carry no label).")


@RECIPES.register("lens-finding-hard-i", config=HardOneBandConfig,
                  source="This project's own populations; geometry of the published lens-finding sets of 2024 and 2025")
def lens_finding_hard_one_band(config: HardOneBandConfig, as_published: bool) -> Recipe:
    """Lenses among galaxies as several surveys see them, in i alone: no colour helps."""
    return lens_finding_hard(config, as_published)
