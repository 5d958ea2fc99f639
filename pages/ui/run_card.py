"""One run up close: what to do with it, its note and its settings."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from deeplense_core.evaluations.compare import flat_settings
from deeplense_core.notes import baseline, read_note, set_baseline, write_note
from deeplense_core.runs import open_run
from pages.ui.messages import guard, plain
from pages.ui.state import EVALUATION, go


def run_card(run_id: str) -> None:
    """Heading, buttons, note and settings of a run."""
    with guard():
        run = open_run(run_id)
        spec, status = run.spec, run.status
    st.subheader(plain(spec.name or spec.model), anchor=False)
    if status.cause:
        st.error(plain(status.cause), icon=":material/error:")
    with st.container(horizontal=True, gap="small"):
        if st.button("Watch", icon=":material/monitoring:", key="card_live"):
            go("train", run=run.id)
        if status.best is not None and st.button(
            "Open evaluation", icon=":material/show_chart:", type="primary", key="card_evaluate"
        ):
            go(EVALUATION.get(spec.task, "evaluate"), run=run.id)
        _star(run.id)
    note_cell, settings_cell = st.columns(2, gap="medium")
    with note_cell:
        note = st.text_area("Note", read_note(run), key=f"note_{run.id}", height=160, max_chars=10_000,
                            placeholder="What you tried, and why; kept in the run's folder")  # fmt: skip
        if note != read_note(run):
            with guard():
                write_note(run, note)
            st.caption("Saved.")
    with settings_cell, st.expander("Settings", icon=":material/tune:"):
        settings = flat_settings(spec)
        table = pd.DataFrame({"setting": list(settings), "value": [str(v) for v in settings.values()]})
        st.dataframe(table, hide_index=True, height=320)


def _star(run_id: str) -> None:
    """Makes the run the baseline of all comparisons, or takes that back."""
    is_baseline = baseline() == run_id
    if st.button(
        "Baseline" if is_baseline else "Make it the baseline",
        icon=":material/star:" if is_baseline else ":material/star_border:", key="card_star",
        help="The run that comparisons measure the others against",
    ):  # fmt: skip
        with guard():
            set_baseline(None if is_baseline else run_id)
        st.rerun()
