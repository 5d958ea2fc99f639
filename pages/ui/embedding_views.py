"""What the embeddings page shows beside its map: the chosen images with what can be done with them, and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.answers import EXPORTS, export
from deeplense_core.embeddings.ask import neighbours
from deeplense_core.embeddings.facts import catalog_rows
from deeplense_core.embeddings.pictures import images_of
from deeplense_core.embeddings.similar import METRICS
from deeplense_core.embeddings.store import Embedding, open_embedding
from deeplense_core.embeddings.tags import LONGEST, tag, tags, undo
from deeplense_core.errors import UserError
from deeplense_core.inspection import mark
from deeplense_core.inspection import undo as unmark
from pages.ui.gallery import page_of, thumbnails
from pages.ui.messages import guard, plain
from pages.ui.theme import class_label

SHOWN = 12
MOST_MARKED = 500
METRIC_LABELS = {"cosine": "cosine", "l2": "L2"}


@dataclass(frozen=True)
class Asked:
    """An image whose neighbours are wanted."""

    name: str
    vector: np.ndarray
    row: int | None
    """Of the embedding; None: a new image."""


def chosen_view(embedding: Embedding, rows: np.ndarray) -> None:
    """The images inside the lasso, a page at a time, and what can be done with all of them."""
    said = tags(embedding)
    st.subheader(plain(_finding(embedding, rows)), anchor=False)
    _actions(embedding, rows, said)
    part = rows[page_of(len(rows), SHOWN, "embeddings_page")]
    gallery(embedding, part, [_caption(embedding, row, said.get(str(embedding.ids[row]), "")) for row in part])


def _finding(embedding: Embedding, rows: np.ndarray) -> str:
    names, counts = np.unique(embedding.labels[rows], return_counts=True)
    parts = [f"{count:,} {class_label(str(name)) if name else 'unlabelled'}" for name, count in
             sorted(zip(names, counts, strict=True), key=lambda one: -one[1])[:3]]  # fmt: skip
    images = "1 image" if len(rows) == 1 else f"{len(rows):,} images"
    return f"{images} chosen" + (f": {', '.join(parts)}" if (embedding.labels[rows] != "").any() else "")


def _caption(embedding: Embedding, row: int, word: str) -> str:
    label = str(embedding.labels[row])
    return "\n".join(filter(None, [str(embedding.ids[row]), class_label(label) if label else "", word and f"🏷 {word}"]))


def _actions(embedding: Embedding, rows: np.ndarray, said: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"), guard():
        with st.popover("Tag", icon=":material/label:", key="embeddings_tag"), \
                st.form("embeddings_tag_form", border=False):
            word = st.text_input("Tag", max_chars=LONGEST, key="embeddings_tag_word", help="Empty takes tags off")
            if st.form_submit_button("Tag them", type="primary", key="embeddings_tag_do"):
                st.session_state["embeddings_action"] = ("tag", tag(embedding, rows.tolist(), word))
                st.rerun()
        if st.button("Mark for inspection", icon=":material/bookmark_add:", key="embeddings_mark"):
            st.session_state["embeddings_action"] = ("mark", _mark(embedding, rows, said))
            st.rerun()
        with st.popover("Export", icon=":material/download:", key="embeddings_export"):
            for ending, (label, media) in EXPORTS.items():
                st.download_button(
                    label, lambda ending=ending: export(catalog_rows(embedding, rows.tolist(), said), ending),
                    f"chosen{ending}", media, on_click="ignore", key=f"embeddings_export_{ending[1:]}", width="stretch",
                )  # fmt: skip
        action = st.session_state.get("embeddings_action")
        if action and st.button("Undo", icon=":material/undo:", key="embeddings_undo"):
            kind, name = action
            undo(embedding, name) if kind == "tag" else unmark(name)
            del st.session_state["embeddings_action"]
            st.rerun()


def _mark(embedding: Embedding, rows: np.ndarray, said: dict[str, str]) -> str:
    """Marks images for inspection.

    Raises:
        UserError: too many of them, or none that can be read.
    """
    if len(rows) > MOST_MARKED:
        raise UserError(f"{len(rows):,} images are too many to be marked at once, the most is {MOST_MARKED}. Choose "
                        "fewer.")  # fmt: skip
    wanted = rows.tolist()
    found = zip(images_of(embedding, wanted), catalog_rows(embedding, wanted, said), strict=True)
    good = [(image, row) for image, row in found if not isinstance(image, UserError)]
    if not good:
        raise UserError("None of these images can be read any more. Embed the folder again.")
    return mark(good)


def neighbours_view(embedding: Embedding, asked: Asked) -> None:
    """The images nearest to one in the space of the network's features."""
    st.subheader(plain(f"Most like {asked.name}"), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        metric = st.segmented_control("Distance", METRICS, default="cosine", required=True, key="embeddings_metric",
                                      format_func=METRIC_LABELS.get, label_visibility="collapsed")  # fmt: skip
        st.caption(f"in {embedding.about['size']} dimensions, not on the map", width="content")
    rows, away = neighbours(embedding, asked.vector, SHOWN, metric, asked.row)
    gallery(embedding, rows, [f"{_caption(embedding, row, '')}\n{METRIC_LABELS[metric]} distance {d:.4f}"
                              for row, d in zip(rows, away, strict=True)])  # fmt: skip


def gallery(embedding: Embedding, rows: Sequence[int] | np.ndarray, captions: Sequence[str]) -> None:
    """Thumbnails of some rows; in place of images that cannot be read, why."""
    with guard():
        found = _pixels(str(embedding.path), embedding.about["digest"], tuple(int(row) for row in rows))
    good = [place for place, one in enumerate(found) if not isinstance(one, str)]
    if good:
        images: Any = [found[place] for place in good]
        thumbnails(images, [captions[place] for place in good])
    for one in found:
        if isinstance(one, str):
            st.caption(plain(one))


@st.cache_data(max_entries=64, show_spinner=False)
def _pixels(path: str, digest: str, rows: tuple[int, ...]) -> list[np.ndarray | str]:
    """Pixels of some images with the highest row first, as pictures are shown; or why they cannot be read."""
    return [str(one) if isinstance(one, UserError) else one.pixels[:, ::-1]
            for one in images_of(open_embedding(path), rows)]
