"""How every page begins, and which of the two themes the reader sees."""

from __future__ import annotations

from typing import Literal

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

ON_ACCENT = {"light": "#FFFFFF", "dark": "#0E1116"}
"""Text on the accent."""
_STYLE = f"""<style>
[data-testid^="stBaseButton-primary"]:enabled, [data-testid^="stBaseButton-primary"]:enabled:hover,
[data-testid="stMultiSelectTagsContainer"] [data-tag] {{
  color: light-dark({ON_ACCENT["light"]}, {ON_ACCENT["dark"]}) }}
</style>"""
"""The one style of the pages: Streamlit writes white on the primary colour whatever it is, and on the bright accent of
the dark theme nobody could read that (1.9 : 1)."""


def page(title: str, lead: str = "") -> None:
    """The page's heading and, below it, one quiet sentence. The first thing a page calls."""
    if PagesManager.uses_pages_directory:
        # A server's very first visit, at a deep link: Streamlit found the folder ``pages`` and ran this file in
        # place of app.py. Its own st.navigation ends that for good, but only app.py calls it.
        PagesManager.uses_pages_directory = False
        st.rerun()
    st.html(_STYLE)
    st.title(title, anchor=False)
    if lead:
        st.caption(lead)


def theme_name() -> Literal["light", "dark"]:
    """The theme on screen, as the figures of ``deeplense_core.plots`` take it."""
    return "dark" if st.context.theme.type == "dark" else "light"


def class_label(name: str) -> str:
    """The class in words and with its name in the data set: "subhalo (CDM)"; unknown names stay."""
    # The figures bring scipy, which the first page does not wait for.
    from deeplense_core.plots.theme import class_style

    return class_style(name).label
