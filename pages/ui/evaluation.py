"""The views of one evaluation: curves, confusion and its images, calibration, thresholds, the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from deeplense_core import metrics, plots
from deeplense_core.evaluations.predictions import Predictions, read_predictions
from deeplense_core.evaluations.report import html_report, metric_table, prediction_table, to_csv, wide_table
from pages.ui.gallery import open_large, page_of, thumbnails
from pages.ui.glossary import meaning
from pages.ui.layout import pair
from pages.ui.messages import guard
from pages.ui.picker import short_data
from pages.ui.theme import class_label, theme_name

PAGE_IMAGES = 48


def evaluation_title(report: Mapping[str, Any]) -> str:
    """What a network was scored on, in one line."""
    return f"{short_data(report['data'])} · {report['split']} · {report['n']:,} images"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation by name; what it holds is read, and cached, by folder and time."""

    folder: Path
    report: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, tuple[str, ...], float]:
        return str(self.folder), tuple(self.report["classes"]), self.report["time"]

    @property
    def predictions(self) -> Predictions:
        return predictions_at(*self.key)

    @property
    def title(self) -> str:
        """Data, split and size in one line."""
        return evaluation_title(self.report)

    @property
    def finding(self) -> str:
        return plots.finding("AUC", self.report["metrics"]["auc_macro"])

    @property
    def subtitle(self) -> str:
        return f"{self.report['n']:,} images, each class against the rest, bands 95 %"


@st.cache_data(max_entries=16, show_spinner=False)
def predictions_at(folder: str, classes: tuple[str, ...], time: float) -> Predictions:
    """What an evaluation holds, by its folder and when it was made."""
    return read_predictions(Path(folder), classes)


@st.cache_data(max_entries=16, show_spinner="Resampling for the bands …")
def _curves(folder: str, classes: tuple[str, ...], time: float) -> list[metrics.ClassCurves]:
    known = predictions_at(folder, classes, time)
    return metrics.class_curves(known.labels, known.probabilities, classes)


def roc(evaluation: Evaluation, log_x: bool = False, theme: str | None = None) -> go.Figure:
    return plots.roc_figure(
        _curves(*evaluation.key), title=evaluation.finding, subtitle=evaluation.subtitle, log_x=log_x,
        theme=theme or theme_name(),
    )  # fmt: skip


def precision_recall(evaluation: Evaluation, theme: str | None = None) -> go.Figure:
    curves = _curves(*evaluation.key)
    known = [c.average_precision["value"] for c in curves]
    title = f"Average precision {np.mean(known):.3f}, mean of the classes" if known else evaluation.finding
    return plots.pr_figure(curves, title=title, subtitle=evaluation.subtitle, theme=theme or theme_name())


def confusion(evaluation: Evaluation, theme: str | None = None) -> go.Figure:
    known = evaluation.predictions
    counts = metrics.confusion(known.labels, known.probabilities)
    return plots.confusion_figure(counts, known.classes, theme=theme or theme_name())


def calibration(evaluation: Evaluation, theme: str | None = None) -> go.Figure:
    known = evaluation.predictions
    bins = metrics.reliability(known.labels, known.probabilities)
    return plots.reliability_figure(bins, evaluation.report["metrics"]["ece"], theme=theme or theme_name())


def scores(evaluation: Evaluation, of: str, theme: str | None = None) -> go.Figure:
    known = evaluation.predictions
    column = known.probabilities[:, known.classes.index(of)]
    return plots.score_figure(known.labels, column, known.classes, of=of, theme=theme or theme_name())


def chosen_cell(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """True and predicted class of the confusion cell that was clicked; None where none is."""
    points = event["selection"]["points"]
    if not points:
        return None
    true, predicted, _ = points[-1]["customdata"]
    return true, predicted


@st.fragment
def main_view(evaluation: Evaluation) -> None:
    """ROC and confusion side by side; a click on a cell opens its images below both."""
    left, right = pair()
    with left:
        log_x = st.toggle("Logarithmic false positive rate", key="evaluate_log_x", help=meaning("ROC"))
        st.plotly_chart(roc(evaluation, log_x), theme=None, key="evaluate_roc", alt=f"ROC curves: {evaluation.finding}")
    with right:
        st.caption("Click a cell to see its images.")
        event = st.plotly_chart(
            confusion(evaluation), theme=None, key=f"confusion_{hash(evaluation.key)}", on_select="rerun",
            selection_mode="points", alt="Confusion matrix: true class by predicted class",
        )  # fmt: skip
    if cell := chosen_cell(event):
        cell_gallery(evaluation, *cell)


def cell_gallery(evaluation: Evaluation, true: str, predicted: str) -> None:
    """Exactly the images of one cell, the surest first."""
    from deeplense_core.lookup import images_of

    known = evaluation.predictions
    rows = known.cell(true, predicted)
    word = "image" if len(rows) == 1 else "images"
    with st.container(border=True, key="cell_images"):
        st.subheader(f"{len(rows):,} {word} of {class_label(true)} taken for {class_label(predicted)}", anchor=False)
        if not len(rows):
            return
        shown = rows[page_of(len(rows), PAGE_IMAGES, f"cell_page_{true}_{predicted}")]
        with guard():
            names = [str(name) for name in known.ids[shown]]
            images = images_of(evaluation.report["data"], names)
        sure = known.probabilities[shown, known.classes.index(predicted)]
        thumbnails(images, [f"{name} · {p:.2f}" for name, p in zip(names, sure, strict=True)], columns=8)
        open_large(images, names, "cell")


@st.fragment
def threshold_view(evaluation: Evaluation) -> None:
    """What a threshold on one class's score keeps, and which of its images it finds."""
    known = evaluation.predictions
    class_cell, odds_cell, threshold_cell = st.columns([2, 2, 3], gap="medium", vertical_alignment="bottom")
    of = class_cell.selectbox("Class looked for", known.classes, len(known.classes) - 1, format_func=class_label)
    odds = odds_cell.number_input("On the sky, one in", 2, 1_000_000, 1000, help=meaning("Prevalence"))
    threshold = threshold_cell.slider("Threshold on its probability", 0.0, 1.0, 0.5, 0.01)
    is_class, score = known.labels == known.classes.index(of), known.probabilities[:, known.classes.index(of)]
    with guard():
        table = metrics.threshold_table(is_class, score, 1 / odds)
        point = metrics.operating_point(is_class, score, threshold, 1 / odds)
    figure = plots.threshold_figure(table, point, threshold=threshold, prevalence=1 / odds, theme=theme_name())
    left, right = pair()
    left.plotly_chart(figure, theme=None, key="evaluate_threshold", alt="Completeness and purity by threshold")
    with right:
        recovery_view(evaluation, is_class, score, threshold)


def recovery_view(evaluation: Evaluation, is_class: np.ndarray, score: np.ndarray, threshold: float) -> None:
    """Completeness at this threshold against a true quantity, where the data set knows one."""
    from deeplense_core.lookup import truths_of

    with guard():
        truths = truths_of(evaluation.report["data"], [str(name) for name in evaluation.predictions.ids])
    usable = [name for name in truths if varies(truths.loc[is_class, name].to_numpy(float))]
    if not usable:
        st.info("This data has no true quantities to measure the recovery against.", icon=":material/info:")
        return
    first = usable.index("theta_E") if "theta_E" in usable else 0
    quantity = st.selectbox("Recovery against", usable, first, format_func=quantity_label)
    with guard():
        found = metrics.recovery(is_class, score, truths[quantity].to_numpy(), 8, threshold)
    figure = plots.recovery_figure(found, quantity=quantity_label(quantity), theme=theme_name())
    st.plotly_chart(figure, theme=None, key="evaluate_recovery", alt=f"Completeness against {quantity}")


def quantity_label(name: str) -> str:
    """A column of the truth in words."""
    return "Einstein radius (arcsec)" if name == "theta_E" else name.replace("_", " ")


def varies(values: np.ndarray) -> bool:
    """Whether there is anything to bin: a quantity may belong to other classes alone, or be the same for all."""
    known = values[np.isfinite(values)]
    return known.size > 0 and np.ptp(known) > 0


def table_view(evaluation: Evaluation) -> None:
    """Every number beside chance and majority, and the files to take away."""
    table = wide_table(evaluation.report)
    st.dataframe(table.T.rename_axis("metric"), alt="Metrics with 95 % intervals, beside the baselines")
    st.caption("In brackets: 95 % bootstrap interval, resampled within each class.")
    stem = f"{evaluation.report['run']}-{evaluation.folder.name}"
    files = {  # each is made when it is asked for
        "Metrics (CSV)": (f"{stem}-metrics.csv", lambda: to_csv(metric_table(evaluation.report))),
        "Predictions (CSV)": (
            f"{stem}-predictions.csv",
            lambda: to_csv(prediction_table(evaluation.predictions)),
        ),
        "Report (HTML)": (f"{stem}.html", lambda: as_html(evaluation)),
    }
    with st.container(horizontal=True):
        for label, (name, make) in files.items():
            st.download_button(label, make, name, icon=":material/download:", on_click="ignore")


def as_html(evaluation: Evaluation, theme: str = "light") -> str:
    """The report on one page, made only when it is asked for."""
    of_classes = [scores(evaluation, name, theme) for name in evaluation.report["classes"]]
    figures = [make(evaluation, theme=theme) for make in (roc, precision_recall, confusion, calibration)]
    return html_report(evaluation.report, [*figures, *of_classes], theme=theme)
