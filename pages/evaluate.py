"""Evaluate: what a trained network is worth on images it has not seen."""

from __future__ import annotations

import streamlit as st

from deeplense_core import scoring
from deeplense_core.cards import find_card
from deeplense_core.errors import UserError
from deeplense_core.predictions import evaluations
from pages.ui import evaluation as views
from pages.ui.evaluation import Evaluation
from pages.ui.messages import empty_state, guard, plain, show_error
from pages.ui.picker import network_options, pick_data, pick_network, short_data
from pages.ui.theme import class_label, page

TASKS = ("classify", "find")
SPLITS = ("test", "val", "train", "all")
VIEWS = ("Precision and recall", "Calibration", "Scores", "Threshold and recovery", "Numbers and report")
TICK_S = 2.0


def another_data_set(name: str) -> None:
    """A small form that starts an evaluation in the background."""
    with st.popover("Other data", icon=":material/add_chart:"):
        data = pick_data("evaluate_data")
        split = st.segmented_control("Split", SPLITS, default="test", required=True, key="evaluate_split")
        if st.button("Evaluate", type="primary", key="evaluate_start"):
            with guard():
                scoring.start(name, data, split)
            st.rerun()


def under_way(name: str) -> None:
    """The evaluation that runs now, or why the last one failed."""
    now = scoring.scoring(name)
    if now is None:
        return
    if now.running:
        st.fragment(_wait, run_every=TICK_S)(name, now.data)
        return
    show_error(UserError(now.error))
    if st.button("Dismiss", key="evaluate_dismiss"):
        scoring.forget(name)
        st.rerun()


def _wait(name: str, data: str) -> None:
    now = scoring.scoring(name)
    if now is None or not now.running:
        st.session_state.pop(_choice(name), None)  # the new evaluation is the newest: show it
        st.rerun()
    st.info(f"Evaluating on {plain(short_data(data))}. This goes on when the page is closed.",
            icon=":material/hourglass_top:")  # fmt: skip


def _choice(name: str) -> str:
    return f"evaluation_{name}"


def pick_evaluation(name: str) -> Evaluation | None:
    found = [Evaluation(folder, report) for folder, report in evaluations(name)]
    if not found:
        return None
    titles = {str(one.folder): one.title for one in found}
    chosen = st.selectbox("Evaluated on", titles, format_func=titles.get, key=_choice(name))
    return next(one for one in found if str(one.folder) == chosen)


def offer_own_test(name: str) -> None:
    """For a network without any evaluation: one button for the obvious one."""
    if scoring.scoring(name):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown("This network has not been evaluated here yet.", width="content")
        if st.button("Evaluate on its own test images", type="primary", key="evaluate_own"):
            with guard():
                scoring.start(name, find_card(name).card["data"])
            st.rerun()


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
    another_data_set(name)
under_way(name)
if evaluation is None:
    offer_own_test(name)
    st.stop()
if evaluation.report.get("seen_in_training"):
    st.warning(
        "These images, or some of them, were used in training: the numbers flatter.",
        icon=":material/warning:",
    )
with guard():
    views.main_view(evaluation)
    details(evaluation)
