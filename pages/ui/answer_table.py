"""All images of the analyse page: the table, what of it is shown, export, and marks for inspection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from deeplense_core.answers import EXPORTS, answer_row, export
from deeplense_core.inspection import image_id, mark, marked, undo, unmark
from pages.ui.answer_view import Asked
from pages.ui.answers import Answered, shown_image
from pages.ui.messages import guard
from pages.ui.theme import class_label

STRANGE = "unlike the training images"
ROW_PX = 48


def verdict(one: Answered, classes: Sequence[str]) -> str:
    """The class in words, or that there is none to be trusted."""
    return class_label(classes[one.best]) if one.prediction.familiar else STRANGE


def finding(answers: Sequence[Answered], classes: Sequence[str]) -> str:
    """The batch in one line: "49 images: 20 subhalo (CDM), 3 unlike the training images"."""
    counts = pd.Series([verdict(one, classes) for one in answers]).value_counts()
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{len(answers)} images: {said}"


def filters(answers: Sequence[Answered], classes: Sequence[str]) -> list[Answered]:
    """The answers that the reader wants to see."""
    verdicts = [verdict(one, classes) for one in answers]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.pills("Show", sorted(set(verdicts)), selection_mode="multi", key="analyse_classes",
                          label_visibility="collapsed", width="content")  # fmt: skip
        with st.popover("Score and warnings", icon=":material/filter_list:"):
            low, high = st.slider("Probability of the likeliest class", 0.0, 1.0, (0.0, 1.0), 0.01,
                                  key="analyse_score")  # fmt: skip
            caution = st.segmented_control("Warnings", ["all", "with", "without"], default="all", required=True,
                                           key="analyse_cautions")  # fmt: skip
    return [
        one for one, said in zip(answers, verdicts, strict=True)
        if (not chosen or said in chosen) and low <= one.prediction.probabilities.max() <= high
        and (caution == "all" or bool(one.prediction.warnings) == (caution == "with"))
    ]  # fmt: skip


def answer_table(answers: Sequence[Answered], classes: Sequence[str]) -> None:
    """One row an image, with its thumbnail; a click on a row shows that image above, on the next run."""
    table = pd.DataFrame([
        {"image": one.thumbnail, "name": one.name, "class": verdict(one, classes),
         **dict(zip([f"p_{c}" for c in classes], one.prediction.probabilities, strict=True)),
         "warning": "; ".join(one.prediction.warnings)}
        for one in answers
    ])  # fmt: skip
    shares = {f"p_{c}": st.column_config.ProgressColumn(class_label(c), format="%.3f", min_value=0, max_value=1)
              for c in classes}  # fmt: skip
    st.dataframe(
        table, hide_index=True, on_select="rerun", selection_mode="single-row", key=table_key(answers),
        row_height=ROW_PX, height=min(38 + ROW_PX * len(table) + 2, 420), alt="Answers for each image",
        column_config={"image": st.column_config.ImageColumn("", width=ROW_PX + 8), "name": "File", "class": "Class",
                       "warning": "To keep in mind", **shares},
    )  # fmt: skip


def table_key(answers: Sequence[Answered]) -> str:
    """Other rows make another table, with no row selected."""
    return f"answers_{hash(tuple((one.upload.id, one.name) for one in answers))}"


def selected(answers: Sequence[Answered]) -> int:
    """Place of the row that was clicked last; 0 where none was."""
    state: Any = st.session_state.get(table_key(answers))
    rows = state["selection"]["rows"] if state else []
    return rows[0] if rows and rows[0] < len(answers) else 0


def actions(one: Answered, answers: Sequence[Answered], ask: Asked) -> None:
    """Mark the image on screen, or all in the table, for inspection; take the table home."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"), guard():
        _mark_button(one, ask)
        if len(answers) > 1 and st.button(f"Mark all {len(answers)}", icon=":material/bookmarks:",
                                          key="analyse_mark_all"):  # fmt: skip
            _remember(mark((shown_image(each.upload, ask.reading, ask.network), _row(each, ask))
                           for each in answers))  # fmt: skip
        action = st.session_state.get("analyse_action")
        if action and st.button("Undo", icon=":material/undo:", key="analyse_undo"):
            undo(action)
            del st.session_state["analyse_action"]
            st.rerun()
        with st.popover("Export", icon=":material/download:", key="analyse_export"):
            for ending, (label, media) in EXPORTS.items():
                st.download_button(label, export([_row(each, ask) for each in answers], ending),
                                   f"answers{ending}", media, on_click="ignore",
                                   key=f"analyse_export_{ending[1:]}", width="stretch")  # fmt: skip
        st.caption(f"{len(marked())} marked for inspection", width="content")


def _mark_button(one: Answered, ask: Asked) -> None:
    image = shown_image(one.upload, ask.reading, ask.network)
    on_list = image_id(image) in {entry.id for entry in marked()}
    if st.button("Marked" if on_list else "Mark for inspection", key="analyse_mark",
                 icon=":material/bookmark_added:" if on_list else ":material/bookmark_add:"):  # fmt: skip
        _remember(unmark([image_id(image)]) if on_list else mark([(image, _row(one, ask))]))


def _remember(action: str) -> None:
    st.session_state["analyse_action"] = action
    st.rerun()


def _row(one: Answered, ask: Asked) -> dict[str, Any]:
    image = shown_image(one.upload, ask.reading, ask.network)
    return answer_row(one.name, image, one.prediction, ask.network.classes, ask.model)
