"""Embeddings: images as points, near one another where a network finds them alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.embeddings.facts import fact_names
from deeplense_core.embeddings.making import list_makings, start_map
from deeplense_core.embeddings.project import METHODS, map_file, open_map, place
from deeplense_core.embeddings.similar import index_of
from deeplense_core.embeddings.store import Embedding, list_embeddings
from deeplense_core.embeddings.tags import changed, tags
from pages.ui.embedding_making import first_embedding, makings_panel, method_label, new_embedding
from pages.ui.embedding_points import pictures, points_of
from pages.ui.embedding_query import asked_image
from pages.ui.embedding_views import Asked, chosen_view, neighbours_view
from pages.ui.messages import guard, plain
from pages.ui.scatter import Query, ScatterState, pictures_on_hover, scatter
from pages.ui.state import query, remember, set_query
from pages.ui.theme import page, theme_name

MAP_PX, SIDE_PX = 776, 424
HEIGHT = 440
CAUTION = ("What such a map cannot tell: of UMAP and t-SNE, neither the distances between groups nor their sizes and "
           "densities mean anything, and groups may be drawn where there are none; PCA shows two directions of many. "
           "Neighbours, listed beside it, are found in all dimensions.")  # fmt: skip


def choose_embedding(embeddings: Sequence[Embedding]) -> tuple[Embedding, Asked | None]:
    """A box of embeddings that follows, and writes, ``?embedding=`` in the address; forms for another one, and for an
    image of the reader's own."""
    found = {embedding.name: embedding for embedding in embeddings}
    wanted = query("embedding")
    if wanted in found and st.session_state.get("embeddings_seen") != wanted:
        st.session_state["embeddings_file"] = wanted
    elif st.session_state.get("embeddings_file") not in found:
        st.session_state["embeddings_file"] = next(iter(found))
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    name = row.selectbox("Embedding", found, key="embeddings_file", persist_state="session", width=560,
                         format_func=lambda name: say(found[name]))  # fmt: skip
    with row:
        new_embedding()
        asked = asked_image(found[name])
    set_query(embedding=name)
    st.session_state["embeddings_seen"] = name
    return found[name], asked


def say(embedding: Embedding) -> str:
    what = ", ".join(part.rpartition("/")[2] for part in embedding.about["data"])
    return f"{what} · {len(embedding):,} images by {embedding.about['model']}"


def choose_view(embedding: Embedding) -> tuple[list[str], str, str]:
    """Methods of the one or two maps, what they are coloured by, and the text of an id to find."""
    cells = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    first = cells.segmented_control("Map", list(METHODS), default=drawn_first(embedding), required=True,
                                    key=f"embeddings_map_{embedding.name}", format_func=method_label)  # fmt: skip
    others = ["", *(name for name in METHODS if name != first)]
    beside = cells.selectbox("Beside it", others, key="embeddings_beside", width=132,
                             format_func=lambda name: method_label(name) if name else "nothing")  # fmt: skip
    names = fact_names(embedding, tagged=bool(tags(embedding)))
    if st.session_state.get("embeddings_colour") not in names:
        st.session_state["embeddings_colour"] = "folder" if "folder" in names and names[0] != "class" else names[0]
    by = cells.selectbox("Colour", names, key="embeddings_colour", width=220)
    find = cells.text_input("Find an image", key="embeddings_find", placeholder="its name, or a part of it", width=220)
    return [first, *([beside] if beside else [])], by, find


def drawn_first(embedding: Embedding) -> str:
    """The method of the map shown first: the best that is drawn."""
    return next((name for name in ("umap", "tsne") if map_file(embedding, name).exists()), "pca")


def found_row(embedding: Embedding, wanted: str) -> int | None:
    if not wanted.strip():
        return None
    row = embedding.row(wanted.strip())
    if row is None:
        st.caption(plain(f"No image, or more than one, is called {wanted.strip()!r}."))
    return row


def draw(embedding: Embedding, method: str, by: str, asked: Asked | None, locate: int | None) -> ScatterState:
    """One map, or word that it is being drawn."""
    kept = map_file(embedding, method)
    if not kept.exists():
        return not_drawn(embedding, method)
    points = points_of(str(embedding.path), embedding.about["digest"], str(kept), by, theme_name(), changed(embedding))
    queries = []
    if asked and asked.row is None:
        x, y = place(open_map(kept), index_of(embedding, "l2"), asked.vector)[0]
        queries = [Query(float(x), float(y), asked.name)]
    target: dict[str, Any] | None = None if locate is None else {"row": locate, "serial": locate + 1}
    return scatter(points, key=f"embeddings_{method}", group=embedding.about["digest"], height=HEIGHT, locate=target,
                   title=f"{method_label(method)} map of {say(embedding)}", queries=queries)  # fmt: skip


def not_drawn(embedding: Embedding, method: str) -> ScatterState:
    """A button that draws a map, where it is not under way."""
    under_way = any(one.running and one.out == embedding.path and one.method == method for one in list_makings())
    with st.container(border=True, height=HEIGHT, horizontal_alignment="center", vertical_alignment="center"):
        if under_way:
            st.write(f"The {method_label(method)} map is being drawn.")
        elif st.button(f"Draw the {method_label(method)} map", type="primary", key=f"embeddings_draw_{method}"):
            with guard():
                start_map(embedding, method)
            st.rerun()
    return ScatterState()


def newest(states: list[ScatterState]) -> ScatterState:
    """What the reader said last, on whichever map."""
    last = remember("embeddings_serials", {})
    moved = [i for i, state in enumerate(states) if state.serial != last.get(i, 0)]
    now = moved[-1] if moved else last.get("now", 0)
    st.session_state["embeddings_serials"] = {i: state.serial for i, state in enumerate(states)} | {"now": now}
    return states[now] if now < len(states) else states[0]


def side(embedding: Embedding, state: ScatterState, asked: Asked | None) -> None:
    """The chosen images, or the neighbours: of the reader's own image, else of a point that was clicked after them."""
    if state.picked is not None and asked is None:
        vector = np.asarray(embedding.vectors[state.picked])
        asked = Asked(str(embedding.ids[state.picked]), vector, state.picked)
    views = {"Chosen": len(state.chosen) > 0, "Neighbours": asked is not None}
    shown = [name for name, there in views.items() if there]
    if not shown:
        st.info("Draw a lasso round points to see their images (Shift and drag), or click a point for those most like "
                "it.", icon=":material/gesture:")  # fmt: skip
        return
    view = shown[0]
    if len(shown) > 1:
        view = st.segmented_control("Show", shown, default=shown[-1], required=True, label_visibility="collapsed",
                                    key=f"embeddings_side_{state.serial}")  # fmt: skip
    if view == "Chosen":
        chosen_view(embedding, state.chosen)
    elif asked:
        neighbours_view(embedding, asked)


def main() -> None:
    page("Embeddings")
    makings_panel()
    embeddings = list_embeddings()
    if not embeddings:
        if not list_makings():
            first_embedding()
        return
    embedding, asked = choose_embedding(embeddings)
    methods, by, wanted = choose_view(embedding)
    locate = found_row(embedding, wanted)
    places = st.container(horizontal=True, gap="medium")
    width = MAP_PX if len(methods) == 1 else (MAP_PX + SIDE_PX) // 2
    cells = [places.container(width=width) for _ in methods]
    panel = places.container(width="stretch")
    states = []
    for cell, method in zip(cells, methods, strict=True):
        with cell, guard():
            states.append(draw(embedding, method, by, asked, locate))
    pictures_on_hover(embedding.about["digest"], "embeddings_pictures",
                      lambda rows: pictures(str(embedding.path), by, changed(embedding), rows))  # fmt: skip
    with cells[0]:
        st.caption(CAUTION)
    state = newest(states)
    with panel, guard():
        side(embedding, state, asked)


with guard():
    main()
