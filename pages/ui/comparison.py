"""Runs side by side: settings that differ, scores with intervals, and whether the difference is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from deeplense_core import plots
from deeplense_core.errors import UserError
from deeplense_core.evaluations.compare import difference, differing_settings, verdict
from deeplense_core.evaluations.predictions import evaluations, read_predictions
from deeplense_core.evaluations.report import with_interval
from deeplense_core.metrics import FIND_NAMES, metric_names
from deeplense_core.runs import Run, open_run, short_names
from pages.ui.evaluation import evaluation_title
from pages.ui.messages import guard, plain, show_error
from pages.ui.theme import theme_name

Evaluations = Mapping[str, tuple[Path, dict[str, Any]]]


def comparison(ids: Sequence[str]) -> None:
    """Everything that sets these runs apart; the first one is what the others are measured against."""
    with guard():
        runs = [open_run(name) for name in ids]
        specs = {run.id: run.spec for run in runs}
    names = short_names({name: spec.name or spec.model for name, spec in specs.items()})
    st.subheader(f"{len(runs)} runs, baseline {plain(names[ids[0]])}", anchor=False)
    scores(runs, names)
    differing = differing_settings(specs)
    st.markdown("**Settings that differ**")
    if not differing:
        st.caption("None: the same settings, the same seed.")
        return
    cells = {names[run]: [_shown(values[run]) for values in differing.values()] for run in specs}
    st.dataframe(pd.DataFrame({"setting": list(differing), **cells}), hide_index=True)


def scores(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """Metrics on the data that all runs were evaluated on, and the verdict on each against the first."""
    found = {run.id: _evaluations(run) for run in runs}
    shared = [key for key in found[runs[0].id] if all(key in of_run for of_run in found.values())]
    if not shared:
        st.info("No data set on which all of these runs were evaluated: scores on different data are not "
                "compared. Evaluate them on the same one.", icon=":material/info:")  # fmt: skip
        return
    reports = found[runs[0].id]
    key = shared[0]
    with st.container(horizontal=True, gap="medium"):
        if len(shared) > 1:
            key = st.selectbox(
                "Evaluated on",
                shared,
                format_func=lambda k: evaluation_title(reports[k][1]),
                key="compare_on",
            )
        classes = reports[key][1].get("classes", ())
        known = [name for name in reports[key][1]["metrics"] if name in (*metric_names(classes), *FIND_NAMES)
                 and all(name in of_run[key][1]["metrics"] for of_run in found.values())]  # fmt: skip
        if not known:
            st.info("These runs are compared on their own page.", icon=":material/info:")
            return
        metric = st.selectbox("Metric", known, format_func=plots.metric_label, key="compare_metric")
    rows = {names[run.id]: found[run.id][key][1]["metrics"][metric] for run in runs}
    figure = plots.compare_figure(rows, metric=metric, theme=theme_name())
    st.plotly_chart(figure, theme=None, key="compare_chart", alt="Scores of the runs with their intervals")
    baseline = runs[0]
    for run in runs[1:]:
        try:
            folders = str(found[run.id][key][0]), str(found[baseline.id][key][0])
            times = found[run.id][key][1]["time"], found[baseline.id][key][1]["time"]
            result = _difference(*folders, tuple(classes), metric, times)
            st.markdown(f":material/balance: {plain(verdict(result, names[run.id], names[baseline.id]))}")
        except UserError as err:
            show_error(err)
    _metric_table({names[run.id]: found[run.id][key][1]["metrics"] for run in runs})


def _metric_table(rows: Mapping[str, Mapping[str, Mapping]]) -> None:
    names = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    cells = {row: [with_interval(metrics.get(name, {"value": None})) for name in names]
             for row, metrics in rows.items()}  # fmt: skip
    labels = [plots.metric_label(name) for name in names]
    st.dataframe(pd.DataFrame({"metric": labels, **cells}), hide_index=True)


@st.cache_data(max_entries=64, show_spinner="Comparing on the same images …")
def _difference(
    folder: str, baseline: str, classes: tuple[str, ...], metric: str, times: tuple[float, float]
) -> dict[str, float | str]:
    """Cached by folder and by when each was scored."""
    a, b = (read_predictions(Path(name), classes) for name in (folder, baseline))
    return difference(a, b, metric)


def _evaluations(run: Run) -> Evaluations:
    """What exactly was scored, data, split and number of images -> folder and report: a test set that is simulated has
    one fingerprint whatever its length."""
    return {
        f"{report['data_fingerprint']}-{report['split']}-{report['n']}": (folder, report)
        for folder, report in evaluations(run.id)
    }


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)
