"""Data: make a data set of a recipe, bring one in from a folder, look at those that are there."""

import streamlit as st

from deeplense_core.data import list_datasets
from deeplense_core.making import start_ingest
from deeplense_core.trash import DATA_SET
from pages.ui.datasets import datasets_view
from pages.ui.makings import makings_panel
from pages.ui.messages import guard
from pages.ui.recipes import make_view
from pages.ui.state import query
from pages.ui.theme import page
from pages.ui.trash import trash_bar

VIEWS = ("Data sets", "Make from a recipe", "Read a folder")


def choose_view(anything: bool) -> str:
    """Which of the views is shown: the data sets where there are any, else how to make one."""
    following = st.session_state.pop("data_view_next", None)
    if query("recipe"):
        following = VIEWS[1]
        st.session_state["make_recipe"] = st.query_params.pop("recipe")
    if following or "data_view" not in st.session_state:
        st.session_state["data_view"] = following or ("Data sets" if anything or query("data") else VIEWS[1])
    return st.segmented_control(
        "View", VIEWS, key="data_view", required=True, persist_state="session", label_visibility="collapsed"
    )


def ingest_view() -> None:
    """The form that reads a folder of labelled images on this machine into a data set."""
    from deeplense_core.ingest import LAYOUTS

    st.write("A folder with one sub-folder a class, or with train, val and test folders of them: "
             "NumPy, FITS, PNG, JPEG, TIFF or HDF5 images.")  # fmt: skip
    with st.form("ingest", border=True):
        folder = st.text_input("Folder on this machine", key="ingest_folder", placeholder="/data/Model_I")
        name_cell, layout_cell, channels_cell = st.columns(3)
        name = name_cell.text_input("Name of the data set", key="ingest_name")
        layout = layout_cell.selectbox(
            "Layout", ["auto", *(name for name in LAYOUTS if name != "auto")], key="ingest_layout",
            help="auto recognises the published sets; anything else holds the folder to that layout.",
        )  # fmt: skip
        channels = channels_cell.selectbox(
            "Bands of an array", ("auto", "first", "last"), key="ingest_channels",
            help="Which axis counts the bands: the first, (c, h, w), or the last, (h, w, c); auto takes the shorter.",
        )  # fmt: skip
        if st.form_submit_button("Read the folder", type="primary", key="ingest_start"):
            with guard():
                start_ingest(folder, name or folder.rstrip("/").rpartition("/")[2], layout, channels)
            st.session_state["data_view_next"] = "Data sets"
            st.rerun()


page("Data", "Labelled images to train and test on: simulated here, or read from a folder of yours.")
found = bool(list_datasets())
view = choose_view(found)
makings_panel()
trash_bar(DATA_SET)
if view == VIEWS[1]:
    make_view()
elif view == VIEWS[2]:
    ingest_view()
elif found:
    datasets_view()
else:
    st.write("No data set yet. Make one from a recipe, or read a folder.")
