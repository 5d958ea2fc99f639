"""Figures of lens finders at one threshold: ROC with a logarithmic axis, completeness and purity, recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import plotly.graph_objects as go

from deeplense_core.metrics import Ranking
from deeplense_core.plots import theme as look
from deeplense_core.plots.curves import (
    PURITY_ENDS,
    band,
    completeness_and_purity,
    count_bars,
    odds,
    two_panels,
)
from deeplense_core.plots.decimate import decimate

LEAKY = "Leaky: the network was given the simulator's truth"
_OTHERS = (("#0072B2", "square", "dash"), ("#D55E00", "diamond", "dot"), ("#CC79A7", "triangle-up", "dashdot"))
_LOGIT_TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_EDGE = 1e-5


@dataclass(frozen=True, eq=False)
class FinderCurve:
    """One finder of a figure.

    Attributes:
        label: What it is called; escaped here.
        ranking: Its scores, sorted.
        auroc: {"value", "low", "high"}.
        band: "fpr", "low", "high" of its ROC; None draws no band.
        leaky: Whether it saw the simulator's truth.
    """

    label: str
    ranking: Ranking
    auroc: Mapping
    band: Mapping[str, np.ndarray] | None = None
    leaky: bool = False

    @property
    def floor(self) -> float:
        """The false positive rate at which no false positive is drawn: half a one."""
        return 0.5 / self.ranking.others

    @cached_property
    def vertices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False and true positive rates and thresholds of the vertices that carry the shape of the ROC."""
        fpr, tpr = self.ranking.roc
        fpr = np.maximum(fpr, self.floor)
        keep = decimate(np.log10(fpr) / np.log10(self.floor), tpr)
        return fpr[keep], tpr[keep], np.append(np.inf, self.ranking.thresholds)[keep]


def finder_style(place: int, theme: str) -> look.ClassStyle:
    """Line of the ``place``-th finder: the accent for the first, told apart by dash and marker as well."""
    if place == 0:
        return look.series_style("main", theme)
    return look.ClassStyle("", *_OTHERS[(place - 1) % len(_OTHERS)])


def finder_roc_figure(
    finders: Sequence[FinderCurve], threshold: float, *, title: str, subtitle: str = "", theme: str = "light"
) -> go.Figure:
    """ROC of each finder over a logarithmic false positive rate, with the threshold marked on each.

    No false positive at all is drawn at half a false positive, at the left edge; thin lines mark one and ten.
    """
    fig = look.figure(theme, title, subtitle)
    t, floor = look.tokens(theme), min(finder.floor for finder in finders)
    for place, finder in enumerate(finders):
        style, (fpr, tpr, thresholds) = finder_style(place, theme), finder.vertices
        name = f"{look.text(finder.label)} {look.number(finder.auroc['value'])}"
        if finder.band:
            band(fig, np.maximum(finder.band["fpr"], floor), finder.band["low"], finder.band["high"], style.color,
                 str(place))  # fmt: skip
        fig.add_scatter(
            x=fpr, y=tpr, name=name, legendgroup=str(place), mode="lines",
            line={"color": style.color, "dash": style.dash, "width": 2.5},
            customdata=[f"{v:.4f}" if np.isfinite(v) else "above every score" for v in thresholds],
            hovertemplate=f"<b>{look.text(finder.label)}</b><br>completeness %{{y:.4f}}<br>false positive rate "
            "%{x:.5f}<br>threshold %{customdata}<extra></extra>",
        )  # fmt: skip
        hits, false = finder.ranking.kept(threshold)
        fig.add_scatter(
            x=[max(false / finder.ranking.others, floor)], y=[hits / finder.ranking.lenses], mode="markers",
            legendgroup=str(place), showlegend=False,
            marker={"symbol": style.marker, "size": 13, "color": style.color,
                    "line": {"width": 2, "color": t["text"]}},
            hovertemplate=f"<b>{look.text(finder.label)}</b> at {threshold:.4g}<br>{hits:,} of "
            f"{finder.ranking.lenses:,} lenses, {false:,} false<extra></extra>",
        )  # fmt: skip
    marks = {count / finders[0].ranking.others: f"{count} false" for count in (1, 10)}
    marks = {at: word for at, word in marks.items() if floor < at < 1}
    fig.update_layout(
        shapes=[_upright(at, {"color": t["line"], "width": 1, "dash": "dot"}) for at in marks],
        annotations=[{"x": np.log10(at), "y": 1, "xref": "x", "yref": "paper", "text": word, "showarrow": False,
                      "xanchor": "left", "yanchor": "top", "font": {"size": 12, "color": t["muted"]}}
                     for at, word in marks.items()],
    )  # fmt: skip
    chance = np.geomspace(floor, 1, 60)
    fig.add_scatter(x=chance, y=chance, mode="lines", name="chance 0.500", hoverinfo="skip",
                    line={"color": t["muted"], "dash": "dot", "width": 1})  # fmt: skip
    fig.update_yaxes(title_text="Completeness (true positive rate)", range=[-0.02, 1.03])
    fig.update_xaxes(title_text="False positive rate, log scale (none at the left edge)", type="log", dtick=1,
                     range=[np.log10(floor) - 0.03, 0.03], exponentformat="power")  # fmt: skip
    return _stamped(fig, finders)


def finder_threshold_figure(
    finder: FinderCurve, point: Mapping[str, Mapping], threshold: float, prevalence: float, *, theme: str = "light"
) -> go.Figure:
    """Completeness, and purity at a prevalence, against the threshold on a scale of log odds.

    Purity is drawn as far as non-lenses of the set are kept: above the highest of them it is not known.

    Args:
        finder: The one.
        point: From its ``ranking.point`` at this threshold and prevalence.
        threshold: The one chosen.
        prevalence: Share of lenses on the sky.
        theme: "light" or "dark".
    """
    completeness, purity = (look.number(point[name]["value"]) for name in ("completeness", "purity"))
    fig = look.figure(theme, f"Completeness {completeness}, purity {purity} at {odds(prevalence)}",
                      f"Threshold {threshold:.4g}; {PURITY_ENDS}")  # fmt: skip
    t = look.tokens(theme)
    completeness_and_purity(fig, finder.ranking.table(prevalence), theme, _logit)
    fig.update_layout(shapes=[_upright(float(_logit(np.array(threshold))), {"color": t["text"], "width": 1.5})])
    fig.update_xaxes(title_text="Threshold on the probability of a lens", tickvals=_logit(np.array(_LOGIT_TICKS)),
                     ticktext=[f"{v:g}" for v in _LOGIT_TICKS], range=_logit(np.array([5e-5, 1 - 5e-5])))  # fmt: skip
    fig.update_yaxes(title_text="Share", range=[-0.02, 1.03])
    return _stamped(fig, [finder])


def finder_recovery_figure(
    finders: Sequence[FinderCurve], recovered: Sequence[Mapping[str, list]], quantity: str, *, theme: str = "light"
) -> go.Figure:
    """Completeness of each finder in bins of a true quantity, with Wilson intervals; below, how many lenses there were.

    Args:
        finders: What to call them.
        recovered: Of each, from :func:`deeplense_core.metrics.recovery` with the same bins.
        quantity: Name and unit, such as "Einstein radius (arcsec)".
        theme: "light" or "dark".
    """
    first = recovered[0]
    edges = list(zip(first["low_edge"], first["high_edge"], strict=True))
    middle = [(low + high) / 2 for low, high in edges]
    used = [i for i, count in enumerate(first["count"]) if count]
    ends = " to ".join(look.number(first["completeness"][i], 2) for i in (used[0], used[-1]))
    fig = two_panels(theme, f"Completeness {ends} with rising {look.text(quantity)}", "95 % Wilson intervals")
    for place, (finder, found) in enumerate(zip(finders, recovered, strict=True)):
        style = finder_style(place, theme)
        shift = 0.12 * (place - (len(finders) - 1) / 2)  # error bars side by side
        y = [found["completeness"][i] for i in used]
        fig.add_scatter(
            x=[middle[i] + shift * (edges[i][1] - edges[i][0]) for i in used], y=y, name=look.text(finder.label),
            error_y={"array": [found["high"][i] - found["completeness"][i] for i in used], "symmetric": False,
                     "arrayminus": [found["completeness"][i] - found["low"][i] for i in used], "thickness": 1.5},
            mode="lines+markers", line={"color": style.color, "dash": style.dash, "width": 2},
            marker={"symbol": style.marker, "size": 8, "color": style.color},
            customdata=[[found["found"][i], found["count"][i]] for i in used],
            hovertemplate=f"<b>{look.text(finder.label)}</b><br>%{{customdata[0]}} of %{{customdata[1]}} found: "
            "%{y:.3f}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    count_bars(fig, middle, first["count"], [high - low for low, high in edges], theme)
    fig.update_layout(showlegend=len(finders) > 1)
    fig.update_traces(showlegend=False, selector={"type": "bar"})
    fig.update_yaxes(title_text="Completeness", range=[-0.03, 1.06], row=1, col=1)
    fig.update_yaxes(title_text="Lenses", row=2, col=1)
    fig.update_xaxes(title_text=look.text(quantity), row=2, col=1)
    return _stamped(fig, finders)


def _upright(x: float, line: Mapping) -> dict:
    """A line from the bottom of the plot to its top; drawn in one go, which is quicker than ``add_vline``."""
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x", "yref": "paper", "line": line}


def stamp_leaky(fig: go.Figure, who: str = "") -> go.Figure:
    """Says on a figure that its numbers are worth nothing: the network was given what it should find out."""
    says = LEAKY + (f" ({who})" if who else "")
    fig.add_annotation(text=says, xref="paper", yref="paper", x=0.5, y=0.5, showarrow=False, textangle=-18,
                       font={"size": 17, "color": "#C0392B"}, opacity=0.75)  # fmt: skip
    title = fig.layout.title.text or ""  # pyright: ignore[reportAttributeAccessIssue]
    fig.update_layout(title_text=f"Leaky. {title}")
    return fig


def _stamped(fig: go.Figure, finders: Sequence[FinderCurve]) -> go.Figure:
    leaky = [look.text(finder.label) for finder in finders if finder.leaky]
    if not leaky:
        return fig
    return stamp_leaky(fig, ", ".join(leaky) if len(finders) > 1 else "")


def _logit(p: np.ndarray) -> np.ndarray:
    inside = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))
