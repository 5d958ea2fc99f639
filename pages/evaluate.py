"""Evaluate: what a trained network is worth on images it has not seen."""

from __future__ import annotations

import streamlit as st

from deeplense_core.evaluations.predictions import evaluations
from pages.ui import evaluation as views
from pages.ui.evaluation import Evaluation
from pages.ui.messages import empty_state, guard
from pages.ui.picker import network_options, pick_network
from pages.ui.scorings import another_data_set, offer_own_test, under_way
from pages.ui.theme import class_label, page

TASKS = ("classify",)
KEY = "evaluate"  # begins the keys of the widgets
VIEWS = ("Precision and recall", "Calibration", "Scores", "Threshold and recovery", "Numbers and report")


def _choice(name: str) -> str:
    return f"evaluation_{name}"


def pick_evaluation(name: str) -> Evaluation | None:
    found = [Evaluation(folder, report) for folder, report in evaluations(name)]
    if not found:
        return None
    titles = {str(one.folder): one.title for one in found}
    chosen = st.selectbox("Evaluated on", titles, format_func=titles.get, key=_choice(name))
    return next(one for one in found if str(one.folder) == chosen)


def details(evaluation: Evaluation) -> None:
    """The other views, one at a time."""
    tabs = st.tabs(VIEWS, key="view", on_change="rerun")
    for tab, show in zip(
        tabs, (_precision, _calibration, _scores, views.threshold_view, views.table_view), strict=True
    ):
        if tab.open:
            with tab:
                show(evaluation)


def _precision(evaluation: Evaluation) -> None:
    st.plotly_chart(views.precision_recall(evaluation), theme=None, key="evaluate_pr", alt="Precision and recall")


def _calibration(evaluation: Evaluation) -> None:
    st.plotly_chart(views.calibration(evaluation), theme=None, key="evaluate_reliability", alt="Reliability diagram")


def _scores(evaluation: Evaluation) -> None:
    classes = evaluation.report["classes"]
    of = st.segmented_control("Score of", classes, default=classes[0], required=True, format_func=class_label)
    st.plotly_chart(
        views.scores(evaluation, of), theme=None, key="evaluate_scores", alt=f"Scores of {of} by true class"
    )


page("Evaluate")
networks = network_options(TASKS)
if not networks:
    empty_state("No trained run yet. Train a first classifier: two epochs take a minute or two.", "Train", "train")
    st.stop()
run_cell, evaluation_cell, more_cell = st.columns([4, 4, 3], vertical_alignment="bottom", gap="medium")
with run_cell:
    name = pick_network(networks, key="evaluate_run")
with evaluation_cell:
    evaluation = pick_evaluation(name)
with more_cell:
    another_data_set([name], KEY)
# A new evaluation is the newest: it is shown as soon as it is there.
under_way(name, KEY, ended=lambda: st.session_state.pop(_choice(name), None))
if evaluation is None:
    offer_own_test(name, KEY)
    st.stop()
if evaluation.report.get("seen_in_training"):
    st.warning(
        "These images, or some of them, were used in training: the numbers flatter.",
        icon=":material/warning:",
    )
with guard():
    views.main_view(evaluation)
    details(evaluation)
