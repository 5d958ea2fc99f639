"""How the points of a map look: colours and shapes by class, colours by number, and the key to both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.display import stretch, to_rgb
from deeplense_core.embeddings.facts import CLASS, PREDICTED, RIGHT, fact
from deeplense_core.embeddings.pictures import images_of
from deeplense_core.embeddings.project import open_map
from deeplense_core.embeddings.store import Embedding, open_embedding
from deeplense_core.embeddings.tags import tags
from deeplense_core.errors import UserError
from deeplense_core.plots.theme import class_style
from pages.ui.scatter import PICTURE_PX, SHAPES, Picture, Points
from pages.ui.theme import class_label

UNKNOWN = "#8A8F98"
COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#0072B2", "#B09500", "#9467BD", "#7F4F24")
"""Of words that are no classes, in the order of how often they occur."""
RANGE = {"light": (0.0, 0.88), "dark": (0.22, 1.0)}
"""Part of the colour map that can be told from the page."""
MOST_OUTLYING = 99.5
"""Percentile of the values at the ends of a scale."""


@st.cache_data(max_entries=16, show_spinner=False)
def points_of(path: str, digest: str, map_path: str, by: str, theme: str, tagged: float) -> Points:
    """A map coloured by a fact; ``digest`` and ``tagged`` (when tags changed last) tell the cache what is new."""
    embedding = open_embedding(path)
    values = fact(embedding, by, tags(embedding))
    looks, legend = numbers(values, by, theme) if values.dtype.kind in "iufb" else words(values, by)
    return Points(open_map(Path(map_path)).positions, looks, legend)


def words(values: np.ndarray, by: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Looks, uint8 (n, 4), and legend of text: classes in their own colours, other words by how often they occur."""
    names, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = [*(i for i in order if names[i]), *(i for i in order if not names[i])]
    table, items = np.zeros((len(names), 4), np.uint8), []
    rest = 0
    for rank, place in enumerate(order):
        name, known = str(names[place]), rank < len(COLOURS)
        label, colour, shape = _style(name, by, rank) if known and name else (
            "unlabelled" if not name else "other", UNKNOWN, "circle-open")  # fmt: skip
        look = [*_rgb(colour), SHAPES.index(shape)]
        table[place] = look
        if not known and name:
            rest += int(counts[place])
            continue
        items.append({"label": label, "color": colour, "shape": look[3], "count": int(counts[place]), "look": look})
    if rest:
        look = [*_rgb(UNKNOWN), SHAPES.index("circle-open")]
        items.append({"label": "other", "color": UNKNOWN, "shape": look[3], "count": rest, "look": look})
    return table[places.reshape(-1)], {"kind": "classes", "items": items}


def _style(name: str, by: str, rank: int) -> tuple[str, str, str]:
    """What to call a word, its colour and its shape."""
    if by == RIGHT:
        return name, *{"right": ("#009E73", "circle"), "wrong": ("#D55E00", "x")}[name]
    if by in (CLASS, PREDICTED):
        style = class_style(name, rank)
        return class_label(name), style.color, style.marker if style.marker in SHAPES else SHAPES[rank % len(SHAPES)]
    return name, COLOURS[rank], SHAPES[rank % 7]


def numbers(values: np.ndarray, by: str, theme: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Looks and legend of numbers: viridis between the outer half percents; grey where there is none."""
    values = values.astype(np.float64)
    known = np.isfinite(values)
    scaled = stretch(values, "linear", MOST_OUTLYING)
    flat = not scaled.vmax > scaled.vmin
    colours = _viridis(np.where(flat, 0.5, scaled.image), theme)
    colours[~known] = _rgb(UNKNOWN)
    looks = np.concatenate([colours, np.where(known, 0, SHAPES.index("circle-open"))[:, None]], 1).astype(np.uint8)
    stops = [f"rgb({r},{g},{b})" for r, g, b in _viridis(np.linspace(0, 1, 9), theme)]
    return looks, {"kind": "scale", "label": by, "low": f"{scaled.vmin:.3g}", "high": f"{scaled.vmax:.3g}",
                   "stops": stops, "missing": int((~known).sum())}  # fmt: skip


def _viridis(shares: np.ndarray, theme: str) -> np.ndarray:
    """Colours, uint8 (n, 3), of shares from 0 to 1."""
    low, high = RANGE[theme]
    ends = np.concatenate([low + (high - low) * shares, [0.0, 1.0]])  # the ends fix the limits
    return to_rgb(ends[None], "linear", 100, "viridis")[0, :-2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def pictures(path: str, by: str, tagged: float, rows: Sequence[int]) -> list[Picture]:
    """Cards of some points: a small picture, the name, the class, and what the map is coloured by."""
    embedding = open_embedding(path)
    values = _values(path, embedding.about["digest"], by, tagged)
    found = []
    for row, image in zip(rows, images_of(embedding, rows), strict=True):
        label = str(embedding.labels[row])
        lines = [str(embedding.ids[row]), *([class_label(label)] if label else []), *_said(by, values[row])]
        failed = isinstance(image, UserError)
        found.append(Picture((*lines, *(["no picture: the file cannot be read"] if failed else [])),
                             None if failed else small(image.pixels)))  # fmt: skip
    return found


@st.cache_data(max_entries=8, show_spinner=False)
def _values(path: str, digest: str, by: str, tagged: float) -> np.ndarray:
    embedding: Embedding = open_embedding(path)
    return fact(embedding, by, tags(embedding))


def _said(by: str, value: Any) -> list[str]:
    if by == CLASS:
        return []
    if isinstance(value, str):
        return [f"{by}: {value or 'none'}"]
    return [f"{by}: {float(value):.4g}" if np.isfinite(value) else f"{by}: unknown"]


def small(pixels: np.ndarray) -> np.ndarray:
    """An image as a square of ``PICTURE_PX`` colours: its middle square, row 0 at the bottom as in the viewer."""
    from PIL import Image

    side = min(pixels.shape[-2:])
    top, left = ((size - side) // 2 for size in pixels.shape[-2:])
    square = pixels[:, top : top + side, left : left + side]
    step = max(1, side // (2 * PICTURE_PX))
    kept = side // step * step
    means = square[:, :kept, :kept].reshape(len(square), kept // step, step, kept // step, step).mean((2, 4))
    shown = means if len(means) in (1, 3) else means.mean(0, keepdims=True)
    colours = Image.fromarray(to_rgb(shown)[::-1])
    return np.asarray(colours.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BILINEAR))
