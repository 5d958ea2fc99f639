"""One look: the colours of both themes, the style of each class, and the Plotly templates made from them."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go
import plotly.io as pio

from deeplense_core.classes import canonical_class
from deeplense_core.errors import UserError

TOKENS = {
    "light": {
        "background": "#FBFAF7",
        "panel": "#F1EFE9",
        "text": "#0F1620",
        "muted": "#5A6270",
        "grid": "#E4E0D6",
        "line": "#B9B4A7",
        "accent": "#B4691F",
    },
    "dark": {
        "background": "#0E1116",
        "panel": "#161B22",
        "text": "#E6E9EF",
        "muted": "#A3ABB8",
        "grid": "#232A34",
        "line": "#4A5361",
        "accent": "#F0B35A",
    },
}
# For st.plotly_chart(config=...) and to_html: Plotly's own bar offers to send the chart to a server.
PLOTLY_CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": [
        "sendChartToCloud",
        "lasso2d",
        "select2d",
        "zoomIn2d",
        "zoomOut2d",
        "autoScale2d",
    ],
}
PLATE = "#07090D"  # behind images, in both themes
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CLASS_DISPLAY = {
    "no": "no substructure",
    "sphere": "subhalo (CDM)",
    "vort": "vortex (axion)",
    "lens": "lens",
    "nonlens": "non-lens",
    "unlabelled": "unlabelled",
}
CLASS_COLORS = {
    "no": "#56B4E9",
    "sphere": "#E69F00",
    "vort": "#CC79A7",
    "lens": "#009E73",
    "nonlens": "#8A8F98",
    "unlabelled": "#BBBBBB",
}
CLASS_MARKERS = {
    "no": "circle",
    "sphere": "square",
    "vort": "diamond",
    "lens": "star",
    "nonlens": "x",
    "unlabelled": "circle-open",
}
CLASS_DASHES = {
    "no": "solid",
    "sphere": "dash",
    "vort": "dot",
    "lens": "solid",
    "nonlens": "dash",
    "unlabelled": "dot",
}
# Okabe-Ito colours that no known class holds, for classes met for the first time.
_OTHER = (
    ("#0072B2", "triangle-up", "dashdot"),
    ("#D55E00", "cross", "longdash"),
    ("#009E73", "pentagon", "longdashdot"),
    ("#8A8F98", "hexagon", "solid"),
)


@dataclass(frozen=True)
class ClassStyle:
    """How one class looks on every figure: never told by its colour alone."""

    label: str
    color: str
    marker: str
    dash: str


def text(name: object) -> str:
    """A name as plain text for Plotly, which would otherwise read < and & as markup."""
    return html.escape(str(name), quote=False)


def series_style(name: str, theme: str) -> ClassStyle:
    """Style of a line that is no class: the accent for what matters, the text colour for what it is held to.

    Class colours are left to classes, so that a colour keeps one meaning.
    """
    t = tokens(theme)
    if name == "main":
        return ClassStyle("", t["accent"], "circle", "solid")
    return ClassStyle("", t["muted"], "square", "dash")


def class_style(name: str, index: int = 0) -> ClassStyle:
    """Style of a class; one that is not known takes the ``index``-th of the colours left."""
    key = canonical_class(name)
    if key in CLASS_COLORS:
        return ClassStyle(CLASS_DISPLAY[key], CLASS_COLORS[key], CLASS_MARKERS[key], CLASS_DASHES[key])
    return ClassStyle(text(name), *_OTHER[index % len(_OTHER)])


def tokens(theme: str) -> dict[str, str]:
    """Colours of "light" or "dark"."""
    if theme not in TOKENS:
        raise UserError(f"Unknown theme {theme!r}. Choose from: {', '.join(TOKENS)}.")
    return TOKENS[theme]


def fade(color: str, alpha: float) -> str:
    """``#RRGGBB`` as a translucent CSS colour."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _template(theme: str) -> go.layout.Template:
    t = tokens(theme)
    axis = {
        "gridcolor": t["grid"],
        "linecolor": t["line"],
        "tickcolor": t["line"],
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 14}},
        "tickfont": {"size": 12},
    }
    layout = go.Layout(
        paper_bgcolor=t["background"],
        plot_bgcolor=t["background"],
        font={"family": FONT, "size": 14, "color": t["text"]},
        title={
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "yref": "container",
            "y": 0.97,
            "yanchor": "top",
            "font": {"size": 17},
            "subtitle": {"font": {"size": 12, "color": t["muted"]}},
        },
        xaxis=axis,
        yaxis=axis,
        colorway=list(CLASS_COLORS.values())[:4] + [other[0] for other in _OTHER[:2]],
        colorscale={"sequential": "Viridis", "diverging": "RdBu"},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.2,
            "yanchor": "top",
            "font": {"size": 12},
            "itemwidth": 40,
        },
        hoverlabel={
            "bgcolor": t["panel"],
            "bordercolor": t["line"],
            "font": {"family": FONT, "color": t["text"], "size": 12},
        },
        hovermode="closest",
        margin={"l": 64, "r": 16, "t": 72, "b": 56},
        modebar={
            "bgcolor": "rgba(0,0,0,0)",
            "color": t["muted"],
            "activecolor": t["accent"],
            "remove": list(PLOTLY_CONFIG["modeBarButtonsToRemove"]),
        },
    )
    return go.layout.Template(layout=layout)


for _name in TOKENS:
    pio.templates[f"deeplense_{_name}"] = _template(_name)


def figure(theme: str, title: str, subtitle: str = "", height: int = 440) -> go.Figure:
    """An empty figure of the project's look. ``title`` says the finding; both texts are already escaped."""
    tokens(theme)
    fig = go.Figure(layout={"template": f"deeplense_{theme}", "height": height})
    set_title(fig, title, subtitle)
    return fig


def set_title(fig: go.Figure, title: str, subtitle: str = "") -> None:
    """The finding, and beside it in small type what it rests on."""
    fig.update_layout(title={"text": title, "subtitle": {"text": subtitle}})


def empty_figure(theme: str, message: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    fig = figure(theme, text(message), height=160)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return fig


def number(value: float, digits: int = 3) -> str:
    """A fixed number of decimals, with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def finding(name: str, metric: Mapping) -> str:
    """A metric as a sentence: "AUC 0.981, 95 % 0.976 to 0.985", or why it does not exist.

    Args:
        name: What to call it.
        metric: {"value", "low", "high"} and, when undefined, "undefined".
    """
    if metric["value"] is None:
        return text(metric["undefined"])
    if metric["low"] is None:
        return f"{name} {number(metric['value'])}"
    width = metric["high"] - metric["low"]
    digits = 3 if width == 0 or width >= 0.005 else min(5, math.ceil(-math.log10(width)) + 1)
    value, low, high = (number(metric[part], digits) for part in ("value", "low", "high"))
    return f"{name} {value}, 95 % {low} to {high}"
