"""Lenses as other telescopes see them, simulated when they are first asked for: what a network has not learnt."""

from __future__ import annotations

import streamlit as st

from pages.ui.answers import simulated_files

SEED = 5
SURVEYS = {
    "Hubble": ("model-3", "no"),
    "Euclid": ("model-2", "no"),
    "from the ground, g r i": ("lens-finding-easy", "lens"),
}
"""What a sample is called -> its recipe and class."""


def survey_names(bands: int) -> list[str]:
    """Samples that a network of so many bands can be asked about; of several bands one takes the mean."""
    from deeplense_core.sim import recipe_info

    found = {name: len(recipe_info(recipe)["bands"]) for name, (recipe, _) in SURVEYS.items()}
    return [name for name, count in found.items() if bands in (1, count)]


def pick_surveys(bands: int, disabled: bool) -> list[tuple[str, bytes]]:
    """The samples that the reader wants: name and FITS file of each."""
    names = st.pills("or a lens as another telescope sees it", survey_names(bands), selection_mode="multi",
                     key="analyse_surveys", disabled=disabled, persist_state="session")  # fmt: skip
    return [(f"simulated, {name}.fits", _file(name)) for name in names]


def _file(name: str) -> bytes:
    recipe, label = SURVEYS[name]
    return simulated_files(recipe, (label,), SEED)[label]
