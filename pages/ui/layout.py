"""Where things stand on a page, whatever its width."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

FORM_PX = 460
HALF_PX = 604
"""Width of one of two figures: a pair fits from a window of 1,400 pixels on."""


def pair() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Two places side by side where both fit, one below the other on a narrower screen."""
    row = st.container(horizontal=True, gap="medium")
    return row.container(width=HALF_PX), row.container(width=HALF_PX)


def form_and_view() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A narrow place for a form and a wide one for what it leads to; one below the other on a narrower screen."""
    row = st.container(horizontal=True, gap="medium")
    return row.container(width=FORM_PX), row.container(width=2 * HALF_PX - FORM_PX)
