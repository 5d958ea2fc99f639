"""Super-resolution: what networks make of a coarse image, beside the interpolations and the fine image."""

from __future__ import annotations

import numpy as np
import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.metrics.superres import AVERAGED
from pages.ui import own_sky, pairs, sharpened
from pages.ui.messages import guard, show_error
from pages.ui.pairs import Pair
from pages.ui.picker import SIM, data_options, network_options
from pages.ui.state import query, remember
from pages.ui.theme import page
from pages.ui.viewer import viewer

TABS = ("This image", "All test images", "What the coarse image confirms")
MOST_NETWORKS = 3


def choose_pair() -> Pair:
    """One of a pair set, by number, or the reader's own images."""
    # Fresh pairs first: they are there in every workspace.
    options = dict(sorted(data_options(pairs=True).items(), key=lambda option: not option[0].startswith(SIM)))
    options[own_sky.OWN] = own_sky.LABEL
    data_cell, number_cell = st.columns([5, 2], gap="medium", vertical_alignment="bottom")
    data = data_cell.selectbox("Sky", options, format_func=options.get, key="superres_data", persist_state="session")
    if data == own_sky.OWN:
        with guard():
            return own_sky.own_pair()
    remember("superres_number", 0)
    with guard():
        last = pairs.count_of(data) - 1
        st.session_state["superres_number"] = min(st.session_state["superres_number"], last)
        number = number_cell.number_input("Image", 0, last, step=1, key="superres_number", persist_state="session")
        return pairs.pair_of(data, number)


def choose_rows(scale: int | None) -> list[str]:
    """Interpolations and networks that make images of this scale (of any, where it is open)."""
    from deeplense_core.models.interpolation import KERNELS

    networks = {name: said for name, said in network_options(("superres",)).items()
                if scale in (None, pairs.scale_of(name))}  # fmt: skip
    wanted = query("run")
    if wanted in networks and wanted != st.session_state.get("superres_run_seen"):  # else it was followed before
        st.session_state["superres_networks"] = [wanted]
    st.session_state["superres_run_seen"] = wanted
    remember("superres_networks", list(networks)[:1])
    st.session_state["superres_networks"] = [n for n in st.session_state["superres_networks"] if n in networks]
    remember("superres_kernels", ["bicubic"])
    row = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
    chosen = row.multiselect(
        "Networks", networks, format_func=pairs.row_labels(networks).get, key="superres_networks",
        max_selections=MOST_NETWORKS, persist_state="session", width=520,
        placeholder="none yet: train one, or look at the interpolations",
    )  # fmt: skip
    kernels = row.multiselect("Interpolations", list(KERNELS), key="superres_kernels", persist_state="session",
                              width=380)  # fmt: skip
    if chosen and scale is None:  # results of one scale side by side
        chosen = [name for name in chosen if pairs.scale_of(name) == pairs.scale_of(chosen[0])]
    averaged = row.toggle(
        "Average ×8", key="superres_averaged", persist_state="session",
        help="The mean over flips and quarter turns, each turned back: eight times the work, a little less noise",
    )  # fmt: skip
    return [*kernels, *(name + AVERAGED * averaged for name in chosen)]


def results(pair: Pair, rows: list[str], scale: int) -> dict[str, np.ndarray]:
    """What each row makes of the coarse image."""
    made = {}
    for row in rows:
        try:
            made[row] = pairs.made(row, pairs.written(row), scale, pair.digest, pair)
        except UserError as err:  # the others are worth seeing all the same
            show_error(err)
    return made


page("Super-resolution", "What networks make of a coarse image, against what a finer camera saw of the same sky.")
pair = choose_pair()
fixed = None if pair.high is None else pair.high.shape[-1] // pair.low.shape[-1]
rows = choose_rows(fixed)
networks = [row for row in rows if pairs.written(row)]
scale = fixed or (pairs.scale_of(networks[0].removesuffix(AVERAGED)) if networks else 2)
images = results(pair, rows, scale)
viewer(sharpened.panels(pair, images, scale), key="superres_viewer", mode="side", height=420)
tabs = st.tabs(TABS, key="superres_tab", on_change="rerun")
shows = (sharpened.this_image, sharpened.all_images, sharpened.confirmed)
for tab, show in zip(tabs, shows, strict=True):
    if tab.open:
        with tab, guard():
            show(pair, images, scale)
