"""Results: what the networks are worth and how fast the code is, each number with the command that prints it."""

from __future__ import annotations

import streamlit as st

from deeplense_core.results import quality
from pages.ui.benches import benches_view
from pages.ui.glossary import glossary
from pages.ui.messages import guard
from pages.ui.quality import TASKS, task_view
from pages.ui.state import query, remember, set_query
from pages.ui.theme import page

BENCH = "bench"
VIEWS = {**TASKS, BENCH: "Benches"}


def choose_view() -> str:
    """A task, or the benches; kept in the address."""
    remember("results_view", query("view") if query("view") in VIEWS else next(iter(VIEWS)))
    chosen = st.segmented_control("Show", list(VIEWS), format_func=VIEWS.get, required=True, key="results_view",
                                  persist_state="session", label_visibility="collapsed")  # fmt: skip
    set_query(view=chosen)
    return chosen


page("Results", "What the networks are worth and how fast the code is: every number beside its baseline, with the "
     "command that prints it.")  # fmt: skip
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    view = choose_view()
    glossary()
with guard():
    if view == BENCH:
        benches_view()
    else:
        task_view(view, [table for table in quality() if table.task == view])
