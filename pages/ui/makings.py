"""Data sets in the making: a progress bar for each, live only while something is being made."""

from __future__ import annotations

import time

import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.making import Making, cancel, list_makings
from pages.ui.messages import plain, show_error

REFRESH_S = 1.0


def makings_panel() -> None:
    """Progress and cancel buttons of what is being made; the whole page reruns when something ends."""
    running = [making.id for making in list_makings() if making.state == "running"]
    _fragment(REFRESH_S if running else None)(running)


def _fragment(run_every: float | None):
    return st.fragment(_panel, run_every=run_every)


def _panel(running_before: list[str]) -> None:
    makings = list_makings()
    if [making.id for making in makings if making.state == "running"] != running_before:
        st.rerun()
    for making in makings:
        with st.container(border=True, key=f"making_{making.id}"):
            if making.state == "running":
                _progress(making)
            else:
                _failure(making)


def _progress(making: Making) -> None:
    bar, button = st.columns([5, 1], vertical_alignment="center")
    seconds = time.time() - making.started
    if making.total and making.done:
        left = seconds * (making.total - making.done) / making.done
        text = f"{making.done:,} of {making.total:,} images, about {_duration(left)} left"
        if making.done >= making.total:
            text = f"{making.total:,} images, finishing"
    else:
        text = "starting"
    bar.progress(
        min(1.0, making.done / making.total) if making.total else 0.0, text=f"**{plain(making.name)}**: {text}"
    )
    if button.button("Cancel", key=f"cancel_{making.id}", width="stretch"):
        cancel(making.id)
        st.rerun()


def _failure(making: Making) -> None:
    text, button = st.columns([5, 1], vertical_alignment="center")
    with text:
        show_error(UserError(f"{making.name!r} was not made. {making.error}"))
    if button.button("Dismiss", key=f"dismiss_{making.id}", width="stretch"):
        cancel(making.id)
        st.rerun()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
