"""What is in front of the camera, and the camera: the data that a recipe draws and the renderer reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeplense_core.registry import Registry
from deeplense_core.superres.observe import REACH_SIGMA

RECIPES = Registry("recipe")


class LensLight(NamedTuple):
    """A Sersic profile on the halo's centre and axes: the light of the lens galaxy; (n,) each."""

    lens_R_e: Tensor  # noqa: N815
    lens_n: Tensor
    lens_amplitude: Tensor
    """Surface brightness at the half-light radius."""


class TwoLooks(NamedTuple):
    """How a coarse (LR) and a fine (HR) camera see one sky; (n,) each.

    Brightness is in counts per fine pixel of a full exposure. A stored pixel is ``counts / counts_per_unit - sky``,
    so its variance is ``(brightness + sky) / counts_per_unit`` with the brightness expected there.
    """

    lr_psf_sigma: Tensor
    """Gaussian point-spread function of the coarse camera, in arcsec, without its pixel."""
    hr_psf_sigma: Tensor
    lr_counts_per_unit: Tensor
    """Counts in a coarse pixel for each unit of brightness: its area in fine pixels times its depth."""
    hr_counts_per_unit: Tensor
    sky: Tensor
    """Sky that was taken off, in units of brightness."""


@dataclass(frozen=True)
class Scene:
    """A batch of n lens systems. Lengths in arcsec, angles in radians, every tensor on one device."""

    theta_E: Tensor  # noqa: N815
    """Einstein radius of the halo, (n,)."""
    q: Tensor
    """Axis ratio of the halo."""
    phi: Tensor
    """Position angle of the halo's major axis."""
    gamma1: Tensor
    gamma2: Tensor
    source_x: Tensor
    source_y: Tensor
    source_R_e: Tensor  # noqa: N815
    source_n: Tensor
    source_q: Tensor
    source_phi: Tensor
    source_amplitude: Tensor
    """Surface brightness at R_e, in counts per second and pixel."""
    exposure_s: Tensor
    mass_x: Tensor
    """Positions of the point masses, (n, k)."""
    mass_y: Tensor
    mass_theta_E_sq: Tensor  # noqa: N815
    """Squared Einstein radii of the point masses in arcsec^2, (n, k); 0 where an image has fewer than k."""
    lens_light: LensLight | None = None
    looks: TwoLooks | None = None
    """For recipes that make pairs."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Further drawn numbers for the catalogue, (n,) each."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor the renderer reads, by name."""
        found = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                found[f.name] = value
            elif isinstance(value, (LensLight, TwoLooks)):
                found |= value._asdict()
        return found

    def truth(self) -> dict[str, Tensor]:
        """Every number that a catalogue keeps of the systems, (n,) each."""
        masses = self.mass_theta_E_sq
        heaviest = masses.argmax(1, keepdim=True)
        truth = {name: value for name, value in self.tensors().items() if value.ndim == 1}
        truth["mass_number"] = (masses > 0).sum(1)
        truth["mass_fraction"] = masses.sum(1) / self.theta_E**2
        truth["heaviest_theta_E"] = masses.gather(1, heaviest).sqrt()[:, 0]
        truth["heaviest_x"] = self.mass_x.gather(1, heaviest)[:, 0]
        truth["heaviest_y"] = self.mass_y.gather(1, heaviest)[:, 0]
        return truth | dict(self.extra)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Scene:
        """The scene with ``change`` applied to every tensor, those of ``extra`` left out."""
        changed = {name: change(value) for name, value in self.tensors().items()}
        groups = {name: None if kind is None else type(kind)(*(changed.pop(key) for key in kind._fields))
                  for name, kind in (("lens_light", self.lens_light), ("looks", self.looks))}
        return replace(self, extra={}, **groups, **changed)


@dataclass(frozen=True)
class Optics:
    """The frame and the point-spread function. Hashable: one compiled function for each."""

    n_pix: int
    pixel_scale_arcsec: float
    psf_sigma_arcsec: float
    psf_truncate_sigma: float = 3.0
    supersampling: int = 1
    spherical: bool = False
    """The halo is a singular isothermal sphere: cheaper than an ellipsoid."""
    deflection_scale: float = 1.0
    """Factor on every deflection, for quirks in which it was meant for another source redshift."""

    @property
    def psf_radius(self) -> int:
        """Radius of the kernel on the supersampled grid, in its pixels."""
        sigma = self.psf_sigma_arcsec / self.pixel_scale_arcsec
        return round(self.psf_truncate_sigma * sigma) * self.supersampling

    @property
    def grid(self) -> tuple[int, int]:
        """Pixels of the supersampled grid, which reaches beyond the frame by the kernel's radius."""
        side = self.n_pix * self.supersampling + 2 * self.psf_radius
        return side, side


@dataclass(frozen=True)
class Detector:
    """How expected brightness becomes the stored counts."""

    kind: str = "counts"
    """``counts``: Poisson(t (I + sky)) plus Gaussian noise. ``shot_twice``: Model I as published, Poisson noise on
    an image that carries shot noise already. ``doubled``: Models II and III as published, 2 I and no noise."""
    sky_rate: float = 0.0
    """Sky, in counts per second and pixel."""
    read_noise: float = 0.0
    """Gaussian noise of the whole exposure, in counts."""
    background_rms: float = 0.0
    """Gaussian noise in counts per second and pixel."""
    min_counts: float = 0.0
    """Smallest expected count in any pixel; at 10 and above the noise is cheaper to draw."""


@dataclass(frozen=True)
class PairCameras:
    """The frames of a coarse and a fine camera on one sky. Hashable: one compiled function for each."""

    hr_n_pix: int
    hr_pixel_scale_arcsec: float
    scale: int
    """Fine pixels along a side of a coarse one."""
    widest_sigma_arcsec: float
    """Largest sigma of the coarse camera's point-spread function: the sky reaches that much beyond the frame."""
    supersampling: int = 1
    """Points of the sky along a side of a fine pixel."""
    lr_min_counts: float = 0.0
    """Smallest expected count in any coarse pixel; at 10 and above the noise is cheaper to draw."""
    hr_min_counts: float = 0.0

    @property
    def lr_n_pix(self) -> int:
        """Coarse pixels along a side of the frame."""
        return self.hr_n_pix // self.scale

    @property
    def lr_pixel_scale_arcsec(self) -> float:
        """Side of a coarse pixel."""
        return self.hr_pixel_scale_arcsec * self.scale

    def grid(self, spherical: bool = False) -> Optics:
        """Where the sky of a pair is made: fine enough for the one camera, wide enough for the other."""
        return Optics(self.hr_n_pix, self.hr_pixel_scale_arcsec, self.widest_sigma_arcsec, REACH_SIGMA,
                      self.supersampling, spherical)


@dataclass(frozen=True)
class Recipe:
    """One way of making labelled images: facts, optics, detector and how to draw a scene."""

    classes: tuple[str, ...]
    optics: Optics
    """The camera; of a pair, the grid on which its sky is made."""
    detector: Detector
    draw: Callable[[Draws, Tensor, float], Any]
    """``draw(draws, labels (n,), mass_fraction_scale)``: a :class:`Scene`, or what :attr:`render` takes, with a method
    ``truth()`` that gives the numbers for the catalogue, (n,) each."""
    text: str
    differences: tuple[str, ...]
    bands: tuple[str, ...] = ("gray",)
    unit: str = "counts, scaled to [0, 1] by the image's own minimum and maximum"
    pair: PairCameras | None = None
    """For recipes that make pairs of a coarse and a fine image."""
    render: Callable[[Any, Tensor, torch.device, bool], tuple[Tensor, dict[str, Tensor]]] | None = None
    """``render(scene, keys, device, noisy)`` -> images (n, c, h, w) and numbers known only once they are made, (n,)
    each; None where a scene is one lens and its picture scaled to [0, 1]."""
    pixel_scale_range_arcsec: tuple[float, float] | None = None
    """Smallest and largest where each image has its own, in the truth as ``pixel_scale_arcsec``; None where all have
    the optics' pixels."""
    fractions: tuple[float, ...] | None = None
    """Parts of the classes; None balances them."""
    labelled_fraction: float = 1.0
    """Images of a data set that carry their label."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of what a number of the truth counts, for the catalogue."""


class Draws:
    """Random numbers for one batch, always drawn on the CPU so that every device sees the same scenes.

    Args:
        seed: A 64-bit number.
        count: Images in the batch.
        share: How many consecutive images share what is drawn with :meth:`uniform` (3 for matched triplets).
    """

    def __init__(self, seed: int, count: int, share: int = 1):
        self.count, self.share = count, share
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> Tensor:
        """Uniform numbers in [low, high), (count,), equal within images that share."""
        groups = -(-self.count // self.share)
        u = torch.rand(groups, generator=self._generator, dtype=torch.float64)
        return (low + (high - low) * u).repeat_interleave(self.share)[: self.count].float()

    def own(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers in [low, high), (count, *shape), for every image its own."""
        u = torch.rand(self.count, *shape, generator=self._generator, dtype=torch.float64)
        return (low + (high - low) * u).float()

    def labels(self, n_classes: int, fractions: tuple[float, ...] | None = None) -> Tensor:
        """Classes, int64 (count,): in order within those that share; else by chance, balanced without fractions."""
        labels = torch.arange(self.count) % n_classes
        if self.share > 1:
            return labels
        if fractions is not None and len(set(fractions)) > 1:
            u = torch.rand(self.count, generator=self._generator, dtype=torch.float64)
            edges = torch.tensor(fractions, dtype=torch.float64).cumsum(0)[:-1]
            return torch.searchsorted(edges, u, right=True)
        return labels[torch.randperm(self.count, generator=self._generator)]

    def keys(self) -> Tensor:
        """Noise keys, int32 (count, 2)."""
        return torch.randint(-2**31, 2**31, (self.count, 2), generator=self._generator).to(torch.int32)
