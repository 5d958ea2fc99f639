"""What a recipe of galaxies draws: light in several bands, a lens perhaps, and the survey that looks at it.

Lengths are in arcsec, angles in radians, brightness in counts of zero point :data:`ZERO_POINT`. A tensor has one row
an image, n; b counts bands, k components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor
from torch.utils._pytree import tree_map

ZERO_POINT = 27.0
"""AB magnitude of one count."""
KINDS = ("lens", "elliptical", "disc", "empty", "spiral", "ring", "merger", "edge-on", "companions", "star")
"""What an image shows; the catalogue's ``truth_kind``."""
LENS, ELLIPTICAL, DISC, EMPTY, SPIRAL, RING, MERGER, EDGE_ON, COMPANIONS, STAR = range(len(KINDS))
SCALINGS = ("counts", "min-max", "sky sigma", "tiny")
"""How pixel values were written; the catalogue's ``truth_scaling``."""


class Profiles(NamedTuple):
    """Elliptical Sersic profiles, (n, k) each."""

    x: Tensor
    y: Tensor
    R_e: Tensor  # noqa: N815
    n: Tensor
    q: Tensor
    phi: Tensor
    flux: Tensor
    """Total counts, (n, k, b); 0 where an image has fewer than k. What has the extra light's colour has (n, k, 1)."""


class Pattern(NamedTuple):
    """A disc with arms, a ring or a tidal tail, (n,) each; see :func:`deeplense_core.sim.galaxies.light.pattern`."""

    x: Tensor
    y: Tensor
    q: Tensor
    phi: Tensor
    radius: Tensor
    """Half-light radius of a disc, radius of a ring."""
    width: Tensor
    """Sigma of a ring; 0 makes a disc with arms."""
    arms: Tensor
    winding: Tensor
    """Of the arms: cotangent of the pitch angle; of a tail: growth of its radius with the angle."""
    sharpness: Tensor
    contrast: Tensor
    phase: Tensor
    flux: Tensor
    """Counts in units of the extra light's; 0 where an image has no pattern."""


class Lens(NamedTuple):
    """A singular isothermal ellipsoid with shear about the image's main galaxy, (n,) each."""

    x: Tensor
    y: Tensor
    theta_E: Tensor  # noqa: N815
    q: Tensor
    phi: Tensor
    gamma1: Tensor
    gamma2: Tensor


class Stars(NamedTuple):
    """Point sources, (n, k) each."""

    x: Tensor
    y: Tensor
    spikes: Tensor
    """Part of the light in diffraction spikes."""
    angle: Tensor
    flux: Tensor
    """Total counts, (n, k, b)."""


class Survey(NamedTuple):
    """How the image was taken, (n, b) each unless said otherwise."""

    pixel_scale: Tensor
    """(n,)."""
    fwhm: Tensor
    """Seeing in arcsec."""
    depth: Tensor
    """Magnitude of 5 sigma of the sky in an aperture of 2 arcsec."""
    sky_mag: Tensor
    """Brightness of the sky, magnitudes per square arcsec: decides the photon noise of the objects."""
    noise_scale: Tensor
    """Factor on the noise: 1, more in a faulty band."""
    correlation: Tensor
    """Weight of a pixel's neighbours in its noise, (n,)."""
    sky_level: Tensor
    """Residuals of the subtracted sky in its sigmas: level, slopes along x and y, curvature; (n, 4, b)."""
    shift: Tensor
    """Whole pixels by which a band is out of place, (n, 2, b)."""
    missing: Tensor
    """1 where the band is not there."""
    stripe: Tensor
    """Missing rows or columns: first, width in pixels, 1 for columns, (n, 3, b); width 0 for none."""
    trail: Tensor
    """A straight trail: offset in pixels, angle, brightness in sigmas of the sky, (n, 3, b)."""
    scaling: Tensor
    """Index into SCALINGS, (n,)."""
    gain: Tensor
    """Factor on the stored values."""


@dataclass(frozen=True)
class GalaxyScene:
    """A batch of n fields, every tensor on one device."""

    kind: Tensor
    """Index into KINDS, (n,)."""
    galaxy: Profiles
    """The main galaxy and its second component or companion, (n, 2)."""
    lens: Lens
    source: Profiles
    """Behind the lens: a galaxy and its clumps, (n, 1 + clumps)."""
    pattern: Pattern
    around: Profiles
    """Small galaxies in the neighbourhood, (n, k)."""
    knots: Profiles
    """Small objects that can be taken for images of a source, (n, k)."""
    stars: Stars
    extra_sed: Tensor
    """Colour of the extra light, which is what tells the kind: arcs (source), or what could be taken for them (pattern
    and knots). Counts in each band in units of r's, (n, b)."""
    extra_snr: Tensor
    """Signal to noise wanted of the extra light, (n,)."""
    survey: Survey
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Further drawn numbers for the catalogue, (n,) each."""
    first_survey: Survey | None = None
    """For a sky seen a second time: the survey in which the extra light has its signal to noise, so that it is as
    bright in both; None where that is :attr:`survey`."""

    def mapped(self, change: Callable[[Tensor], Tensor]) -> GalaxyScene:
        """The scene with ``change`` applied to every tensor, those of ``extra`` left out."""
        values = {name: tree_map(change, value) for name, value in vars(self).items()
                  if name != "extra" and value is not None}
        return GalaxyScene(**values)

    def truth(self) -> dict[str, Tensor]:
        """What a catalogue keeps of the drawn numbers, (n,) each; of a lens, not a number where there is none."""
        lensed = self.kind == LENS
        lens = {name: value.where(lensed, value.new_tensor(float("nan"))) for name, value in {
            "theta_E": self.lens.theta_E, "lens_q": self.lens.q, "gamma1": self.lens.gamma1,
            "gamma2": self.lens.gamma2, "source_R_e": self.source.R_e[:, 0],
            "source_x": self.source.x[:, 0], "source_y": self.source.y[:, 0],
        }.items()}  # fmt: skip
        survey = self.survey
        return {
            "kind": self.kind, **lens, "neighbours": (self.around.flux.amax(2) > 0).sum(1),
            "stars": (self.stars.flux.amax(2) > 0).sum(1), "noise_correlation": survey.correlation,
            "scaling": survey.scaling, "pixel_scale_arcsec": survey.pixel_scale, **self.extra,
        }  # fmt: skip
