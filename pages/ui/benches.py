"""Benches on the results page: what was measured on which machine, and the button that measures this one."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from deeplense_core import background
from deeplense_core.plots.benches import ratio_figure
from deeplense_core.results import Bench, bench_rows, kept_benches
from deeplense_core.workspace import home
from pages.ui.messages import guard, plain
from pages.ui.theme import theme_name

TICK_S = 2.0
COLUMNS = {
    "row": st.column_config.TextColumn("Measured", width=210),
    "ours": st.column_config.NumberColumn("Ours", format="%.4g", width=90),
    "peer": st.column_config.NumberColumn("Peer", format="%.4g", width=90),
    "against": st.column_config.TextColumn("Peer is", width=220),
    "ratio": st.column_config.NumberColumn("Ratio", format="%.3g", width=75, help="Above 1 is in our favour."),
    "limit": st.column_config.NumberColumn("Limit", format="%.4g", width=90, help="What the machine allows at most."),
    "unit": st.column_config.TextColumn("Unit", width=90),
    "note": st.column_config.TextColumn("To keep in mind", width=320),
}


def benches_view() -> None:
    """Every bench: its ratios as a picture, the numbers as a table, and where they come from."""
    measure()
    benches = kept_benches()
    rows = [row for bench in benches for row in bench_rows(bench)]
    if not rows:
        st.info("Nothing measured yet. Measuring takes some minutes and goes on when this page is closed.",
                icon=":material/speed:")  # fmt: skip
        return
    compared = [row for row in rows if row["ratio"] and row["ratio"] > 0]
    figure = ratio_figure([row["row"] for row in compared], [row["ratio"] for row in compared], theme=theme_name())
    said = ", ".join(f"{row['row']} {row['ratio']:.3g}" for row in compared)
    st.plotly_chart(figure, theme=None, key="bench_chart", alt=f"Ratio of ours to the peer: {said}")
    st.dataframe(pd.DataFrame(rows)[list(COLUMNS)], hide_index=True, column_config=COLUMNS,
                 alt=f"{len(rows)} measurements beside the peer")  # fmt: skip
    for bench in benches:
        st.caption(plain(_origin(bench)))
    st.code("python -m deeplense_core bench all", language="bash")


def _origin(bench: Bench) -> str:
    """Where and when a bench was measured, and what else the machine had to do."""
    when = datetime.fromtimestamp(bench.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if bench.failed:
        return f"{bench.name}: gave no numbers on {when}: {bench.failed}"
    where = bench_rows(bench)[0]["machine"] if bench.rows else ""
    whose = "by the makers of this project" if bench.shipped else "here"
    return f"{bench.name}: {whose}, {when}, {where}, {bench.load:.1f} processes on the machine before it began"


def measure() -> None:
    """The button that runs every bench on this machine, and the one that runs now."""
    job = background.find(_folder())
    if job and job.running:
        st.fragment(_wait, run_every=TICK_S)()
        return
    if st.button("Measure this machine", icon=":material/speed:", key="bench_start",
                 help="Runs every bench, one after the other, in the background: some minutes."):  # fmt: skip
        with guard():
            background.launch(_folder(), [*background.DEEPLENSE, "bench", "all"], {})
        st.rerun()


def _wait() -> None:
    job = background.find(_folder())
    if job is None or not job.running:
        st.rerun()
    st.info(f"Measuring, {plain(job.last_words())}. Other work on the machine falsifies it.",
            icon=":material/hourglass_top:")  # fmt: skip


def _folder():
    return home() / "bench" / "running"
