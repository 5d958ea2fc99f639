"""Evaluations in the background as pages offer and watch them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.evaluations import scoring
from deeplense_core.shelf.cards import find_card, own_test_data
from pages.ui.messages import guard, plain, show_error
from pages.ui.picker import pick_data, short_data

SPLITS = ("test", "val", "train", "all")
TICK_S = 2.0


def another_data_set(names: Sequence[str], key: str, pairs: bool = False) -> None:
    """A small form that starts an evaluation of each of these networks on the same data.

    Args:
        names: Of the networks.
        key: Begins the keys of the widgets.
        pairs: Offer only data with pairs of a coarse and a fine image.
    """
    with st.popover("Other data", icon=":material/add_chart:"):
        data = pick_data(f"{key}_data", pairs=pairs)
        split = st.segmented_control("Split", SPLITS, default="test", required=True, key=f"{key}_split")
        if st.button("Evaluate", type="primary", key=f"{key}_start"):
            with guard():
                for name in names:
                    scoring.start(name, data, split)
            st.rerun()


def under_way(name: str, key: str, label: str = "", ended: Callable[[], object] = lambda: None) -> None:
    """The evaluation of a network that runs now, or why the last one failed; nothing without one.

    Args:
        name: Of the network.
        key: Begins the keys of the widgets.
        label: What the page calls the network, where there are several.
        ended: Called when the evaluation has come to its end, before the page is drawn anew.
    """
    now = scoring.scoring(name)
    if now is None:
        return
    if now.running:
        st.fragment(_wait, run_every=TICK_S)(name, label, now.data, ended)
        return
    show_error(UserError(now.error))
    if st.button("Dismiss", key=f"{key}_dismiss"):
        scoring.forget(name)
        st.rerun()


def _wait(name: str, label: str, data: str, ended: Callable[[], object]) -> None:
    now = scoring.scoring(name)
    if now is None or not now.running:
        ended()
        st.rerun()
    what = f"Evaluating {plain(label)} on" if label else "Evaluating on"
    st.info(f"{what} {plain(short_data(data))}. This goes on when the page is closed.",
            icon=":material/hourglass_top:")  # fmt: skip


def offer_own_test(name: str, key: str, label: str = "This network") -> None:
    """For a network without any evaluation: one button for the obvious one; nothing while one is under way."""
    if scoring.scoring(name):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"{plain(label)} has not been evaluated here yet.", width="content")
        if st.button("Evaluate on its own test images", type="primary", key=f"{key}_own"):
            with guard():
                scoring.start(name, own_test_data(find_card(name).card))
            st.rerun()
