"""The data sets of the workspace: a table, and one of them with its pictures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from deeplense_core.data import SPLITS, Dataset, list_datasets, open_dataset
from deeplense_core.plots import class_bars
from deeplense_core.trash import delete_dataset
from deeplense_core.workspace import datasets_dir
from pages.ui.gallery import open_large, thumbnails
from pages.ui.messages import guard, plain
from pages.ui.state import query, remember, set_query
from pages.ui.theme import class_label, theme_name
from pages.ui.trash import throw_away

SHOWN = 12
SEVERITY = {"ok": ":material/check_circle:", "note": ":material/info:", "warning": ":material/warning:"}


def datasets_view() -> None:
    """Chooses a data set, newest first or as the address says, and shows it."""
    datasets = {dataset.path.name: dataset for dataset in list_datasets()}
    wanted = query("data")
    if wanted and wanted not in datasets:
        with guard():
            open_dataset(datasets_dir() / wanted)
    if wanted:
        st.session_state["data_chosen"] = wanted
    elif st.session_state.get("data_chosen") not in datasets:
        st.session_state["data_chosen"] = next(iter(datasets))
    cells = st.columns([3.4, 2, 2, 2, 2], vertical_alignment="bottom")
    chosen = cells[0].selectbox(
        "Data set", list(datasets), key="data_chosen", persist_state="session",
        format_func=lambda name: f"{name}, {len(datasets[name]):,} images",
        on_change=lambda: set_query(data=st.session_state["data_chosen"]),
    )  # fmt: skip
    with guard():
        rows = _choose_rows(datasets[chosen], *cells[1:4])
        _delete_button(chosen, cells[4])
        _show(datasets[chosen], rows)


def _delete_button(name: str, cell) -> None:
    if cell.button("Delete", icon=":material/delete:", key="data_delete", width="stretch"):
        throw_away([name], delete_dataset)
        st.session_state.pop("data_chosen")
        set_query(data=None)
        st.rerun()


def _show(dataset: Dataset, rows: np.ndarray) -> None:
    _pictures(dataset, rows)
    bars, facts = st.columns([3, 2], gap="large")
    counts = dataset.manifest["counts"]
    by_split = {split: {name: by.get(split, 0) for name, by in counts.items()} for split in SPLITS}
    figure = class_bars(by_split, theme=theme_name())
    bars.plotly_chart(figure, theme=None, config={"displayModeBar": False}, alt="Images of each class and split")
    with facts:
        _facts(dataset)
    _report(dataset.manifest["report"])


def _choose_rows(dataset: Dataset, split_cell, class_cell, page_cell) -> np.ndarray:
    """Rows of the images on the page of the split and class that were chosen."""
    key = f"data_{dataset.path.name}"
    split = split_cell.selectbox("Split", ["all", *SPLITS], key=f"{key}_split")
    label = class_cell.selectbox("Class", ["all", *dataset.classes], key=f"{key}_class", format_func=class_label)
    rows = dataset.rows(split)
    if label != "all":
        rows = rows[dataset.labels[rows] == dataset.classes.index(label)]
    pages = max(1, -(-len(rows) // SHOWN))
    remember(f"{key}_page", 1)
    st.session_state[f"{key}_page"] = min(st.session_state[f"{key}_page"], pages)
    number = page_cell.number_input(f"Page of {pages:,}", 1, pages, key=f"{key}_page")
    return rows[(number - 1) * SHOWN : number * SHOWN]


def _pictures(dataset: Dataset, rows: np.ndarray) -> None:
    if not len(rows):
        st.write("No image of this class in this split.")
        return
    table = dataset.catalog.iloc[rows]
    words = [class_label(label) if label else "unlabelled" for label in table["label"]]
    captions = [f"{name}\n{word}" for name, word in zip(table["id"], words, strict=True)]
    images, names = dataset.images[rows], [str(name) for name in table["id"]]
    if dataset.targets is None:
        thumbnails(images, captions, alts=[f"Image {name}" for name in names])
    else:
        st.caption(f"LR: {_frame(dataset.shape, dataset.pixel_scale_arcsec)}")
        thumbnails(images, captions, alts=[f"LR image {name}" for name in names])
        st.caption(f"HR: {_frame(dataset.targets.shape[1:], dataset.target_pixel_scale_arcsec)}, of the same sky")
        thumbnails(dataset.targets[rows], names, alts=[f"HR image {name}" for name in names])
    units = dataset.manifest.get("units") or ""
    unit = "" if "," in units else units  # a description stands in the facts, not behind each value
    open_large(images, names, f"data_{dataset.path.name}", dataset.pixel_scale_arcsec, dataset.bands, unit)


def _frame(shape: tuple[int, ...], scale: float | None) -> str:
    """Pixels of an image and their side, in words."""
    side = f"{scale:g} arcsec each" if scale else "of unknown size"
    return f"{' × '.join(map(str, shape))} pixels {side}"


def _facts(dataset: Dataset) -> None:
    manifest, source = dataset.manifest, dataset.manifest["source"]
    scale = f"{dataset.pixel_scale_arcsec:g} arcsec" if dataset.pixel_scale_arcsec else "unknown"
    facts = {
        "Pixels": " × ".join(map(str, dataset.shape)),
        "Pixel side": scale,
        **({"HR": _frame(dataset.target_shape, dataset.target_pixel_scale_arcsec)} if dataset.target_shape else {}),
        "Bands": ", ".join(dataset.bands) or "unknown",
        "Values": manifest.get("units") or "unknown",
        "Made from": source.get("recipe") or source.get("path") or "unknown",
        "Seed": str(manifest.get("seed", "none")),
        "Made": manifest["created"][:16].replace("T", " ") + " UTC",
        "Fingerprint": dataset.fingerprint[:16],
    }
    st.table(pd.Series(facts, name="").map(plain), border="horizontal")


def _report(report: dict) -> None:
    """What was skipped at ingest, and what the audit for leakage found."""
    for note in report.get("notes", []):
        st.caption(plain(note))
    if report.get("skipped"):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in report["skipped"].items())
        with st.expander(plain(f"Skipped files: {reasons}")):
            st.dataframe(pd.DataFrame(report.get("skipped_files", [])), hide_index=True)
    if report.get("audit"):
        st.subheader("Audit", anchor=False)
        for name, finding in report["audit"].items():
            st.markdown(f"{SEVERITY[finding['severity']]} **{name.replace('_', ' ')}**: {plain(finding['text'])}")
