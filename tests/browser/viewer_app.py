"""A page with the viewer on it, for tests/browser/test_viewer.py: ``?case=...`` chooses what it shows."""

from pathlib import Path

import numpy as np
import streamlit as st

from deeplense_core.plots.sky import Curve
from pages.ui.viewer import Panel, viewer

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
XSS = "<img src=x onerror=\"document.title='hacked'\">"
TAN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 30.0, "CRPIX2": 20.0,
    "CD1_1": -2.4e-5, "CD1_2": 1.2e-5, "CD2_1": 1.3e-5, "CD2_2": 2.5e-5, "RADESYS": "ICRS",
}  # fmt: skip


def lens(n: int, scale: float, seed: int = 0, bands: int = 1) -> np.ndarray:
    """A ring and a galaxy with noise, (bands, n, n), the same sky at any pixel scale."""
    axis = (np.arange(n) - (n - 1) / 2) * scale
    r = np.hypot(axis, axis[:, None])
    angle = np.arctan2(axis[:, None], axis)
    sky = 3 * np.exp(-((r / 0.5) ** 0.8)) + np.exp(-(((r - 1.4) / 0.15) ** 2)) * (1 + 0.8 * np.cos(angle - 0.5))
    noise = np.random.default_rng(seed).normal(0, 0.03, (bands, n, n))
    return (sky * np.linspace(0.6, 1.4, bands)[:, None, None] + noise).astype(np.float32)


def panels(case: str, seed: int = 0) -> list[Panel]:
    """The panels of a case."""
    if case == "wcs":
        return [Panel(lens(60, 0.1), "tilted", 0.1, TAN, "nJy"), Panel(lens(60, 0.1, 1)[:, :40], "cut", 0.1)]
    if case == "shifted":
        moved = TAN | {"CRPIX1": TAN["CRPIX1"] + 7, "CRPIX2": TAN["CRPIX2"] - 3}
        return [Panel(lens(60, 0.1), "one", 0.1, TAN), Panel(lens(60, 0.1, 1), "cut beside", 0.1, moved)]
    if case == "scales":
        return [Panel(lens(75, 0.1), "LR", 0.1), Panel(lens(150, 0.05), "HR", 0.05, lock="a"),
                Panel(lens(150, 0.05, 4), "model", 0.05, lock="a")]  # fmt: skip
    if case == "bands":
        return [Panel(lens(300, 0.025, bands=4), "four bands", 0.025, bands=("VIS", "Y", "J", "H"), unit="uJy")]
    if case == "same":
        return [Panel(lens(50, 0.1), "one", lock="a"), Panel(lens(50, 0.1), "other", lock="a")]
    if case == "names":
        return [Panel(lens(50, 0.1), XSS, unit=XSS, bands=(XSS,), overlay=lens(50, 0.1)[0], overlay_title=XSS)]
    if case == "overlay":
        turn = np.linspace(0, 2 * np.pi, 100)
        ring = Curve(1.4 * np.cos(turn), 1.4 * np.sin(turn), "#7FD1FF", "5 4")
        heat = np.abs(lens(100, 0.05, 2)[0])
        return [Panel(lens(100, 0.05), "evidence", 0.05, overlay=heat, overlay_title="Grad-CAM",
                      curves=(ring,), unit="counts")]  # fmt: skip
    return [Panel(lens(75, 0.1, seed), f"seed {seed}", 0.1), Panel(lens(75, 0.1, seed + 1), f"seed {seed + 1}", 0.1)]


def real(case: str) -> list[Panel]:
    """Images of real telescopes."""
    from astropy.io import fits

    if case == "euclid":
        with fits.open(REAL / "euclid_q1" / "102020532_NEG589257492489565961.fits") as hdus:
            names = ("VIS", "NIR_Y", "NIR_J", "NIR_H")
            header = hdus["VIS_FLUX"].header
            cube = np.stack([np.asarray(hdus[f"{name}_FLUX"].data, np.float32) for name in names])
        return [Panel(cube, "Euclid Q1 lens", 0.1, header.tostring(), "uJy", names)]
    with fits.open(REAL / "hsc_hst" / "Cut_HSC.fits") as hsc, fits.open(REAL / "hsc_hst" / "Cut_HST.fits") as hst:
        one = Panel(np.asarray(hsc[0].data, np.float32), "HSC", 0.168, hsc[0].header.tostring(), bands=tuple("grizy"))
        two = Panel(np.asarray(hst[0].data, np.float32), "HST", 0.03, hst[0].header.tostring("\n"))
    return [one, two]


if __name__ == "__main__":
    st.set_page_config(layout="wide")
    case = st.query_params.get("case", "")
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    if st.button("New data", key="new"):
        st.session_state["seed"] = st.session_state.get("seed", 0) + 10
    shown = real(case) if case in ("euclid", "hsc") else panels(case, st.session_state.get("seed", 0))
    state = viewer(shown, key="view", mode=st.query_params.get("mode", "side"))
    st.text(f"run {st.session_state['runs']}, picked {state.picked}")
