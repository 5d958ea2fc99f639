"""A run as it happens: state, progress, curves and log, drawn anew every two seconds while it is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from deeplense_core import jobs
from deeplense_core.plots import live_options, metric_label
from deeplense_core.runs import ACTIVE, RESUMABLE, Run, Status, open_run
from pages.ui.messages import guard, plain
from pages.ui.picker import short_data
from pages.ui.samples import sample_answers
from pages.ui.state import EVALUATION, go
from pages.ui.theme import theme_name

TICK_S = 2.0
STATE_LOOK = {
    "queued": (":material/hourglass_empty:", "gray"),
    "running": (":material/play_circle:", "blue"),
    "done": (":material/check_circle:", "green"),
    "failed": (":material/error:", "red"),
    "cancelled": (":material/cancel:", "gray"),
    "lost": (":material/help:", "orange"),
}
"""Icon and colour of each state; the word always stands beside them."""


def live_panel(run_id: str) -> None:
    """Everything about one run, below the controls that act on it."""
    with guard():
        run = open_run(run_id)
        status = jobs.refresh(run)
    active = status.state in ACTIVE
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _actions(run, status)
        paused = st.toggle(
            "Pause", key="live_pause", disabled=not active, help="Stop drawing; the run goes on", width="content"
        )
        with st.popover("Curves", icon=":material/show_chart:"):
            log_y = st.toggle("Logarithmic loss axis", key="live_log_y")
            smoothing = st.slider("Smoothing of the training loss", 0.0, 0.95, 0.6, 0.05, key="live_smoothing")
    # The timer runs only while there is news; a fragment cannot stop its own, so it asks for a full rerun
    # once the run has ended.
    every = TICK_S if active and not paused else None
    st.fragment(_news, run_every=every)(run.id, status.state, smoothing, log_y)


def _actions(run: Run, status: Status) -> None:
    """Buttons for what can be done to the run in its state."""
    if status.state in ACTIVE:
        waits = run.should_stop()
        label = "Stopping …" if waits else "Cancel"
        _button(label, ":material/stop:", lambda: jobs.cancel(run), "live_cancel", disabled=waits)
    if status.state in RESUMABLE:
        _button("Resume", ":material/play_arrow:", lambda: jobs.resume(run), "live_resume")
    if status.best is not None and st.button("Open evaluation", icon=":material/analytics:", key="live_open"):
        go(EVALUATION.get(run.spec.task, "evaluate"), run=run.id)


def _button(label: str, icon: str, act: Callable[[], Any], key: str, disabled: bool = False) -> None:
    if st.button(label, icon=icon, key=key, disabled=disabled):
        with guard():
            act()
        st.rerun()


def _news(run_id: str, drawn_as: str, smoothing: float, log_y: bool) -> None:
    """The part that ticks. ``drawn_as`` is the state for which the buttons above it were drawn."""
    with guard():
        run = open_run(run_id)
        status = jobs.refresh(run)
    if status.state != drawn_as:
        st.rerun()
    rows = run.metrics()
    _headline(run, status, rows)
    if any(row["kind"] in ("train", "val") for row in rows):
        options = live_options(rows, theme=theme_name(), smoothing=smoothing, log_y=log_y)
        st.echarts_chart(options, key="live_chart", height=360, theme=None, alt=_spoken(run, status))
    elif status.state in ACTIVE:
        st.info(
            "The first numbers come after the first steps; loading the libraries takes a few seconds.",
            icon=":material/schedule:",
        )
    with guard():
        sample_answers(run)
    with st.expander("Log"):
        said = [f"{row['text']}" for row in rows if row["kind"] == "info"]
        st.code("\n".join([*said, run.log_text(60)]).strip() or "Nothing said yet.", language=None, height=220)


def _headline(run: Run, status: Status, rows: list[dict[str, Any]]) -> None:
    icon, color = STATE_LOOK[status.state]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(status.state, icon=icon, color=color)
        st.markdown(f"**{plain(run.spec.name or run.spec.model)}** on {plain(short_data(run.spec.data))}")
    if status.cause:
        st.error(plain(status.cause), icon=":material/error:")
    last: dict[str, Any] = next((row for row in reversed(rows) if row["kind"] == "train"), {})
    if status.state in ACTIVE:
        st.progress(min(1.0, status.progress), text=plain(_progress_text(run, status, last)))
    values = {
        f"Best {metric_label(status.best_name) if status.best_name else 'score'}": status.best is not None
        and f"{status.best:.4f}",
        "Training loss": "loss" in last and f"{last['loss']:.4f}",
        "Images a second": "images_per_s" in last and _rate(last["images_per_s"]),
        "Time": status.duration_s is not None and clock(status.duration_s),
    }
    with st.container(horizontal=True, gap="medium"):
        for label, value in values.items():
            st.metric(label, value or "–", width="content")


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 10 else f"{images_per_s:.1f}"


def _progress_text(run: Run, status: Status, last: dict[str, Any]) -> str:
    if status.state == "queued":
        place = jobs.queue_position(run)
        return f"Waiting for its turn, place {place} in the queue" if place else "Starting"
    left = last.get("eta_s")
    return (status.note or "Starting") + (f", about {clock(left)} left" if left is not None else "")


def _spoken(run: Run, status: Status) -> str:
    """The chart in words."""
    best = f", best {metric_label(status.best_name)} {status.best:.3f}" if status.best is not None else ""
    return f"Loss and validation scores of run {run.id}, {status.state}{best}"


def clock(seconds: float) -> str:
    """A duration to read: "8 s", "3 min 20 s", "2 h 5 min"."""
    total = round(seconds)
    hours, minutes, rest = total // 3600, total % 3600 // 60, total % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
