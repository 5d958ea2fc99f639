"""Train: choose a task, data and a model, launch a job, and watch it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import streamlit as st

from deeplense_core import jobs
from deeplense_core.command import changed, train_command
from deeplense_core.errors import UserError
from deeplense_core.runs import ACTIVE, list_runs
from deeplense_core.spec import Knob
from pages.ui.adaptation import survey_form
from pages.ui.forms import PRESETS, command_expander, knob_form, preset_values, settings_popover
from pages.ui.glossary import meaning
from pages.ui.layout import form_and_view
from pages.ui.live import live_panel
from pages.ui.messages import guard, show_error
from pages.ui.picker import SIM, pick_data, pick_model, pick_network, run_label
from pages.ui.state import query, remember, set_query
from pages.ui.theme import page

MAIN_KNOBS = ("epochs", "batch_size", "lr")
ONLINE = "online simulation"
SHOWN_RUNS = 50


def choose() -> tuple[str, str, str, str]:
    """Task, data, model and preset."""
    from deeplense_core.tasks import TASKS

    tasks = list(TASKS)
    task = tasks[0]
    if len(tasks) > 1:
        task = st.segmented_control(
            "Task", tasks, default=tasks[0], required=True, key="train_task",
            format_func=lambda name: TASKS[name].about["label"],
        )  # fmt: skip
    data = pick_data("train_data", pairs=task == "superres")
    model = pick_model(task, "train_model")
    remember("train_preset", "quick")
    preset = st.segmented_control(
        "Preset", PRESETS, key="train_preset", persist_state="session", required=True,
        help="quick: two epochs, to see that it works; full: the defaults",
    )  # fmt: skip
    return task, data, model, preset


def settings_form(known: Mapping[str, Knob], preset: str, data: str) -> dict[str, Any]:
    """The three settings that matter most, another survey to adapt to, and all others in tabs by group."""
    online = data.startswith(SIM)
    start = preset_values(known, preset)
    main = {name: dataclasses.replace(known[name], group="") for name in MAIN_KNOBS}
    values = knob_form(main, "train", {name: start[name] for name in main}, columns=3)
    with guard():
        values |= survey_form(known, data)
    others = {name: k for name, k in known.items() if name not in values and (online or k.group != ONLINE)}
    return values | settings_popover(others, "train", start, ungrouped="model")


def launch_form() -> None:
    """From choices to a submitted run."""
    from deeplense_core.train import plan, settings_of

    task, data, model, preset = choose()
    with guard():
        known = settings_of(task, model)
    settings = changed(settings_form(known, preset, data), known)
    name_cell, seed_cell = st.columns([3, 2], vertical_alignment="bottom")
    name = name_cell.text_input("Name", key="train_name", placeholder="optional", persist_state="session", max_chars=80)
    remember("train_seed", 0)
    seed = seed_cell.number_input("Seed", 0, 2**31 - 1, step=1, key="train_seed", persist_state="session",
                                  help=meaning("Seed"))  # fmt: skip
    launch = st.button(
        "Start training", type="primary", icon=":material/play_arrow:", key="train_start", width="stretch"
    )
    command_expander(train_command(task, data, model, settings, seed, name))
    if launch:
        try:
            run = jobs.submit(plan(task, data, model, settings, seed, name), where="local")
        except UserError as err:  # the run beside it stays in view
            show_error(err)
            return
        set_query(run=run.id)
        st.toast(f"Started {run.id}", icon=":material/play_arrow:")


def watch() -> None:
    """The chosen run, else the one now active, else the newest."""
    rows = list_runs()
    if not rows:
        st.info("No run yet. The first one you start is drawn here while it learns.", icon=":material/monitoring:")
        return
    shown = [row for row in rows[:SHOWN_RUNS] if row.id == query("run") or row.state in ACTIVE]
    shown += [row for row in rows if row.id == query("run") and row not in shown]
    shown += [row for row in rows[:SHOWN_RUNS] if row not in shown]
    live_panel(pick_network({row.id: run_label(row) for row in shown}, "Run", key="train_run"))


page("Train", "Choose data and a model, start a job, watch it learn. It goes on when this page is closed.")
form_cell, live_cell = form_and_view()
with form_cell:
    launch_form()
with live_cell:
    watch()
