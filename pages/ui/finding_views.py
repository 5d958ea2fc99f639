"""One threshold for lens finders and all that it moves: figures, counts, mistakes, missed lenses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from deeplense_core import metrics, plots
from deeplense_core.errors import UserError
from deeplense_core.evaluations.compare import verdict
from pages.ui import finding as data
from pages.ui.finding import Scored
from pages.ui.gallery import open_large, page_of, thumbnails
from pages.ui.glossary import meaning, metric_meaning
from pages.ui.layout import pair
from pages.ui.messages import guard, plain, show_error
from pages.ui.state import remember
from pages.ui.theme import theme_name

ODDS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
OBJECTS = 1_000_000
SHOWN = 12
BINS = 8
GALLERIES = ("Highest-scored mistakes", "Missed lenses")


@st.fragment
def threshold_view(finders: Sequence[Scored]) -> None:
    """Everything that depends on the threshold; a fragment, so that moving it draws nothing else."""
    threshold, prevalence = choose(finders[0])
    headline(finders[0], threshold, prevalence)
    which = _names(finders)
    left, right = pair()
    with left:
        figure = _roc(which, threshold, theme_name(), finders)
        st.plotly_chart(figure, theme=None, key="find_roc", alt="ROC over a logarithmic false positive rate")
    with right:
        figure = _by_threshold(which[:1], threshold, prevalence, theme_name(), finders[0])
        st.plotly_chart(figure, theme=None, key="find_threshold", alt="Completeness and purity by threshold")
    left, right = pair()
    with left:
        confusion(finders[0], threshold)
    with right:
        recovery(finders, threshold)
    gallery(finders[0], threshold)
    st.dataframe(data.comparison_table(finders, threshold, prevalence), column_config=COLUMNS,
                 alt="Every finder with its metrics and what this threshold keeps")  # fmt: skip
    st.caption(
        f"In brackets: 95 % intervals. Completeness and purity at threshold {threshold:.4g} and 1 lens in "
        f"{1 / prevalence:,.0f}. TPR0, TPR10: completeness with no, with fewer than ten false positives."
    )


COLUMNS = {
    "finder": st.column_config.TextColumn("Finder", width=200),
    **{name: st.column_config.TextColumn(plots.metric_label(name), help=metric_meaning(name))
       for name in metrics.FIND_NAMES},
    "completeness": "Completeness", "purity": "Purity", "false_per_true": "False per lens",
}  # fmt: skip


def choose(one: Scored) -> tuple[float, float]:
    """The threshold, and the share of lenses on the sky."""
    stops = data.thresholds(one.curve.ranking)
    key = "find_threshold_value"
    nearest = min(stops, key=lambda value: abs(value - st.session_state.get(key, 0.5)))
    st.session_state[key] = nearest
    remember("find_odds", 1_000)
    threshold_cell, odds_cell = st.columns([5, 3], gap="large", vertical_alignment="bottom")
    threshold = threshold_cell.select_slider(
        "Threshold on the probability of a lens", list(stops), format_func=stops.get, key=key, persist_state="session",
    )  # fmt: skip
    odds = odds_cell.select_slider("On the sky, one lens in", ODDS, format_func=lambda n: f"{n:,}", key="find_odds",
                                   persist_state="session", help=meaning("Prevalence"))  # fmt: skip
    return threshold, 1 / odds


def headline(one: Scored, threshold: float, prevalence: float) -> None:
    """The finding in one line, and what it means for a million objects."""
    point = one.curve.ranking.point(threshold, prevalence)
    counts = metrics.expected_counts(point, prevalence, OBJECTS)
    per_true = point["false_per_true"]["value"]
    found = point["completeness"]
    cost = "none of them is kept" if per_true is None else f"{per_true:,.1f} false positives to inspect per true lens"
    leaky = "Leaky: " if one.leaky else ""
    st.subheader(f"{leaky}{found['value']:.0%} of the lenses, {cost}".replace("%", " %"), anchor=False)
    low, high = point["purity"]["low"], point["purity"]["high"]
    st.markdown(
        f"Of {OBJECTS:,} objects with {counts['lenses']:,.0f} lenses: **{counts['found']:,.0f} found**, "
        f"{counts['missed']:,.0f} missed, **{counts['false']:,.0f} false**, so {counts['kept']:,.0f} to look at; "
        f"purity {point['purity']['value']:.3g} (95 %: {low:.2g} to {high:.2g}), completeness {found['value']:.2f} "
        f"(95 %: {found['low']:.2f} to {found['high']:.2f})."
    )
    hits, false = one.curve.ranking.kept(threshold)
    if false < 10:
        st.caption(f"Only {false} of this set's {one.curve.ranking.others:,} non-lenses are kept here: the purity "
                   "rests on so few. A larger set says more.")  # fmt: skip


def confusion(one: Scored, threshold: float) -> None:
    """Counts of the set itself at this threshold."""
    hits, false = one.curve.ranking.kept(threshold)
    missed = one.curve.ranking.lenses - hits
    figure = _confusion(_names([one]), threshold, theme_name(), one)
    st.plotly_chart(figure, theme=None, key="find_confusion", alt=f"{hits} lenses found, {missed} missed, "
                    f"{false} false", config={"displayModeBar": False})  # fmt: skip


def recovery(finders: Sequence[Scored], threshold: float) -> None:
    """Completeness against a true quantity, where the data knows one."""
    known = data.truths(finders[0])
    if known.empty:
        st.info("This data has no true quantities, such as Einstein radii, to measure the recovery against.",
                icon=":material/info:")  # fmt: skip
        return
    quantity = st.selectbox("Recovery against", list(known), format_func=data.quantity_label, key="find_quantity")
    with guard():
        figure = _recovery(_names(finders), threshold, quantity, theme_name(), finders)
    st.plotly_chart(figure, theme=None, key="find_recovery", alt=f"Completeness against {quantity}")


# Figures are kept, for to turn a page of the gallery draws them all again, and to build one takes as long as all else.
# What they are made of has a name, from ``_names``; the objects behind it are not looked at to find a kept figure.


def _names(finders: Sequence[Scored]) -> tuple[tuple, ...]:
    """What figures of these finders depend on: the evaluations, and what the finders are called."""
    return tuple((one.key, one.label) for one in finders)


@st.cache_resource(max_entries=64, show_spinner=False)
def _roc(which: tuple, threshold: float, theme: str, _finders: Sequence[Scored]) -> go.Figure:
    curves = [one.curve for one in _finders]
    return plots.finder_roc_figure(
        curves, threshold, title=plots.finding("AUROC", _finders[0].report["metrics"]["auroc"]),
        subtitle=f"{curves[0].ranking.lenses:,} lenses, {curves[0].ranking.others:,} others; band 95 %; "
        "marked: this threshold", theme=theme,
    )  # fmt: skip


@st.cache_resource(max_entries=64, show_spinner=False)
def _by_threshold(which: tuple, threshold: float, prevalence: float, theme: str, _one: Scored) -> go.Figure:
    point = _one.curve.ranking.point(threshold, prevalence)
    return plots.finder_threshold_figure(_one.curve, point, threshold, prevalence, theme=theme)


@st.cache_resource(max_entries=64, show_spinner=False)
def _confusion(which: tuple, threshold: float, theme: str, _one: Scored) -> go.Figure:
    ranking = _one.curve.ranking
    hits, false = ranking.kept(threshold)
    counts = np.array([[hits, ranking.lenses - hits], [false, ranking.others - false]])
    figure = plots.confusion_figure(counts, ["lens", "nonlens"], theme=theme)
    figure.update_layout(title_subtitle_text=f"This set at threshold {threshold:.4g}, as it is balanced", height=480)
    if _one.leaky:
        plots.stamp_leaky(figure)
    return figure


@st.cache_resource(max_entries=64, show_spinner=False)
def _recovery(which: tuple, threshold: float, quantity: str, theme: str, _finders: Sequence[Scored]) -> go.Figure:
    values = data.truths(_finders[0])[quantity].to_numpy(float)
    edges = np.histogram_bin_edges(values[_finders[0].is_lens & np.isfinite(values)], BINS).tolist()
    found = [metrics.recovery(one.is_lens, one.scores, data.truths(one)[quantity], edges, threshold)
             for one in _finders]  # fmt: skip
    figure = plots.finder_recovery_figure([one.curve for one in _finders], found, data.quantity_label(quantity),
                                          theme=theme)  # fmt: skip
    figure.update_layout(height=400)
    return figure


def gallery(one: Scored, threshold: float) -> None:
    """What the threshold lets through that is no lens, and the lenses that it misses; the worst ones first."""
    which = st.segmented_control("Images", GALLERIES, default=GALLERIES[0], required=True, key="find_gallery",
                                 label_visibility="collapsed")  # fmt: skip
    wrong = which == GALLERIES[0]
    rows = data.mistakes(one) if wrong else data.faintest(one)
    kept = one.scores[rows] >= threshold
    rows = rows[kept] if wrong else rows[~kept]
    word = "non-lenses kept" if wrong else "lenses missed"
    with st.container(border=True, key="find_images"):
        order = "the surest first" if wrong else "the lowest score first"
        st.subheader(f"{len(rows):,} {word}" + (f", {order}" if len(rows) > 1 else ""), anchor=False)
        if not len(rows):
            return
        shown = rows[page_of(len(rows), SHOWN, f"find_page_{wrong}")]
        names = [str(name) for name in one.known.ids[shown]]
        with guard():
            images = data.images(one.report["data"], tuple(names), one.report["time"])
        thumbnails(images, [f"{name}\n{p:.3f}" for name, p in zip(names, one.scores[shown], strict=True)], columns=6)
        open_large(images, names, "find")


def differences(finders: Sequence[Scored]) -> None:
    """Whether the other finders differ from the first one, on the same images."""
    if len(finders) < 2:
        return
    metric = st.segmented_control("Compared by", metrics.FIND_NAMES, default="auroc", required=True,
                                  format_func=plots.metric_label, key="find_metric")  # fmt: skip
    base = finders[0]
    for one in finders[1:]:
        try:
            found = data.difference(str(one.folder), str(base.folder), one.key[1], metric, (one.key[2], base.key[2]))
            st.markdown(f":material/balance: {plain(verdict(found, one.label, base.label))}")
        except UserError as err:
            show_error(err)
