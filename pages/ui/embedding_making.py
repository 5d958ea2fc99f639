"""Making an embedding from its page: the form, what is under way, and the first step in an empty workspace."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from deeplense_core.data import open_dataset
from deeplense_core.embeddings import SAMPLE
from deeplense_core.embeddings.embed import WITH_FEATURES, default_out
from deeplense_core.embeddings.making import Making, cancel, list_makings, start
from deeplense_core.embeddings.project import METHODS
from deeplense_core.errors import UserError
from deeplense_core.shelf.cards import shipped_models
from pages.ui.messages import guard, plain, show_error
from pages.ui.picker import SIM, data_options, network_options

REFRESH_S = 1.0
FOLDER = "a folder of images"
SAMPLE_MODEL, SAMPLE_DATA = "common-test", "sim:common-test"


def new_embedding() -> None:
    """The form that starts one."""
    networks = network_options(WITH_FEATURES)
    options = {**data_options(), FOLDER: "A folder of images on this machine"}
    with st.popover("New embedding", icon=":material/add:", key="embeddings_new"):
        model = st.selectbox("Network", networks, format_func=networks.get, key="embeddings_model")
        data = st.selectbox("Images", options, format_func=options.get, key="embeddings_data")
        count = SAMPLE
        if data == FOLDER:
            data = st.text_input("Folder", key="embeddings_folder", placeholder="/data/cutouts")
        elif data.startswith(SIM):
            count = st.number_input("Images to simulate", 30, 100_000, SAMPLE, key="embeddings_count")
        method = st.segmented_control("Map", list(METHODS), default="pca", required=True, key="embeddings_first",
                                      format_func=method_label)  # fmt: skip
        if st.button("Embed", type="primary", key="embeddings_start"):
            with guard():
                begin(model, data, method, count)
            st.rerun()


def begin(model: str, data: str, method: str, count: int = SAMPLE) -> None:
    """Starts an embedding of the workspace.

    Raises:
        UserError: nothing at that place, or the same is being made already.
    """
    total = count
    if not data.startswith(SIM):
        folder = Path(data).expanduser().absolute()
        if not data.strip() or not folder.exists():
            raise UserError(f"There is nothing at {data!r} on this machine. Give the full path of a folder.")
        data = str(folder)
        total = len(open_dataset(folder)) if (folder / "manifest.json").exists() else None
    named = f"{data}-{count}" if data.startswith(SIM) else data
    start(model, [data], default_out(model, [named]), method, total, count)


def method_label(name: str) -> str:
    return METHODS[name].about["label"]


def first_embedding() -> None:
    """What an empty workspace shows: one sentence and one button."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"No embedding yet. Simulate {SAMPLE} lenses and see how the network that comes with DeepLense "
                    "arranges them: half a minute.", width="content")  # fmt: skip
        if st.button("Embed samples", type="primary", key="embeddings_sample"):
            with guard():
                begin(SAMPLE_MODEL if SAMPLE_MODEL in shipped_models() else shipped_models()[0], SAMPLE_DATA, "pca")
            st.rerun()


def makings_panel() -> None:
    """Progress of what is being made; the whole page reruns when something ends."""
    running = [making.id for making in list_makings() if making.running]
    st.fragment(_panel, run_every=REFRESH_S if running else None)(running)


def _panel(running_before: list[str]) -> None:
    makings = list_makings()
    if [making.id for making in makings if making.running] != running_before:
        st.rerun()
    for making in makings:
        with st.container(border=True, key=f"embedding_{making.id}"):
            text, button = st.columns([5, 1], vertical_alignment="center")
            with text:
                _said(making)
            label = "Cancel" if making.running else "Dismiss"
            if button.button(label, key=f"embedding_stop_{making.id}", width="stretch"):
                cancel(making.id)
                st.rerun()


def _said(making: Making) -> None:
    if not making.running:
        show_error(UserError(f"{making.what!r} was not embedded. {making.error}"))
        return
    seconds = time.time() - making.started
    name = f"**{plain(making.what)}**"
    if making.drawing:
        st.progress(1.0, text=f"{name}: drawing the {method_label(making.method)} map, {seconds:.0f} s so far")
    elif making.done and making.total:
        left = seconds * (making.total - making.done) / making.done
        st.progress(min(1.0, making.done / making.total),
                    text=f"{name}: {making.done:,} of {making.total:,} images, about {left:.0f} s left")  # fmt: skip
    else:
        st.progress(0.0, text=f"{name}: {making.done:,} images" if making.done else f"{name}: starting")
