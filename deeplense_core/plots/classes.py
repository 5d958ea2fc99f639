"""Figures of classes and runs: confusion, class counts, score histograms, runs side by side, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.colors import sample_colorscale, unlabel_rgb

from deeplense_core.metrics import LOWER_IS_BETTER
from deeplense_core.plots import theme as look
from deeplense_core.plots.names import metric_label


def _ink_on(share: float) -> str:
    """Dark or light text, whichever reads better on viridis at this share."""
    channels = np.array(unlabel_rgb(sample_colorscale("Viridis", [share])[0])) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    # At a relative luminance of 0.179 black and white text have the same WCAG contrast, 4.6.
    return look.PLATE if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#FFFFFF"


def _worst_confusion(matrix: np.ndarray, shares: np.ndarray, labels: Sequence[str]) -> str:
    off = np.where(np.eye(len(matrix), dtype=bool), -1.0, shares)
    true, taken = divmod(int(off.argmax()), len(matrix))
    if matrix[true, taken] == 0:
        return "No image confused"
    return f"Most confused: {labels[true]} taken for {labels[taken]} ({100 * shares[true, taken]:.1f} %)"


def confusion_figure(
    counts: ArrayLike, classes: Sequence[str], *, metric: Mapping | None = None, theme: str = "light"
) -> go.Figure:
    """Counts and row shares; a click on a cell gives its ``customdata``: [true, predicted, count].

    Args:
        counts: (k, k), row = true, column = predicted.
        classes: k names, as they stand in the data set.
        metric: the "accuracy" metric with its interval; from the counts alone when not given.
        theme: "light" or "dark".
    """
    matrix = np.asarray(counts)
    k = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels = [look.class_style(name, i).label for i, name in enumerate(classes)]
    accuracy = np.trace(matrix) / max(matrix.sum(), 1)
    title = look.finding("Accuracy", metric or {"value": accuracy, "low": None, "high": None})
    fig = look.figure(theme, title, _worst_confusion(matrix, shares, labels))
    fig.add_heatmap(
        z=100 * shares,
        x=labels,
        y=labels,
        zmin=0,
        zmax=100,
        colorscale="Viridis",
        showscale=False,  # every cell states its share
        xgap=3,
        ygap=3,
        hoverinfo="skip",
    )
    cells = [(i, j) for i in range(k) for j in range(k)]
    accent = look.tokens(theme)["accent"]
    # Plotly selects points of scatters only, so an invisible square lies on every cell.
    fig.add_scatter(
        x=[labels[j] for _, j in cells],
        y=[labels[i] for i, _ in cells],
        customdata=[[classes[i], classes[j], int(matrix[i, j])] for i, j in cells],
        text=[f"<b>{matrix[i, j]:,}</b><br>{100 * shares[i, j]:.1f} %" for i, j in cells],
        mode="markers+text",
        textfont={"size": 14, "color": [_ink_on(shares[i, j]) for i, j in cells]},
        marker={"symbol": "square", "size": max(24, 210 // k), "color": accent, "opacity": 0},
        selected={"marker": {"opacity": 1, "color": accent}, "textfont": {"color": look.PLATE}},
        unselected={"marker": {"opacity": 0}},
        hovertemplate="true %{y}<br>predicted %{x}<br>%{customdata[2]:,} images<extra></extra>",
        showlegend=False,
    )
    fig.update_xaxes(title_text="Predicted", showgrid=False, showline=False, ticks="", categoryarray=labels)
    fig.update_yaxes(
        title_text="True",
        showgrid=False,
        showline=False,
        ticks="",
        autorange="reversed",
        categoryarray=labels,
    )
    # Without a limit on the distance the nearest centre answers, which is the cell under the pointer.
    fig.update_layout(clickmode="event+select", dragmode=False, hoverdistance=-1)
    return fig


def class_bars(counts: Mapping[str, Mapping[str, int]], *, theme: str = "light") -> go.Figure:
    """Images of each class, stacked by split.

    Args:
        counts: split -> class -> images.
        theme: "light" or "dark".
    """
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    totals = {name: sum(split.get(name, 0) for split in counts.values()) for name in classes}
    most, least = max(totals.values(), default=0), min(totals.values(), default=0)
    if least == 0:
        balance = f"no image of {', '.join(look.class_style(n).label for n, c in totals.items() if not c)}"
    elif most <= 1.05 * least:
        balance = "classes balanced"
    else:
        balance = f"largest class {most / least:.1f} times the smallest"
    fig = look.figure(theme, f"{sum(totals.values()):,} images, {balance}", height=320)
    styles = [look.class_style(name, i) for i, name in enumerate(classes)]
    for index, (split, inside) in enumerate(counts.items()):
        fig.add_bar(
            x=[s.label for s in styles],
            y=[inside.get(name, 0) for name in classes],
            name=look.text(split),
            marker={
                "color": [s.color for s in styles],
                "pattern": {
                    "shape": ["", "/", "x", "."][index % 4],
                    "fillmode": "overlay",
                    "fgcolor": look.PLATE,
                    "fgopacity": 0.65,
                },
                "line": {"color": look.tokens(theme)["background"], "width": 1},
            },
            hovertemplate="%{x}, " + look.text(split) + ": %{y:,} images<extra></extra>",
        )
    fig.update_layout(barmode="stack", bargap=0.4, legend_traceorder="normal")
    fig.update_yaxes(title_text="Images")
    return fig


def score_figure(
    labels: ArrayLike,
    scores: ArrayLike,
    classes: Sequence[str],
    *,
    of: str,
    theme: str = "light",
    bins: int = 40,
) -> go.Figure:
    """Histogram of one class's score, a line for each true class.

    Args:
        labels: (n,) class numbers.
        scores: (n,) probability of class ``of``.
        classes: k names.
        of: the class scored.
        theme: "light" or "dark".
        bins: equal-width bins on 0 to 1.
    """
    truth, score = np.asarray(labels), np.asarray(scores)
    label = look.class_style(of, list(classes).index(of)).label
    is_class = truth == list(classes).index(of)
    parts = [(label, is_class), ("the rest", ~is_class)]
    medians = ", ".join(f"{np.median(score[m]):.3f} for {name}" for name, m in parts if m.any())
    fig = look.figure(
        theme, f"Median score {medians}", f"{truth.size:,} images, probability given to {label}", height=360
    )
    edges = np.linspace(0, 1, bins + 1)
    for index, name in enumerate(classes):
        style = look.class_style(name, index)
        counts, _ = np.histogram(score[truth == index], edges)
        fig.add_scatter(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            name=style.label,
            mode="lines+markers",
            line={"shape": "hvh", "color": style.color, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": 7, "maxdisplayed": 10},
            hovertemplate=f"{style.label}: %{{y:,}} images near %{{x:.3f}}<extra></extra>",
        )
    fig.update_xaxes(title_text=f"Probability of {label}", range=[-0.01, 1.01])
    fig.update_yaxes(title_text="Images")
    return fig


def _comparison_title(rows: Mapping[str, Mapping], metric: str) -> tuple[str, str]:
    """The leader's finding, and whose intervals overlap with it."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    known = {name: m for name, m in rows.items() if m["value"] is not None}
    if not known:
        return look.text(next(iter(rows.values()))["undefined"]), ""
    best = max(known, key=lambda name: sign * known[name]["value"])
    others = [n for n, m in known.items() if n != best and m["low"] is not None]
    lead = known[best]
    found = look.finding(metric_label(metric), lead)
    if lead["low"] is None or not others:
        return f"{look.text(best)}: {found}", ""
    near = [n for n in others if known[n]["high"] >= lead["low"] and known[n]["low"] <= lead["high"]]
    if near:
        overlap = f"Its interval overlaps with {', '.join(map(look.text, near))}"
        return f"{look.text(best)} is {'lowest' if sign < 0 else 'highest'}: {found}", overlap
    return f"{look.text(best)} leads: {found}", "No other interval reaches it"


def compare_figure(rows: Mapping[str, Mapping], *, metric: str, theme: str = "light") -> go.Figure:
    """One metric of several runs, each a point with its interval, the best on top.

    Args:
        rows: run or baseline -> {"value", "low", "high"}, all on the same data.
        metric: its name in the contract.
        theme: "light" or "dark".
    """
    t = look.tokens(theme)
    if not rows:
        return look.empty_figure(theme, "No run to compare yet")
    sign = -1 if metric in LOWER_IS_BETTER else 1
    known = sorted((n for n, m in rows.items() if m["value"] is not None), key=lambda n: sign * rows[n]["value"])
    fig = look.figure(theme, *_comparison_title(rows, metric), height=150 + 36 * max(len(known), 2))
    # Names on the axis are as long as people make them; from the figure's edge on the title has room.
    fig.update_layout(title={"x": 0, "xref": "container"})
    values = [rows[n]["value"] for n in known]
    lows = [rows[n]["low"] if rows[n]["low"] is not None else rows[n]["value"] for n in known]
    highs = [rows[n]["high"] if rows[n]["high"] is not None else rows[n]["value"] for n in known]
    best = [n == known[-1] for n in known]
    fig.add_scatter(
        x=values,
        y=[look.text(n) for n in known],
        error_x={
            "array": np.subtract(highs, values),
            "arrayminus": np.subtract(values, lows),
            "symmetric": False,
            "thickness": 2,
            "color": t["muted"],
        },
        customdata=list(zip(lows, highs, strict=True)),
        mode="markers",
        marker={
            "size": 9,
            "symbol": ["diamond" if b else "circle" for b in best],
            "color": [t["accent"] if b else t["text"] for b in best],
        },
        hovertemplate="%{y}: %{x:.4f}<br>95 % %{customdata[0]:.4f} to %{customdata[1]:.4f}<extra></extra>",
        showlegend=False,
    )
    better = "lower is better" if sign < 0 else "higher is better"
    fig.update_xaxes(title_text=f"{metric_label(metric)} ({better})")
    fig.update_yaxes(showgrid=False, ticks="", type="category", range=[-0.6, max(len(known), 1) - 0.4])
    return fig
