"""What the simulate page needs around one rendered lens: presets, cached pictures, a FITS file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.plots.sky import Curve

KEY = "lens"
PRESETS = {
    "Einstein ring": {"q": 1.0, "shear": 0.0, "source_x": 0.0, "source_y": 0.0, "source_q": 1.0},
    "Four images": {"q": 0.6, "shear": 0.1, "source_x": 0.03, "source_y": 0.02, "source_R_e": 0.08},
    "Two images": {"q": 0.9, "shear": 0.02, "source_x": 0.45, "source_y": 0.2, "source_R_e": 0.15},
    "Long arc": {"q": 0.7, "angle": 90.0, "source_x": 0.35, "source_y": 0.0, "source_R_e": 0.2},
    "Subhalos": {"substructure": "subhalos", "mass_fraction": 0.05, "source_x": 0.0, "source_y": 0.0, "seed": 3},
    "Vortex": {"substructure": "vortex", "mass_fraction": 0.05, "vortex_x": 1.0, "vortex_y": 0.5},
}
CRITICAL, CAUSTIC = "#7FD1FF", "#F0B35A"


@st.cache_data(max_entries=64, show_spinner="Loading the simulator")
def render(settings: tuple[tuple[str, Any], ...]):
    """The lens of these settings; the same for every reader."""
    from deeplense_core.sim.lens import LensConfig, render_lens
    from deeplense_core.spec import make_config

    return render_lens(make_config(LensConfig, dict(settings)))


def curves(view) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """Critical curves and caustics, to draw over image and source."""
    critical = tuple(Curve(c[:, 0], c[:, 1], CRITICAL, "5 4") for c in view.critical)
    caustics = tuple(Curve(c[:, 0], c[:, 1], CAUSTIC, "2 3") for c in view.caustics)
    return critical, caustics


@st.cache_data(max_entries=16, show_spinner=False)
def fits_bytes(settings: tuple[tuple[str, Any], ...]) -> bytes:
    """The image as FITS, float32, with its pixel scale, its unit and every setting in the header."""
    from astropy.io import fits

    view = render(settings)
    header = fits.Header()
    # A scale without a position on the sky: offsets from the centre, no celestial axes.
    for axis in (1, 2):
        header[f"CDELT{axis}"] = (view.pixel_scale_arcsec, "side of a pixel")
        header[f"CUNIT{axis}"] = "arcsec"
        header[f"CRPIX{axis}"] = (view.image.shape[0] + 1) / 2
        header[f"CRVAL{axis}"] = 0.0
    header["BUNIT"] = ("count", "counts per pixel")
    header["ORIGIN"] = "DeepLense simulator"
    for name, value in settings:
        header[f"HIERARCH LENS {name}"] = value
    file = io.BytesIO()
    fits.PrimaryHDU(np.asarray(view.image, np.float32), header).writeto(file)
    return file.getvalue()


def frozen(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Settings as a key for the caches above."""
    return tuple(values.items())
