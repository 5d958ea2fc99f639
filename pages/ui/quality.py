"""Quality tables of the results page: networks beside their baselines, and other people's numbers apart from them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from deeplense_core import plots
from deeplense_core.results import PUBLISHED, Table
from deeplense_core.shelf.card_text import HEADLINES, PYTHON, interval_text, shown_metrics
from pages.ui.glossary import metric_meaning
from pages.ui.messages import plain
from pages.ui.theme import theme_name

TASKS = {"classify": "Classify substructure", "find": "Find lenses", "superres": "Super-resolution",
         "ssl": "Self-supervision"}  # fmt: skip


def task_view(task: str, tables: list[Table]) -> None:
    """All that is known of a task: its tables, one after the other, and what others published."""
    if not tables:
        with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
            st.markdown("No network of this task has been scored yet. Train one: its test is taken at the end.",
                        width="content")  # fmt: skip
            st.page_link("pages/train.py", label="Train", icon=":material/arrow_forward:")
    for place, table in enumerate(tables):
        quality_table(table, f"quality_{task}_{place}")
    published(task)


def quality_table(table: Table, key: str) -> None:
    """One body of data: its main metric as a picture, every number as a table, and the commands behind them."""
    shown = shown_metrics(table.task, list(table.rows.values())) or list(HEADLINES[table.task][:1])
    main = {row: metrics[shown[0]] for row, metrics in table.rows.items()
            if metrics.get(shown[0], {}).get("value") is not None}  # fmt: skip
    with st.container(border=True):
        st.markdown(f"**{plain(table.data)}**, {table.n:,} images")
        if main:
            figure = plots.compare_figure(main, metric=shown[0], theme=theme_name())
            said = ", ".join(f"{row} {interval_text(metric)}" for row, metric in main.items())
            st.plotly_chart(figure, theme=None, key=f"{key}_chart", alt=f"{plots.metric_label(shown[0])}: {said}")
        cells = {plots.metric_label(name): [interval_text(m.get(name)) for m in table.rows.values()] for name in shown}
        st.dataframe(
            pd.DataFrame({"": list(table.rows), **cells}), hide_index=True, alt=f"Metrics on {table.data}",
            column_config={plots.metric_label(name): st.column_config.TextColumn(help=metric_meaning(name))
                           for name in shown},
        )  # fmt: skip
        st.caption("In brackets: 95 % bootstrap intervals. Rows that learnt nothing are the baselines.")
        with st.expander("The commands that print this", icon=":material/terminal:"):
            st.code("\n".join(f"{PYTHON} {command}" for command in table.commands), language="bash", wrap_lines=True)


def published(task: str) -> None:
    """Other people's numbers, on other people's data."""
    rows = [one for one in PUBLISHED if one.task == task]
    st.markdown("**Published elsewhere: other data, not comparable**")
    st.dataframe(
        pd.DataFrame({"data": [one.data for one in rows], "who": [one.who for one in rows],
                      "number": [one.number for one in rows]}),
        hide_index=True, alt="Published numbers on other data",
        column_config={"data": "Data", "who": "Network", "number": "Published"},
    )  # fmt: skip
