"""Choosing what a page works on: data, a model, a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from deeplense_core.data import list_datasets
from deeplense_core.plots import metric_label
from deeplense_core.runs import RunRow, list_runs
from deeplense_core.shelf.cards import find_card, shipped_models
from pages.ui.state import query, set_query

SIM = "sim:"
OTHER_MODEL = "timm:"


def data_options(pairs: bool = False) -> dict[str, str]:
    """What can be trained or scored on: value as the command line takes it -> what to call it.

    ``pairs`` leaves what has no fine image beside each coarse one out.
    """
    from deeplense_core.sim import RECIPES, recipe_info

    stored = {
        str(ds.path): f"{ds.name} · {len(ds):,} {'pairs' if ds.targets is not None else 'images'}, {_size(ds.manifest)}"
        for ds in list_datasets()
        if not pairs or ds.targets is not None
    }
    known = {name: recipe_info(name) for name in RECIPES}
    fresh = {SIM + name: f"{name} · simulated fresh, {_size(info)}" for name, info in known.items()
             if not pairs or info["target_shape"]}  # fmt: skip
    return stored | fresh


def _size(facts: Mapping[str, Any]) -> str:
    """Pixels along the sides of an image, and of the fine image where there is one."""
    sides = f"{facts['shape'][1]} × {facts['shape'][2]}"
    fine = facts.get("target_shape")
    return f"{sides} → {fine[1]} × {fine[2]}" if fine else sides


def short_data(data: str) -> str:
    """A data set's name without its folders; ``sim:RECIPE`` stays."""
    return data if data.startswith(SIM) else Path(data).name


def pick_data(key: str, label: str = "Data", help: str | None = None, pairs: bool = False) -> str:
    """A box of data sets and recipes; the first choice is the newest data set."""
    options = data_options(pairs)
    by_name = {short_data(value): value for value in options}
    if key not in st.session_state and (wanted := by_name.get(query("data") or "")):
        st.session_state[key] = wanted
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
    return st.selectbox(label, options, format_func=options.get, key=key, help=help, persist_state="session")


def pick_model(task: str, key: str) -> str:
    """A box of registered models, and a name for any other backbone of timm."""
    from deeplense_core.models import model_entry, model_names

    def say(name: str) -> str:
        return (
            "another backbone of timm" if name == OTHER_MODEL else model_entry(name).about.get("label", name)
        )

    options = [*model_names(task), OTHER_MODEL]
    name = st.selectbox("Model", options, format_func=say, key=key, persist_state="session")
    if name != OTHER_MODEL:
        return name
    backbone = st.text_input(
        "Name of the backbone",
        "convnext_tiny",
        key=f"{key}_timm",
        help="Any name that timm.list_models() gives",
    )
    return OTHER_MODEL + backbone.strip()


def run_label(row: RunRow) -> str:
    """A run in one line: what it is called, its model and best score, when it was started."""
    best = f" · {metric_label(row.best_name)} {row.best:.3f}" if row.best is not None else ""
    state = "" if row.state == "done" else f" · {row.state}"
    return f"{row.name or row.model}{best}{state} · {row.id}"


def network_options(tasks: Collection[str]) -> dict[str, str]:
    """Trained networks of these tasks -> what to call them: runs, newest first, then what ships."""
    runs = {row.id: run_label(row) for row in runs_with_weights() if row.task in tasks}
    shipped = {name: f"{name} · comes with DeepLense" for name in shipped_models()
               if find_card(name).card["task"] in tasks}
    return runs | shipped


def pick_network(options: Mapping[str, str], label: str = "Network", key: str = "run_choice") -> str:
    """A box of networks that follows, and writes, ``?run=`` in the address.

    Args:
        options: As :func:`network_options` gives them, at least one.
        label: Of the box.
        key: Of the widget.
    """
    wanted = query("run")
    is_news = key not in st.session_state or st.session_state.get(f"{key}_seen") != wanted
    if wanted in options and is_news:
        st.session_state[key] = wanted
    elif st.session_state.get(key) not in options:
        st.session_state[key] = next(iter(options))
    chosen = st.selectbox(label, options, format_func=options.get, key=key, persist_state="session")
    set_query(run=chosen)
    st.session_state[f"{key}_seen"] = chosen
    return chosen


def runs_with_weights() -> list[RunRow]:
    """Runs that can answer: at least one epoch is behind them."""
    return [row for row in list_runs() if row.best is not None]
