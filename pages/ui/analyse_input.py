"""The side of the analyse page: which network, which images, and how their files are to be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from deeplense_core.reading.image_checks import MAX_CHANNELS
from deeplense_core.reading.uploads import Upload
from pages.ui.answers import Answered, Reading, identity, sample_recipe, samples, take_in
from pages.ui.messages import guard, plain
from pages.ui.picker import network_options, pick_network
from pages.ui.state import remember
from pages.ui.survey_samples import pick_surveys
from pages.ui.theme import class_label

ENDINGS = ["npy", "npz", "fits", "fit", "fts", "gz", "png", "jpg", "jpeg", "tif", "tiff", "h5", "hdf5", "zip"]
FIRST_SAMPLE = 1
"""Place, among the classes, of the sample that is shown at first: one with substructure."""


def classifiers() -> dict[str, str]:
    """Networks that tell classes apart, or find lenses -> what to call them; those that ship first."""
    options = network_options({"classify", "find"})
    return dict(sorted(options.items(), key=lambda option: "comes with" not in option[1]))


def choose_network(options: dict[str, str]) -> str:
    return pick_network(options, key="analyse_model")


def choose_images(card: Any) -> tuple[list[Upload], list[tuple[str, str]]]:
    """What was dropped; when nothing was, what the simulator handed over, or the samples that were picked."""
    dropped = st.file_uploader(
        "Images, any number: FITS, NPY, NPZ, HDF5, PNG, JPEG, TIFF, ZIP", ENDINGS,
        accept_multiple_files=True, key="analyse_upload",
    )  # fmt: skip
    with guard():
        made = samples(sample_recipe(card))
    first = list(made)[FIRST_SAMPLE : FIRST_SAMPLE + 1]
    if not set(remember("analyse_samples", first)) <= set(made):  # another network knows other classes
        st.session_state["analyse_samples"] = first
    names = st.pills("or simulated samples", list(made), selection_mode="multi", format_func=class_label,
                     key="analyse_samples", disabled=bool(dropped), persist_state="session")  # fmt: skip
    others = pick_surveys(card["shape"][0], bool(dropped))
    if dropped:
        return take_in((file.file_id, file.name, file) for file in dropped)
    if handed := st.session_state.get("handed_over"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.write("The lens from the simulator")
            if not st.button("Back to the samples", key="analyse_samples_again"):
                return take_in([(identity(*handed), *handed)])
        del st.session_state["handed_over"]
        st.rerun()
    files = [*((f"sample {name}.fits", made[name]) for name in names), *others]
    return take_in((identity(*file), *file) for file in files)


def scale_input(trained_at: tuple[float, float] | None) -> float | None:
    """For files that do not say how large their pixels are.

    Args:
        trained_at: Smallest and largest pixels of the training images in arcsec, None where unknown.
    """
    known = " to ".join(f"{scale:.3g}" for scale in dict.fromkeys(trained_at or ())) or "an unknown number of"
    return st.number_input(
        "Pixel scale, where a file does not say (arcsec)", 0.001, 10.0, None, 0.01, format="%.3f", key="analyse_scale",
        placeholder="unknown", persist_state="session",
        help=f"The network was trained at {known} arcsec per pixel.",
    )  # fmt: skip


def known_reading(uploads: Sequence[Upload], scale: float | None) -> Reading:
    """How the reader last said that these files are to be read, in the boxes of :func:`choose_reading`."""
    hdu, key, plane, bands = (st.session_state.get(_key(uploads, box)) for box in ("hdu", "array", "plane", "bands"))
    if not isinstance(bands, tuple):
        bands = (bands,) if isinstance(bands, int) else tuple(sorted(bands or ())) or None
    return Reading(hdu, plane, key, bands, scale)


def choose_reading(uploads: Sequence[Upload], shown: Answered, wanted: int) -> None:
    """Boxes for what there is to choose in the image on screen; a choice holds for all files of this drop.

    Args:
        uploads: All of them.
        shown: The one whose choices are offered.
        wanted: Bands that the network takes.
    """
    hdus, keys = shown.choices.get("hdus", ()), shown.choices.get("keys", ())
    planes, bands = shown.choices.get("planes", 1), shown.choices.get("bands", ())
    if len(hdus) > 1:
        names = [hdu["name"] for hdu in hdus]
        _box("HDU", {hdu["name"] if names.count(hdu["name"]) == 1 and hdu["name"] else hdu["index"]: _hdu_label(hdu)
                     for hdu in hdus}, _key(uploads, "hdu"))  # fmt: skip
    if len(keys) > 1:
        _box("Array", {name: name for name in keys}, _key(uploads, "array"))
    if planes > MAX_CHANNELS:
        _box("Plane", {i: f"{i + 1} of {planes}" for i in range(planes)}, _key(uploads, "plane"))
    elif len(bands) > wanted == 1:
        _box("Band", dict(enumerate(bands)), _key(uploads, "bands"), f"mean of all {len(bands)}")
    elif len(bands) < wanted:
        again = tuple(i % len(bands) for i in range(wanted))
        use = f"{', '.join(bands[i] for i in again)}: its colours mean nothing"
        _box("Bands", {again: use}, _key(uploads, "bands"),
             f"the file has {len(bands)}, the network takes {wanted}")  # fmt: skip
    elif len(bands) > wanted:
        st.multiselect(f"Bands: {wanted} of {len(bands)}", range(len(bands)), format_func=lambda i: plain(bands[i]),
                       max_selections=wanted, key=_key(uploads, "bands"))  # fmt: skip


def _box(label: str, options: dict[Any, str], key: str, otherwise: str = "automatic") -> None:
    """A choice among what a file holds; None is what is read without one."""
    labels = {None: otherwise, **options}
    st.selectbox(label, list(labels), format_func=lambda place: plain(labels[place]), key=key)


def _hdu_label(hdu: dict[str, Any]) -> str:
    shape = " × ".join(str(side) for side in hdu["shape"])
    return f"{hdu['name'] or hdu['index']} · {shape}" + (f" · {hdu['unit']}" if hdu["unit"] else "")


def _key(uploads: Sequence[Upload], box: str) -> str:
    """Of a box for the reading of these files: other files are read anew."""
    files = "".join(upload.id for upload in uploads)
    return f"reading_{box}_{hashlib.sha256(files.encode()).hexdigest()[:16]}"
