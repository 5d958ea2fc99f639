"""Runs: every run in one table; pick one to act on it, several to compare them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from deeplense_core.notes import baseline
from deeplense_core.plots import metric_label
from deeplense_core.runs import STATES, RunRow, list_runs
from deeplense_core.trash import RUN, delete_run
from pages.ui.comparison import comparison
from pages.ui.live import clock
from pages.ui.messages import empty_state, guard
from pages.ui.picker import short_data
from pages.ui.run_card import run_card
from pages.ui.state import query, set_query
from pages.ui.theme import page
from pages.ui.trash import throw_away, trash_bar

MARKS = {"queued": "◌", "running": "▶", "done": "●", "failed": "✕", "cancelled": "■", "lost": "?"}
STAR = "★ "
COLUMNS = {
    "state": st.column_config.TextColumn("State", width=100),
    "name": st.column_config.TextColumn("Name", width=190),
    "best": st.column_config.NumberColumn("Best", format="%.4f", width=75),
    "score": st.column_config.TextColumn("of", width=60),
    "curve": st.column_config.LineChartColumn("Validation", width=95),
    "progress": st.column_config.ProgressColumn("Progress", format="percent", min_value=0, max_value=1, width=110),
    "took": st.column_config.TextColumn("Time", width=90),
    "data": st.column_config.TextColumn("Data", width=140),
    "model": st.column_config.TextColumn("Model", width=130),
    "started": st.column_config.DatetimeColumn("Made", format="YYYY-MM-DD HH:mm", width=150),
    "id": st.column_config.TextColumn("Id", width=320),
}


def matching(rows: Sequence[RunRow], text: str, states: Sequence[str]) -> list[RunRow]:
    """Rows in one of ``states`` (any, when empty) with every word of ``text`` in name, id, data or model."""
    words = text.lower().split()

    def fits(row: RunRow) -> bool:
        where = " ".join((row.name, row.id, row.data, row.model, row.task)).lower()
        return (not states or row.state in states) and all(word in where for word in words)

    return [row for row in rows if fits(row)]


def table_of(rows: Sequence[RunRow]) -> pd.DataFrame:
    """The rows as the table shows them; the baseline has a star."""
    starred = baseline()
    return pd.DataFrame(
        {
            "state": [f"{MARKS[row.state]} {row.state}" for row in rows],
            "name": [STAR * (row.id == starred) + (row.name or row.model) for row in rows],
            "best": [row.best for row in rows],
            "score": [metric_label(row.best_name) if row.best is not None else "" for row in rows],
            "curve": [row.val_curve for row in rows],
            "progress": [1.0 if row.state == "done" else row.progress for row in rows],
            "took": ["" if row.duration_s is None else clock(row.duration_s) for row in rows],
            "data": [short_data(row.data) for row in rows],
            "model": [row.model for row in rows],
            "started": pd.to_datetime([row.created for row in rows], unit="s", utc=True),
            "id": [row.id for row in rows],
        }
    )


def pick_rows(rows: Sequence[RunRow]) -> list[str]:
    """The table; ids of the rows that are ticked."""
    ids = [row.id for row in rows]
    wanted = (query("compare") or query("run") or "").split(",")
    ticked = [place for place, name in enumerate(ids) if name in wanted]
    event = st.dataframe(
        table_of(rows), hide_index=True, column_config=COLUMNS, height=_height(len(rows)),
        on_select="rerun", selection_mode="multi-row", alt=f"{len(rows)} runs",
        # Ticks are kept by place: another set of rows is another table, or they would slide to other runs.
        key=f"runs_table_{hash(tuple(ids))}",
        selection_default={"selection": {"rows": ticked}} if ticked else None,
    )  # fmt: skip
    return [ids[place] for place in event["selection"]["rows"]]


def _height(rows: int) -> int:
    return min(38 + 35 * rows + 2, 420)


def delete_button(ids: Sequence[str]) -> None:
    label = "Delete" if len(ids) == 1 else f"Delete these {len(ids)}"
    if st.button(label, icon=":material/delete:", key="runs_delete"):
        with guard():
            throw_away(ids, delete_run)
        set_query(run=None, compare=None)
        st.rerun()


page("Runs", "Tick one run to act on it, two or more to compare them with the starred one, else with the first.")
trash_bar(RUN)
every = list_runs()
if not every:
    empty_state("No run yet. Train a first classifier: two epochs take a minute or two.", "Train", "train")
    st.stop()
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    text = st.text_input("Filter", key="runs_filter", placeholder="name, data, model or id", width=320,
                         bind="query-params", icon=":material/filter_list:")  # fmt: skip
    present = [name for name in STATES if any(row.state == name for row in every)]
    states = st.pills("State", present, selection_mode="multi", key="runs_states")
shown = matching(every, text or "", states)
if not shown:
    st.info("No run fits this filter.", icon=":material/filter_list_off:")
    st.stop()
chosen = pick_rows(shown)
if not chosen:
    st.caption(f"{len(shown):,} of {len(every):,} runs")
elif len(chosen) == 1:
    run_card(chosen[0])
    delete_button(chosen)
else:
    starred = baseline()
    comparison(sorted(chosen, key=lambda name: name != starred))
    delete_button(chosen)
