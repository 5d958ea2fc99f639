"""Choosing a recipe with sample images beside it, and making a data set of it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from deeplense_core.making import start_simulation
from pages.ui.gallery import contact_sheet, state_stretch
from pages.ui.messages import guard, plain
from pages.ui.state import remember
from pages.ui.theme import class_label

LENSES = 4
MAX_COUNT = 1_000_000


@st.cache_data(max_entries=32, show_spinner="Simulating")
def samples(recipe: str, seed: int, as_published: bool) -> tuple[np.ndarray, list[str]]:
    """Images (n, c, h, w) and their class names, sorted by class: a column is one lens seen in each class."""
    from deeplense_core.sim import recipe_info, simulate

    classes = recipe_info(recipe)["classes"]
    batch = simulate(recipe, LENSES * len(classes), seed=seed, as_published=as_published, matched=True)
    order = np.argsort(batch.labels.numpy(), kind="stable")
    return batch.images.numpy()[order], [classes[label] for label in batch.labels.numpy()[order]]


@st.cache_data(show_spinner="Loading the simulator")
def recipes() -> dict[str, dict]:
    """What every recipe makes, by name."""
    from deeplense_core.sim import RECIPES, recipe_info

    return {name: recipe_info(name) | {"summary": entry.summary} for name, entry in RECIPES.items()}


def make_view() -> None:
    """The form on the left, what it would make on the right."""
    form, pictures = st.columns([2, 3], gap="large")
    with form, guard():
        info, settings = _form()
    with pictures:
        images, labels = samples(info["name"], settings["seed"], settings["as_published"])
        for name in dict.fromkeys(labels):
            word = class_label(name)
            st.caption(word)
            contact_sheet(images[[label == name for label in labels]], LENSES, f"{LENSES} lenses, {word}")
        if not info["classes"][0].startswith(("lens", "nonlens")):
            st.caption("Each column is one lens: only the substructure differs from row to row.")
        state_stretch("asinh", 99.5)
    with form:
        _facts(info)


def _form() -> tuple[dict, dict]:
    known = recipes()
    remember("make_recipe", next(iter(known)))
    recipe = st.radio(
        "Recipe", list(known), key="make_recipe", persist_state="session",
        captions=[plain(info["summary"].rstrip(".")) for info in known.values()],
    )  # fmt: skip
    remember("make_count", 3000)
    count_cell, seed_cell = st.columns(2)
    count = count_cell.number_input(
        "Images", 1, MAX_COUNT, step=100, key="make_count", persist_state="session"
    )
    seed = seed_cell.number_input(
        "Seed", 0, 2**31 - 1, step=1, key="make_seed", persist_state="session",
        help="The same seed makes the same images, byte for byte.",
    )  # fmt: skip
    published = st.toggle(
        "As published, quirks included", key="make_published", persist_state="session",
        help="Off: the corrected recipe. On: the published one, to compare with published numbers.",
    )  # fmt: skip
    suggestion = f"{recipe}{'-published' if published else ''}-{count}-seed{seed}"
    name = st.text_input("Name", placeholder=suggestion, key="make_name", persist_state="session") or suggestion
    if st.button("Make the data set", type="primary", key="make_start"):
        start_simulation(recipe, int(count), name, int(seed), published)
        st.session_state["data_view_next"] = "Data sets"
        st.rerun()
    c, h, w = known[recipe]["shape"]
    target = known[recipe]["target_shape"] or (0, 0, 0)
    megabytes = 4e-6 * count * (c * h * w + target[0] * target[1] * target[2])
    size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
    scale = known[recipe]["pixel_scale_arcsec"]
    each = f"{scale:g} arcsec each" if scale else "of several scales"
    finer = f", and the same sky on {target[1]} × {target[2]}" if target[0] else ""
    st.caption(f"{c} × {h} × {w} pixels, {each}{finer}, {size} on disk")
    return known[recipe], {"seed": int(seed), "as_published": published}


def _facts(info: dict) -> None:
    st.write(plain(info["text"]))
    if info["differences"]:
        with st.expander("How it differs from the published set"):
            for difference in info["differences"]:
                st.markdown(f"- {plain(difference)}")
    st.caption(plain(f"Pixel values: {info['unit']}. Source: {info['source']}."))
