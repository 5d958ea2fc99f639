"""Simulate: one lens to play with. Sliders beside, the picture before you, the address is the lens."""

from urllib.parse import urlencode

import streamlit as st

from deeplense_core.spec import knobs
from pages.ui.lens import KEY, PRESETS, curves, fits_bytes, frozen, render
from pages.ui.messages import guard
from pages.ui.sliders import apply, link, slider_form
from pages.ui.state import go
from pages.ui.theme import page
from pages.ui.viewer import Panel, viewer


def take_preset(known) -> None:
    """Moves the sliders where the preset says."""
    apply(KEY, known, PRESETS.get(st.session_state["lens_preset"]) or {})


def controls(known) -> dict:
    """Presets and sliders, in the side bar."""
    with st.sidebar:
        st.selectbox("Start from", list(PRESETS), index=None, placeholder="a preset", key="lens_preset",
                     on_change=take_preset, args=(known,))  # fmt: skip
        return slider_form(known, KEY, opened=("Lens", "Substructure", "Source"))


def pictures(view) -> None:
    """The image and what made it, the convergence and the source, at one scale."""
    critical, caustics = curves(view)
    scale = view.pixel_scale_arcsec
    panels = [
        Panel(view.image, "Image", scale, unit=view.unit, curves=critical),
        Panel(view.kappa, "Convergence", scale, curves=critical, stretch="log", colormap="viridis"),
        Panel(view.source, "Source", view.source_scale_arcsec, unit=view.unit, curves=caustics),
    ]
    viewer(panels, key="lens_viewer", height=480, lead=True)


def actions(values: dict, known) -> None:
    """What can be done with the lens on screen."""
    data = fits_bytes(frozen(values))
    st.download_button("Save FITS", data, "lens.fits", "application/fits", icon=":material/download:",
                       on_click="ignore", key="lens_save")  # fmt: skip
    with st.popover("Copy link", icon=":material/link:"):
        address = (st.context.url or "").partition("?")[0]
        st.code(f"{address}?{urlencode(link(values, known))}", language=None, wrap_lines=True)
    if st.button("Classify this", icon=":material/search:", key="lens_classify"):
        st.session_state["handed_over"] = ("lens.fits", data)
        go("analyse")
    if st.button("Make a data set", icon=":material/photo_library:", key="lens_data"):
        go("data", recipe="common-test")


def main() -> None:
    """Sliders, actions, picture."""
    page("Simulate")
    from deeplense_core.sim.lens import LensConfig

    known = knobs(LensConfig)
    with guard():
        values = controls(known)
        view = render(frozen(values))
    pictures(view)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        actions(values, known)


main()
