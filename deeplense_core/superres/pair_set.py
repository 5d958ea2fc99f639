"""A real pair, registered, as a data set of one pair: evaluated, shown and compared like any other.

Both images are in the unit of the coarse band that the fine one resembles most: its ``zero point`` and background
are those that make the fine image, blurred and binned, the coarse one. Colours: a filter of one telescope is never
quite that of the other, so one zero point cannot be right for a red and a blue galaxy at once; what is left of that
is in the residual, in units of the coarse image's noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.data import Dataset, DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage, read_image
from deeplense_core.reading.decode import decode
from deeplense_core.superres.register_pair import RegisteredPair, noise_of, register

KIND = "registered pair"
"""Of the manifest's ``source``."""
FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
_REACH_FWHM = 3.0
"""Half a side of the picture of a Gaussian, in its widths."""
_INSIDE = 9
"""Points along a side of a pixel over which a Gaussian is averaged, as a detector does."""


def register_files(
    lr: Path, hr: Path, psf_lr: str, psf_hr: str, out: Path, scale: int = 2
) -> tuple[Dataset, RegisteredPair]:
    """Two FITS files of one sky, brought onto one grid and written as a data set of one pair.

    Args:
        lr: Coarse image with a WCS, any number of bands.
        hr: Fine image with a WCS, one band.
        psf_lr: Its point-spread function: a file, one plane a band or one for all, or its FWHM in arcsec as text.
        psf_hr: That of the fine image.
        out: Folder of the data set.
        scale: Fine pixels along a side of a coarse one.

    Raises:
        UserError: files that cannot be read, without coordinates, or that do not show the same sky.
    """
    coarse, fine = decode(lr, lr.name), decode(hr, hr.name)
    pair = register(coarse, fine, *psfs_of(coarse, fine, psf_lr, psf_hr), scale)
    return write_pair(pair, out), pair


def psfs_of(
    lr: LensImage, hr: LensImage, psf_lr: str | np.ndarray, psf_hr: str | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both point-spread functions for :func:`register`, (c, k, k) or (1, k, k) and (k, k), odd sides.

    Args:
        lr, hr: The images.
        psf_lr, psf_hr: As they are, (n, k, k), or as :func:`psf_of` takes them.

    Raises:
        UserError: as there, or a number of planes that fits neither one nor every band.
    """
    coarse, fine = (
        psf_of(given, image) if isinstance(given, str) else given for given, image in ((psf_lr, lr), (psf_hr, hr))
    )
    if len(coarse) not in (1, len(lr.pixels)):
        raise UserError(f"The coarse point-spread function has {len(coarse)} planes and {lr.meta['name']!r} has "
                        f"{len(lr.pixels)} bands. Give one for each band, or one for all.")
    return coarse, fine[0]


def psf_of(given: str, image: LensImage) -> np.ndarray:
    """A point-spread function (n, k, k) from a file's name, or from a FWHM in arcsec: then a Gaussian on the image's
    pixels, averaged over each.

    Raises:
        UserError: no such file, or a width that is none.
    """
    try:
        fwhm_arcsec = float(given)
    except ValueError:
        return read_image(given).pixels.astype(np.float64)
    if not image.pixel_scale_arcsec:
        raise UserError(f"{image.meta['name']!r} does not say its pixel scale, so a width in arcsec means nothing. "
                        "Give its point-spread function as a file.")
    if not 0 < fwhm_arcsec < 60:
        raise UserError(f"A point-spread function of {given} arcsec is none. Give its FWHM, or a file.")
    return gaussian_psf(fwhm_arcsec / image.pixel_scale_arcsec)[None]


def gaussian_psf(fwhm_px: float) -> np.ndarray:
    """A round Gaussian as a detector records it, (k, k), k odd, summing to 1."""
    radius = max(2, math.ceil(_REACH_FWHM * fwhm_px))
    inside = (np.arange(_INSIDE) + 0.5) / _INSIDE - 0.5
    axis = np.arange(-radius, radius + 1)[:, None] + inside
    along = np.exp(-0.5 * (axis * FWHM_PER_SIGMA / fwhm_px) ** 2).mean(1)
    return np.outer(along, along) / along.sum() ** 2


def about(pair: RegisteredPair) -> dict[str, Any]:
    """All that the comparison gave, as a manifest keeps it."""
    return {
        "kind": KIND, "lr": str(pair.lr.meta["name"]), "hr": str(pair.hr.meta["name"]),
        "band": band_names(pair.lr)[pair.band], "bands": [asdict(row) for row in band_table(pair)],
        "shift_arcsec": list(pair.shift_arcsec), "border": pair.border, "matching_kernel": pair.kernel.tolist(),
        "wcs": pair.lr.meta["wcs"], "fine_wcs": pair.hr.meta["wcs"],
    }  # fmt: skip


def numbers(pair: RegisteredPair) -> dict[str, float]:
    """The pair's numeric columns in a catalogue; ``hr_noise`` is in the unit of the coarse band, too."""
    check = pair.checks[pair.band]
    return {
        "lr_noise": check.noise, "hr_noise": abs(check.zero_point) * noise_of(pair.hr.pixels[0]),
        "zero_point": check.zero_point, "background": check.background, "residual_rms": check.residual_rms,
        "correlation": check.correlation,
    }  # fmt: skip


def write_pair(pair: RegisteredPair, out: Path) -> Dataset:
    """The data set: the coarse band, the fine image in its unit, and in the manifest all that the comparison gave."""
    facts = about(pair)
    images, targets = pair.lr.pixels[pair.band, None, None], pair.hr_in_lr_unit[None]
    rows = {"id": [f"{facts['lr']} {facts['band']}"], "label": [""], "split": ["test"]}
    with DatasetWriter(
        out, classes=(), shape=images.shape[1:], source=facts, bands=(facts["band"],),
        units=str(pair.lr.meta.get("unit", "")), pixel_scale_arcsec=pair.lr.pixel_scale_arcsec,
        target_shape=targets.shape[1:], target_pixel_scale_arcsec=pair.hr.pixel_scale_arcsec,
    ) as writer:  # fmt: skip
        writer.append(images, {**rows, **{name: [value] for name, value in numbers(pair).items()}}, targets)
        return writer.finish()


@dataclass(frozen=True)
class BandRow:
    """How one coarse band compares with the fine image: ``coarse = zero point x fine + background``."""

    band: str
    correlation: float
    zero_point: float
    background: float
    residual_sigma: float
    """Root mean square of what is left, in units of the coarse image's noise."""


def band_table(pair: RegisteredPair) -> list[BandRow]:
    """Every coarse band against the fine image: the colour difference between them, in numbers."""
    return [
        BandRow(name, check.correlation, check.zero_point, check.background, check.residual_rms)
        for name, check in zip(band_names(pair.lr), pair.checks, strict=True)
    ]


def band_names(image: LensImage) -> Sequence[str]:
    """What the bands are called, by number where the file does not say."""
    return image.bands or [f"band {i + 1}" for i in range(len(image.pixels))]


def pair_lines(facts: dict[str, Any], shape: Sequence[int], arcsec: float, scale: int) -> list[str]:
    """What the comparison gave, for a reader: the manifest's ``source`` of a registered pair as sentences.

    Args:
        facts: The ``source`` of the manifest.
        shape: (c, h, w) of the coarse image.
        arcsec: Side of its pixels.
        scale: Fine pixels along a side of a coarse one.
    """
    dx, dy = facts["shift_arcsec"]
    mine = next(row for row in facts["bands"] if row["band"] == facts["band"])
    return [
        f"Common sky: {shape[1]} x {shape[2]} coarse pixels of {arcsec:.3f} arcsec, fine ones of {arcsec / scale:.3f}; "
        f"the fine image was moved by {dx:+.3f}, {dy:+.3f} arcsec.",
        f"Units: both in those of the coarse {facts['band']!r}, which the fine image resembles most (correlation "
        f"{mine['correlation']:.4f}): fine x {mine['zero_point']:.4g} {mine['background']:+.4g}.",
        f"Residual: the fine image, blurred and binned, leaves {mine['residual_sigma']:.2f} times the coarse image's "
        "noise. What is above 1 are colours (one zero point for galaxies of all colours, through two filters), "
        "point-spread functions, and the fine image's own noise.",
    ]
