"""Any number of cutouts scored in the background, and their catalogue: sorted, filtered, with pictures, exported."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from deeplense_core.answers import EXPORTS, export
from deeplense_core.bulk import jobs
from deeplense_core.bulk.jobs import Scored
from deeplense_core.bulk.table import ALL, WITH, WITHOUT, Wanted, answer_of, images_behind, read_table, rows_at, rows_of
from deeplense_core.data import list_datasets
from deeplense_core.display import to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.inspection import mark, undo
from pages.ui.gallery import page_of, state_stretch
from pages.ui.messages import guard, plain, show_error
from pages.ui.state import remember
from pages.ui.theme import class_label

PAGE_ROWS = 24
TICK_S = 2.0
ROW_PX = 56
THUMBNAIL_PX = 64
PATH = "a folder or file …"
ORDER = {"score": "Score", "name": "Name"}


def score_form(options: dict[str, str]) -> None:
    """Which network, which images; starts a job that outlives the page."""
    stored = {str(ds.path): f"{ds.name} · {len(ds):,} images" for ds in list_datasets()}
    cells = st.columns([4, 4, 4, 3], gap="medium", vertical_alignment="bottom")
    network_cell, source_cell, scale_cell, start_cell = cells
    model = network_cell.selectbox("Network", options, format_func=options.get, key="score_model",
                                   persist_state="session")  # fmt: skip
    source = source_cell.selectbox("Images", [PATH, *stored], format_func=lambda value: stored.get(value, value),
                                   key="score_source")  # fmt: skip
    scale = scale_cell.number_input("Pixel scale (arcsec)", 0.001, 10.0, None, 0.01, format="%.3f", key="score_scale",
                                    placeholder="unknown", help="Where files do not say it")  # fmt: skip
    if source == PATH:
        source = st.text_input(
            "Folder of files, HDF5 or NPY file (n, bands, height, width), or data set", key="score_path",
            placeholder="/data/survey/cutouts",
        )  # fmt: skip
    if start_cell.button("Score", type="primary", icon=":material/play_arrow:", key="score_start", width="stretch"):
        with guard():
            st.session_state["score_chosen"] = jobs.start(model, source, scale)
        st.rerun()


def scored_view() -> None:
    """The scorings of this workspace, one of them on screen."""
    found = {one.id: one for one in jobs.list_scored()}
    if not found:
        st.info("Nothing scored yet. Choose images above: a folder of files, or a set of any size in one array.",
                icon=":material/photo_library:")  # fmt: skip
        return
    if st.session_state.get("score_chosen") not in found:
        st.session_state["score_chosen"] = next(iter(found))
    chosen = st.selectbox("Scored", found, format_func=lambda name: _title(found[name]), key="score_chosen",
                          persist_state="session")  # fmt: skip
    one = found[chosen]
    if one.state == "running":
        st.fragment(_wait, run_every=TICK_S)(one.id)
    elif one.state == "stopped":
        _stopped(one)
    else:
        with guard():
            catalogue(one, time.strftime("%Y-%m-%d %H:%M", time.localtime(one.started)))


def _title(one: Scored) -> str:
    size = "" if one.total is None else f", {one.total:,}"
    return f"{one.source.name}{size} · by {one.model} · {one.state}"


def _wait(name: str) -> None:
    one = jobs.find_scored(name)
    if one is None or one.state != "running":
        st.rerun()
    assert one is not None
    share = one.done / one.total if one.total else 0.0
    of = f" of {one.total:,}" if one.total else ""
    st.progress(min(share, 1.0), text=f"About {one.done:,}{of} images scored. This goes on when the page is closed.")
    if st.button("Stop", icon=":material/stop:", key="score_stop", help="What is found is kept; it can go on later"):
        jobs.cancel(one)
        st.rerun()


def _stopped(one: Scored) -> None:
    if one.error and not one.error.startswith("predicting:"):
        show_error(UserError(one.error))
    else:
        st.info(f"Stopped after about {one.done:,} images.", icon=":material/pause_circle:")
    with st.container(horizontal=True):
        if st.button("Go on", type="primary", icon=":material/play_arrow:", key="score_resume"):
            with guard():
                jobs.resume(one)
            st.rerun()
        _forget_button(one)


def _forget_button(one: Scored) -> None:
    if st.button("Remove", icon=":material/delete:", key="score_forget", help="The table; the images stay"):
        jobs.forget(one)
        st.rerun()


def catalogue(one: Scored, when: str) -> None:
    """The table, a page at a time: only its rows have pictures."""
    table = _table(str(one.table), one.table.stat().st_mtime)
    classes = sorted(set(table["class"].unique().to_pylist()))
    rows = rows_of(table, _wanted(classes))
    failed = f"; {_line_count(one.failed):,} could not be used" if one.failed.exists() else ""
    st.subheader(f"{len(rows):,} of {len(table):,} images{failed}", anchor=False)
    if not len(rows):
        st.info("No image fits this filter.", icon=":material/filter_list:")
        return
    lines = rows_at(table, rows[page_of(len(rows), PAGE_ROWS, "score_page")])
    names = tuple(line["name"] for line in lines)
    pictures = _pictures(str(one.source), names)
    frame = pd.DataFrame(lines).drop(columns=[c for c in ("ra", "dec") if table[c].null_count == len(table)])
    frame.insert(0, "image", pictures)
    frame["class"] = frame["class"].map(class_label)
    event: Any = st.dataframe(
        frame, hide_index=True, row_height=ROW_PX, height=min(38 + ROW_PX * len(frame) + 2, 640),
        on_select="rerun", selection_mode="multi-row", key=f"score_rows_{one.id}_{hash(names)}",
        column_config=_columns(frame), column_order=_order(frame),
        alt=f"{len(frame)} of {len(rows):,} images with scores",
    )  # fmt: skip
    state_stretch("asinh", 99.5)
    _actions(one, table, rows, [lines[place] for place in event["selection"]["rows"]])
    st.caption(f"By {plain(one.model)}, {when}; from {plain(one.source)}. Scores are calibrated probabilities; they "
               "mean nothing where a warning says that an image is unlike the training images.")  # fmt: skip


def _wanted(classes: list[str]) -> Wanted:
    """What the reader wants to see."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        text = st.text_input("Name", key="score_text", placeholder="part of a name", width=200)
        remember("score_range", (0.0, 1.0))
        low, high = st.slider("Score", 0.0, 1.0, step=0.01, key="score_range", width=280)
        warned = st.segmented_control("Warnings", [ALL, WITH, WITHOUT], default=ALL, required=True, key="score_warned")
        by = st.segmented_control("Order", ORDER, default="score", required=True, format_func=ORDER.get, key="score_by")
        falling = st.toggle("Highest first", True, key="score_falling")
        kept = st.pills("Class", classes, selection_mode="multi", format_func=class_label, key="score_classes")
    return Wanted(text, tuple(kept), low, high, warned, by, falling)


def _order(frame: pd.DataFrame) -> list[str]:
    """What one reads first comes first; of two classes the score says it all."""
    shares = [name for name in frame if name.startswith("p_")]
    order = ["image", "name", "score", "class", *(shares if len(shares) > 2 else ()), "ra", "dec", "warning"]
    return [name for name in order if name in frame]


def _columns(frame: pd.DataFrame) -> dict[str, Any]:
    shares = {name: st.column_config.ProgressColumn(f"p({class_label(name[2:])})", format="%.3f", min_value=0,
                                                    max_value=1)
              for name in frame if name.startswith("p_")}  # fmt: skip
    return {
        "image": st.column_config.ImageColumn("", width=ROW_PX + 8), "name": st.column_config.TextColumn("Name"),
        "class": "Class", "score": st.column_config.ProgressColumn("Score", format="%.4f", min_value=0, max_value=1),
        "warning": st.column_config.TextColumn("To keep in mind", width="large"),
        "ra": st.column_config.NumberColumn("RA (deg)", format="%.5f", width=100),
        "dec": st.column_config.NumberColumn("Dec (deg)", format="%.5f", width=100), **shares,
    }  # fmt: skip


def _actions(one: Scored, table: pa.Table, rows: np.ndarray, ticked: list[dict[str, Any]]) -> None:
    """Mark what is ticked for inspection; take home what the filter shows."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"), guard():
        label = f"Mark {len(ticked)} for inspection" if ticked else "Mark for inspection"
        if st.button(label, icon=":material/bookmark_add:", key="score_mark", disabled=not ticked,
                     help="Tick rows first"):  # fmt: skip
            images = images_behind(one.source, [row["name"] for row in ticked])
            pairs = [(image, answer_of(row)) for image, row in zip(images, ticked, strict=True) if image is not None]
            if not pairs:
                raise UserError("None of these images can be read any more. Were the files moved?")
            st.session_state["score_action"] = mark(pairs)
            st.toast(f"{len(pairs)} marked for inspection", icon=":material/bookmark_added:")
        action = st.session_state.get("score_action")
        if action and st.button("Undo", icon=":material/undo:", key="score_undo"):
            undo(action)
            del st.session_state["score_action"]
            st.rerun()
        with st.popover(f"Export {len(rows):,}", icon=":material/download:", key="score_export"):
            for ending, (name, media) in EXPORTS.items():
                st.download_button(name, lambda ending=ending: export(rows_at(table, rows), ending),
                                   f"scores{ending}", media, on_click="ignore", key=f"score_export_{ending[1:]}",
                                   width="stretch")  # fmt: skip
        _forget_button(one)


@st.cache_resource(max_entries=4, show_spinner="Reading the table …")
def _table(path: str, changed: float) -> pa.Table:
    """Arrow tables cannot be changed, so all sessions share one."""
    return read_table([Path(path)])


@st.cache_data(max_entries=200, show_spinner="Fetching the images …")
def _pictures(source: str, names: tuple[str, ...]) -> list[str | None]:
    """Thumbnails of a page of rows, as addresses of pictures."""
    return [None if image is None else _thumbnail(image.pixels) for image in images_behind(Path(source), names)]


def _thumbnail(pixels: np.ndarray) -> str:
    step = max(1, max(pixels.shape[-2:]) // THUMBNAIL_PX)
    return "data:image/png;base64," + base64.b64encode(to_png(to_rgb(pixels[:, ::step, ::step]))).decode()


def _line_count(path: Path) -> int:
    with open(path, "rb") as file:
        return max(0, sum(1 for _ in file) - 1)
