"""The map of points: up to a million under one zoom, drawn by the browser, with a lasso and pictures on hover.

    state = scatter(points, key="map", group="one", title="PCA", pictures=look_up)

With ``?scatter=plain`` in the address, or ``DEEPLENSE_SCATTER=plain`` in the environment, it is a Plotly chart of up
to 20,000 points instead: for browsers where the component cannot run. ``?scatter=live`` ends that.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.plots.theme import tokens
from deeplense_core.workspace import ROOT
from pages.ui.theme import theme_name

MOST = 1_000_000
MOST_PLAIN = 20_000
SCRIPTS = ("state", "draw", "controls")
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "circle-open", "triangle-down", "bar")
"""Shape of a point: its place here is the fourth byte of its look. Plotly's names."""
PICTURE_PX = 48


@dataclass(frozen=True, eq=False)
class Points:
    """Where points lie and how they look."""

    positions: np.ndarray
    """float32 (n, 2)."""
    looks: np.ndarray
    """uint8 (n, 4): red, green, blue, place in ``SHAPES``."""
    legend: Mapping[str, Any]
    """``{"kind": "classes", "items": [{"label", "color", "shape", "count", "look"}]}``, or
    ``{"kind": "scale", "label", "low", "high", "stops", "missing"}``."""


@dataclass(frozen=True)
class Query:
    """A new image on the map."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Picture:
    """What the card of a point shows: a picture, uint8 (48, 48, 3), where there is one, and lines of text."""

    words: tuple[str, ...]
    colours: np.ndarray | None = None


@dataclass(frozen=True)
class ScatterState:
    """What the reader told the page; zoom and tool stay in the browser."""

    chosen: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """Rows, ascending."""
    picked: int | None = None
    """The row that was clicked."""
    serial: int = 0
    """Grows with every change."""


def scatter(
    points: Points, *, key: str, group: str, title: str, height: int = 480, queries: Sequence[Query] = (),
    locate: Mapping[str, Any] | None = None,
) -> ScatterState:  # fmt: skip
    """Draws points under one zoom, kept by the browser under ``key`` while they lie where they lay.

    Args:
        points: At least one, at most a million.
        key: Of the widget.
        group: Name of the images: maps of one group share what is chosen and hovered.
        title: Of the map, for readers who cannot see it.
        height: In pixels.
        queries: New images to mark on it.
        locate: ``{"row", "serial"}`` moves the map to a row, once for each serial number.

    Raises:
        UserError: too many points.
    """
    count = len(points.positions)
    if count > MOST:
        raise UserError(f"{count:,} points are more than a map shows, {MOST:,}. Embed a part of the data.")
    if plain_wanted():
        return _plain(points, key, title, height)
    header = {
        "kind": "points", "key": key, "group": group, "title": title, "height": height, "count": count,
        "legend": _with_codes(points.legend), "accent": tokens(theme_name())["accent"],
        "queries": [{"place": [q.x, q.y], "words": q.words} for q in queries], "locate": locate,
    }  # fmt: skip
    answer = _component()(key=key, data=pack_points(points, header), on_chosen_change=_nothing)
    return state_of(answer.get("chosen"), group, count)


def state_of(answer: Mapping[str, Any] | None, group: str, count: int) -> ScatterState:
    """What the browser said, where it is about these points."""
    if not answer or answer["group"] != group:
        return ScatterState()
    rows = unpack_rows(answer["rows"])
    picked = answer["picked"] if 0 <= answer["picked"] < count else None
    return ScatterState(rows[rows < count], picked, answer["serial"])


def unpack_rows(text: str) -> np.ndarray:
    """Rows from base64 of their steps, each in groups of seven bits, lowest first."""
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    last = data < 128
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]])) if len(data) else np.empty(0, int)
    order = np.arange(len(data)) - np.repeat(starts, np.diff([*starts, len(data)]))
    parts = (data & 127).astype(np.int64) << (7 * order)
    return np.cumsum(np.add.reduceat(parts, starts)) - 1 if len(data) else np.empty(0, np.int64)


def pack_points(points: Points, header: Mapping[str, Any]) -> bytes:
    """Length of a JSON header (uint32), the header, float32 x and y of each point, and its look.

    The header names positions and looks by a hash of their content, so that the same header means the same points.
    """
    positions = np.ascontiguousarray(points.positions, "<f4").tobytes()
    looks = np.ascontiguousarray(points.looks, np.uint8).tobytes()
    named = {**header, "positions": _hash(positions), "looks": _hash(looks)}
    return _packed(named, positions + looks)


def pack_pictures(group: str, rows: Sequence[int], pictures: Sequence[Picture]) -> bytes:
    """The same of pictures: of each, its colours, black where it has none."""
    blank = np.zeros((PICTURE_PX, PICTURE_PX, 3), np.uint8)
    header = {"kind": "pictures", "group": group, "side": PICTURE_PX, "rows": list(rows),
              "words": [picture.words for picture in pictures],
              "pictured": [picture.colours is not None for picture in pictures]}  # fmt: skip
    return _packed(header, b"".join((blank if p.colours is None else p.colours).tobytes() for p in pictures))


def pictures_on_hover(group: str, key: str, look_up: Callable[[Sequence[int]], Sequence[Picture]]) -> None:
    """Answers the map's questions for pictures, a region at a time, without drawing the page anew.

    Args:
        group: Of the maps that ask.
        key: Of the widget.
        look_up: Gives the pictures of some rows, in order.
    """
    if not plain_wanted():
        st.fragment(_pictures)(group, key, look_up)


def _pictures(group: str, key: str, look_up: Callable[[Sequence[int]], Sequence[Picture]]) -> None:
    state: Any = st.session_state.get(key)
    wanted = state.get("wanted") if state else None
    rows = [int(row) for row in wanted["rows"]] if wanted else []
    _component()(key=key, data=pack_pictures(group, rows, look_up(rows) if rows else []), on_wanted_change=_nothing)


def _packed(header: Mapping[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + body


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _with_codes(legend: Mapping[str, Any]) -> dict[str, Any]:
    if legend["kind"] != "classes":
        return dict(legend)
    return {**legend, "items": [{**item, "code": code} for code, item in enumerate(legend["items"])]}


def plain_wanted() -> bool:
    """Whether the Plotly chart was asked for: by the address, once for all pages, or by the environment."""
    wanted = st.session_state.get("scatter_kind") or os.environ.get("DEEPLENSE_SCATTER")
    if asked := st.query_params.get("scatter"):
        wanted = st.session_state["scatter_kind"] = asked
    return wanted == "plain"


def _plain(points: Points, key: str, title: str, height: int) -> ScatterState:
    count = len(points.positions)
    if count > MOST_PLAIN:
        raise UserError(f"The plain chart shows up to {MOST_PLAIN:,} points, and there are {count:,}. Use a browser "
                        "with WebGL, or embed a part of the data.")  # fmt: skip
    answer: Any = st.plotly_chart(
        plain_figure(points, title, height), theme=None, key=f"{key}_plain", on_select="rerun",
        selection_mode=("lasso", "points"), config={"scrollZoom": True, "displaylogo": False},
    )  # fmt: skip
    rows = sorted(int(point["customdata"][0]) for point in answer["selection"]["points"])
    return ScatterState(np.array(rows, np.int64), rows[0] if len(rows) == 1 else None, len(rows))


def plain_figure(points: Points, title: str, height: int) -> Any:
    """The map as a Plotly figure, each point's row as its custom data."""
    import plotly.graph_objects as go

    colours = [f"rgb({r},{g},{b})" for r, g, b, _ in points.looks]
    x, y = points.positions.T
    marker = {"color": colours, "symbol": [_PLOTLY[shape] for shape in points.looks[:, 3]], "size": 6}
    figure = go.Figure(go.Scattergl(x=x, y=y, mode="markers", marker=marker, hoverinfo="none",
                                    customdata=np.arange(len(x))[:, None]))  # fmt: skip
    axis = {"visible": False, "scaleanchor": None}
    figure.update_layout(template=f"deeplense_{theme_name()}", title=title, height=height, dragmode="lasso",
                         xaxis=axis, yaxis={**axis, "scaleanchor": "x"}, margin={"l": 8, "r": 8, "b": 8})  # fmt: skip
    return figure


_PLOTLY = tuple("hexagon" if shape == "bar" else shape for shape in SHAPES)


def _nothing() -> None:
    """A component's state is only reported where there is a callback."""


@cache
def _component():
    folder = ROOT / "assets" / "components"
    files = ["elements.js", *(f"scatter_{name}.js" for name in SCRIPTS), "scatter.js"]
    js = "\n".join((folder / name).read_text("utf-8") for name in files)
    return st.components.v2.component("deeplense_scatter", css=(folder / "scatter.css").read_text("utf-8"), js=js)
