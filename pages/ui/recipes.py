"""Choosing a recipe with sample images beside it, and making a data set of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.command import changed, shown, simulate_words
from deeplense_core.making import start_simulation
from deeplense_core.spec import knobs
from deeplense_core.workspace import safe_name
from pages.ui.forms import command_expander, label, settings_popover
from pages.ui.gallery import contact_sheet, state_stretch
from pages.ui.messages import guard, plain
from pages.ui.state import remember
from pages.ui.theme import class_label

LENSES = 4
MAX_COUNT = 1_000_000


@st.cache_data(max_entries=32, show_spinner="Simulating")
def samples(
    recipe: str, seed: int, as_published: bool, settings: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Images (n, c, h, w) and their class names, sorted by class: a column is one lens seen in each class."""
    from deeplense_core.sim import recipe_info, simulate

    classes = recipe_info(recipe)["classes"]
    batch = simulate(recipe, LENSES * len(classes), seed=seed, as_published=as_published, settings=settings,
                     matched=True)  # fmt: skip
    order = np.argsort(batch.labels.numpy(), kind="stable")
    return batch.images.numpy()[order], [classes[label] for label in batch.labels.numpy()[order]]


@st.cache_data(show_spinner="Loading the simulator")
def summaries() -> dict[str, str]:
    """What every recipe makes in one sentence, by name; the first call loads the simulator."""
    from deeplense_core.sim import RECIPES

    return {name: entry.summary for name, entry in RECIPES.items()}


def make_view() -> None:
    """The form on the left, what it would make on the right."""
    form, pictures = st.columns([2, 3], gap="large")
    with form, guard():
        info, made = _form()
    with pictures:
        images, labels = samples(info["name"], **made)
        for name in dict.fromkeys(labels):
            word = class_label(name)
            st.caption(word)
            contact_sheet(images[[label == name for label in labels]], LENSES, f"{LENSES} lenses, {word}")
        if not info["classes"][0].startswith(("lens", "nonlens")):
            st.caption("Each column is one lens: only the substructure differs from row to row.")
        state_stretch("asinh", 99.5)
    with form:
        _facts(info)


def _form() -> tuple[dict[str, Any], dict[str, Any]]:
    """What will be made, and the arguments of :func:`samples` that show it."""
    known = summaries()
    from deeplense_core.sim import RECIPES, recipe_info  # once the lines above have said that it is being loaded

    remember("make_recipe", next(iter(known)))
    recipe = st.radio(
        "Recipe", list(known), key="make_recipe", persist_state="session",
        captions=[plain(summary.rstrip(".")) for summary in known.values()],
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
    own = knobs(RECIPES[recipe].config)
    settings = changed(settings_popover(own, f"make_{recipe}"), own)
    if settings:
        st.caption(plain("Changed: " + ", ".join(f"{label(own[k])} {value}" for k, value in settings.items())))
    suggestion = f"{recipe}{'-published' if published else ''}{'-own' if settings else ''}-{count}-seed{seed}"
    name = st.text_input("Name", placeholder=suggestion, key="make_name", persist_state="session") or suggestion
    info = recipe_info(recipe, settings, published)
    made = {"seed": int(seed), "as_published": published, "settings": settings}
    if st.button("Make the data set", type="primary", key="make_start"):
        start_simulation(recipe, int(count), name, **made)
        st.session_state["data_view_next"] = "Data sets"
        st.rerun()
    command_expander(shown(simulate_words(recipe, int(count), f"workspace/datasets/{safe_name(name)}", **made)))
    st.caption(_size(info, int(count)))
    return info, made


def _size(info: Mapping[str, Any], count: int) -> str:
    """Pixels of an image, and what ``count`` of them take on disk."""
    c, h, w = info["shape"]
    target = info["target_shape"] or (0, 0, 0)
    megabytes = 4e-6 * count * (c * h * w + target[0] * target[1] * target[2])
    size = f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
    scale = info["pixel_scale_arcsec"]
    each = f"{scale:g} arcsec each" if scale else "of several scales"
    finer = f", and the same sky on {target[1]} × {target[2]}" if target[0] else ""
    return f"{c} × {h} × {w} pixels, {each}{finer}, {size} on disk"


def _facts(info: Mapping[str, Any]) -> None:
    st.write(plain(info["text"]))
    if info["differences"]:
        with st.expander("How it differs from the published set"):
            for difference in info["differences"]:
                st.markdown(f"- {plain(difference)}")
    st.caption(plain(f"Pixel values: {info['unit']}. Source: {info['source']}."))
