"""Figures of a decision: ROC, precision-recall, completeness and purity at a threshold, recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from deeplense_core.metrics import ClassCurves
from deeplense_core.plots import theme as look
from deeplense_core.plots.decimate import decimate


def markers(style: look.ClassStyle) -> dict:
    return {"symbol": style.marker, "size": 8, "maxdisplayed": 9, "color": style.color}


def band(fig: go.Figure, x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, group: str) -> None:
    """A translucent band that hides and shows with its curve."""
    fig.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        line={"width": 0, "shape": "linear"},
        fill="toself",
        fillcolor=look.fade(color, 0.18),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )


def _thresholds(values: np.ndarray) -> list[str]:
    return [f"{v:.4f}" if np.isfinite(v) else "above every score" for v in values]


def _area_label(style: look.ClassStyle, area: Mapping) -> str:
    return f"{style.label} {look.number(area['value'])}"


def roc_figure(
    curves: Sequence[ClassCurves],
    *,
    title: str,
    subtitle: str = "",
    log_x: bool = False,
    theme: str = "light",
) -> go.Figure:
    """ROC of every class against the rest, with pointwise 95 % bands.

    Args:
        curves: from :func:`deeplense_core.metrics.class_curves`.
        title: the finding, as :func:`deeplense_core.plots.finding` words it.
        subtitle: what it rests on.
        log_x: logarithmic false positive rate; a rate of 0 is drawn at half a false positive.
        theme: "light" or "dark".
    """
    if not curves:
        return look.empty_figure(theme, title)
    fig = look.figure(theme, title, subtitle)
    floor = min(0.5 / c.negatives for c in curves)
    for index, curve in enumerate(curves):
        style = look.class_style(curve.name, index)
        fpr, tpr, thresholds = curve.roc
        band_x = curve.roc_band["fpr"]
        if log_x:
            fpr, band_x = np.maximum(fpr, floor), np.maximum(band_x, floor)
        keep = decimate(np.log10(fpr) / np.log10(floor) if log_x else fpr, tpr)
        band(fig, band_x, curve.roc_band["low"], curve.roc_band["high"], style.color, str(index))
        fig.add_scatter(
            x=fpr[keep],
            y=tpr[keep],
            customdata=_thresholds(thresholds[keep]),
            name=_area_label(style, curve.auc),
            legendgroup=str(index),
            mode="lines+markers",
            line={"color": style.color, "dash": style.dash, "width": 2.5},
            marker=markers(style),
            hovertemplate=f"<b>{style.label}</b><br>true positive rate %{{y:.4f}}<br>"
            "false positive rate %{x:.5f}<br>threshold %{customdata}<extra></extra>",
        )
    chance = np.geomspace(floor, 1, 60) if log_x else np.array([0.0, 1.0])
    fig.add_scatter(
        x=chance,
        y=chance,
        mode="lines",
        name="chance 0.500",
        line={"color": look.tokens(theme)["muted"], "dash": "dot", "width": 1},
        hoverinfo="skip",
    )
    fig.update_yaxes(title_text="True positive rate", range=[-0.01, 1.02])
    if log_x:
        name = "False positive rate, log scale (0 at the left edge)"
        fig.update_xaxes(title_text=name, type="log", range=[np.log10(floor), 0.02], dtick=1, exponentformat="power")
    else:
        fig.update_xaxes(title_text="False positive rate", range=[-0.01, 1.01])
    return fig


def pr_figure(curves: Sequence[ClassCurves], *, title: str, subtitle: str = "", theme: str = "light") -> go.Figure:
    """Precision against recall of every class, as the steps that average precision sums, with bands.

    The dotted line of each class is its share of the images, what guessing reaches.
    """
    if not curves:
        return look.empty_figure(theme, title)
    fig = look.figure(theme, title, subtitle)
    for index, curve in enumerate(curves):
        style = look.class_style(curve.name, index)
        precision, recall, thresholds = curve.pr
        keep = decimate(recall, precision)
        inside = curve.pr_band
        band(fig, inside["recall"], inside["low"], inside["high"], style.color, str(index))
        fig.add_scatter(
            x=recall[keep],
            y=precision[keep],
            customdata=_thresholds(np.append(thresholds, np.inf)[keep]),
            name=_area_label(style, curve.average_precision),
            legendgroup=str(index),
            mode="lines+markers",
            # Recall falls along this curve, so each precision holds back to the next lower recall.
            line={"color": style.color, "dash": style.dash, "width": 2.5, "shape": "hv"},
            marker=markers(style),
            hovertemplate=f"<b>{style.label}</b><br>precision %{{y:.4f}}<br>recall %{{x:.4f}}<br>"
            "threshold %{customdata}<extra></extra>",
        )
        share = curve.positives / (curve.positives + curve.negatives)
        fig.add_scatter(
            x=[0, 1],
            y=[share, share],
            mode="lines",
            line={"color": style.color, "dash": "dot", "width": 1},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=str(index),
        )
    fig.update_xaxes(title_text="Recall (completeness)", range=[-0.01, 1.01])
    fig.update_yaxes(title_text="Precision (purity of this set)", range=[-0.01, 1.02])
    return fig


def odds(prevalence: float) -> str:
    return f"1 in {1 / prevalence:,.0f}"


PURITY_ENDS = "purity is known where one of the others is kept"


def completeness_and_purity(
    fig: go.Figure, table: Mapping[str, np.ndarray], theme: str,
    scale: Callable[[np.ndarray], np.ndarray] = lambda threshold: threshold,
) -> None:
    """Draws both against the threshold.

    Purity ends at the highest score of the others: beyond it a finite set says 1, and does not know.

    Args:
        fig: Where to.
        table: from :func:`deeplense_core.metrics.threshold_table`.
        theme: "light" or "dark".
        scale: From a threshold to the x axis.
    """
    for key, role, name in (("completeness", "other", "Completeness"), ("purity", "main", "Purity")):
        known = (table["fpr"] > 0) | (key != "purity")
        style, y, thresholds = look.series_style(role, theme), table[key][known], table["threshold"][known]
        x = scale(thresholds)
        keep = decimate(x / max(float(np.ptp(scale(np.array([0.0, 1.0])))), 1e-12), y)
        fig.add_scatter(
            x=x[keep], y=y[keep], name=name, mode="lines+markers", marker=markers(style),
            line={"color": style.color, "dash": style.dash, "width": 2.5},
            customdata=[f"{v:.4f}" for v in thresholds[keep]],
            hovertemplate=f"{name} %{{y:.4f}}<br>threshold %{{customdata}}<extra></extra>",
        )  # fmt: skip


def threshold_figure(
    table: Mapping[str, np.ndarray],
    point: Mapping[str, Mapping],
    *,
    threshold: float,
    prevalence: float,
    theme: str = "light",
) -> go.Figure:
    """Completeness and purity against the threshold, with the chosen threshold marked.

    Args:
        table: from :func:`deeplense_core.metrics.threshold_table`.
        point: from :func:`deeplense_core.metrics.operating_point` at ``threshold``.
        threshold: the one chosen.
        prevalence: share of true objects on the sky, as given to both.
        theme: "light" or "dark".
    """
    completeness, purity = (look.number(point[name]["value"]) for name in ("completeness", "purity"))
    per_true = point["false_per_true"]["value"]
    false = "nothing true is kept" if per_true is None else f"{per_true:,.2f} false positives per true one"
    fig = look.figure(
        theme,
        f"Completeness {completeness}, purity {purity} at {odds(prevalence)}",
        f"Threshold {threshold:.3g}, {false}; {PURITY_ENDS}",
    )
    completeness_and_purity(fig, table, theme)
    fig.add_vline(x=threshold, line={"color": look.tokens(theme)["text"], "width": 1.5})
    fig.update_xaxes(title_text="Threshold on the score")
    fig.update_yaxes(title_text="Share", range=[-0.01, 1.02])
    return fig


def recovery_figure(recovered: Mapping[str, list], *, quantity: str, theme: str = "light") -> go.Figure:
    """Completeness in bins of a true quantity with Wilson intervals, and below it how many there were.

    Args:
        recovered: from :func:`deeplense_core.metrics.recovery`.
        quantity: name and unit, such as "Einstein radius (arcsec)".
        theme: "light" or "dark".
    """
    used = [i for i, count in enumerate(recovered["count"]) if count]
    edges = list(zip(recovered["low_edge"], recovered["high_edge"], strict=True))
    middle = [(low + high) / 2 for low, high in edges]
    first, last = (f"{recovered['completeness'][i]:.2f} near {middle[i]:.2g}" for i in (used[0], used[-1]))
    fig = two_panels(theme, f"Completeness {first}, {last}")
    x = [middle[i] for i in used]
    y = [recovered["completeness"][i] for i in used]
    style = look.series_style("main", theme)
    fig.add_scatter(
        x=x,
        y=y,
        error_y={
            "array": [recovered["high"][i] - recovered["completeness"][i] for i in used],
            "arrayminus": [recovered["completeness"][i] - recovered["low"][i] for i in used],
            "symmetric": False,
            "thickness": 1.5,
        },
        customdata=[[recovered["found"][i], recovered["count"][i]] for i in used],
        mode="lines+markers",
        line={"color": style.color, "width": 2},
        marker={"symbol": "circle", "size": 8},
        name="completeness",
        hovertemplate="%{customdata[0]} of %{customdata[1]} found: %{y:.3f}<extra></extra>",
        row=1,
        col=1,
    )
    count_bars(fig, middle, recovered["count"], [high - low for low, high in edges], theme)
    fig.update_yaxes(title_text="Completeness", range=[-0.02, 1.05], row=1, col=1)
    fig.update_xaxes(title_text=look.text(quantity), row=2, col=1)
    return fig


def two_panels(theme: str, title: str, subtitle: str = "") -> go.Figure:
    """A main panel over a low one that shares its x axis."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.05)
    fig.update_layout(template=f"deeplense_{theme}", height=480, showlegend=False)
    look.set_title(fig, title, subtitle)
    return fig


def count_bars(fig: go.Figure, x: Sequence, counts: Sequence, widths: Sequence, theme: str) -> None:
    fig.add_bar(
        x=x,
        y=counts,
        width=widths,
        marker={
            "color": look.tokens(theme)["line"],
            "line": {"color": look.tokens(theme)["background"], "width": 1},
        },
        name="images",
        hovertemplate="%{y:,} images<extra></extra>",
        row=2,
        col=1,
    )
    fig.update_yaxes(title_text="Images", row=2, col=1, nticks=3)


def reliability_figure(bins: Mapping[str, list], metric: Mapping, *, theme: str = "light") -> go.Figure:
    """Accuracy against stated confidence with Wilson intervals, and how many images each bin holds.

    Args:
        bins: from :func:`deeplense_core.metrics.reliability`.
        metric: the "ece" metric, {"value", "low", "high"}.
        theme: "light" or "dark".
    """
    t = look.tokens(theme)
    used = [i for i, count in enumerate(bins["count"]) if count]
    total = sum(bins["count"])
    excess = sum(bins["count"][i] * (bins["confidence"][i] - bins["accuracy"][i]) for i in used) / total
    leaning = "Over" if excess > 0 else "Under"
    subtitle = f"{leaning}confident by {100 * abs(excess):.1f} points on average, {total:,} images"
    fig = two_panels(theme, look.finding("ECE", metric), subtitle)
    fig.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": t["muted"], "dash": "dot", "width": 1},
        hoverinfo="skip",
        name="calibrated",
        row=1,
        col=1,
    )
    accuracy = [bins["accuracy"][i] for i in used]
    fig.add_scatter(
        x=[bins["confidence"][i] for i in used],
        y=accuracy,
        error_y={
            "array": [bins["high"][i] - bins["accuracy"][i] for i in used],
            "arrayminus": [bins["accuracy"][i] - bins["low"][i] for i in used],
            "symmetric": False,
            "thickness": 1.5,
        },
        customdata=[bins["count"][i] for i in used],
        mode="lines+markers",
        line={"color": t["accent"], "width": 2},
        marker={"size": 8},
        name="this model",
        hovertemplate="says %{x:.3f}, is right %{y:.3f}<br>%{customdata:,} images<extra></extra>",
        row=1,
        col=1,
    )
    edges = list(zip(bins["low_edge"], bins["high_edge"], strict=True))
    count_bars(fig, [(a + b) / 2 for a, b in edges], bins["count"], [b - a for a, b in edges], theme)
    fig.update_xaxes(range=[0, 1.01])
    fig.update_xaxes(title_text="Confidence of the chosen class", row=2, col=1)
    fig.update_yaxes(title_text="Accuracy", range=[-0.02, 1.05], row=1, col=1)
    return fig
