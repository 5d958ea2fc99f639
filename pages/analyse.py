"""Analyse: ask a trained network about images of one's own."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from deeplense_core.display import STRETCHES, to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.plots.answer import probability_figure
from deeplense_core.report import to_csv
from pages.ui.answers import Answers, ask, card_of, model_options, sample_recipe, samples
from pages.ui.gallery import LOSSLESS, plate, state_stretch
from pages.ui.messages import empty_state, guard, plain, show_error
from pages.ui.state import query, remember
from pages.ui.theme import class_label, page, theme_name

ENDINGS = ["npy", "npz", "fits", "fit", "fts", "gz", "png", "jpg", "jpeg", "tif", "tiff", "h5", "hdf5"]
SHOWN_PIXELS = 600


def choose_model() -> str:
    options = model_options()
    if not options:
        empty_state("No trained network yet. Train a first one: two epochs take a minute or two.", "Train", "train")
        st.stop()
    if query("run") in options and "analyse_model" not in st.session_state:
        st.session_state["analyse_model"] = query("run")
    if st.session_state.get("analyse_model") not in options:
        st.session_state.pop("analyse_model", None)
    return st.selectbox("Network", options, format_func=options.get, key="analyse_model", persist_state="session")


def choose_files(recipe: str) -> list[tuple[str, bytes]]:
    """What was dropped; when nothing was, the sample that was picked."""
    drop_cell, sample_cell = st.columns([3, 2], gap="medium")
    with drop_cell:
        uploads = st.file_uploader("Images: NPY, NPZ, FITS, PNG, JPEG, TIFF or HDF5, any number", ENDINGS,
                                   accept_multiple_files=True, key="analyse_upload")  # fmt: skip
    with sample_cell, guard():
        made = samples(recipe)
        remember("analyse_samples", list(made))
        names = st.pills("or simulated samples", list(made), selection_mode="multi", format_func=class_label,
                         key="analyse_samples", wrap=True, disabled=bool(uploads), persist_state="session")  # fmt: skip
    if uploads:
        return [(file.name, file.getvalue()) for file in uploads]
    if handed := st.session_state.get("handed_over"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.write("The lens from the simulator")
            if not st.button("Back to the samples", key="analyse_samples_again"):
                return [handed]
        del st.session_state["handed_over"]
        st.rerun()
    return [(f"sample {name}.npy", made[name]) for name in names]


def answer_table(answers: Answers, classes: tuple[str, ...]) -> int:
    """The rows of all images; the place of the one to show."""
    table = pd.DataFrame(answers.rows)
    st.subheader(_finding(answers), anchor=False)
    shares = {
        f"p_{name}": st.column_config.ProgressColumn(class_label(name), format="%.3f", min_value=0, max_value=1)
        for name in classes
    }
    shown = table.drop(columns=["score", *(c for c in ("ra", "dec") if table[c].isna().all())])
    shown["class"] = [class_label(name) for name in shown["class"]]
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="single-row", alt="Probabilities of each image",
        key=f"answers_{hash(tuple(table['name']))}", height=min(38 + 35 * len(shown) + 2, 300),
        column_config={"name": "File", "class": "Class", "warning": "To keep in mind", **shares},
    )  # fmt: skip
    st.download_button("Table (CSV)", to_csv(table), "answers.csv", "text/csv", icon=":material/download:",
                       on_click="ignore")  # fmt: skip
    picked = event["selection"]["rows"]
    return picked[0] if picked else 0


def _finding(answers: Answers) -> str:
    counts = pd.Series([row["class"] for row in answers.rows]).value_counts()
    said = ", ".join(f"{count} {class_label(str(name))}" for name, count in counts.items())
    word = "image" if len(answers.rows) == 1 else "images"
    return f"{len(answers.rows)} {word}: {said}"


def one_image(answers: Answers, place: int, classes: tuple[str, ...]) -> None:
    """The image on the plate, and beside it what the network says."""
    row, image = answers.rows[place], answers.images[place]
    picture_cell, answer_cell = st.columns(2, gap="medium")
    with picture_cell:
        kind = st.segmented_control("Stretch", STRETCHES, default="asinh", required=True, key="analyse_stretch")
        zoom = max(1, math.ceil(SHOWN_PIXELS / max(image.shape[-2:])))
        colours = to_rgb(image, kind).repeat(zoom, 0).repeat(zoom, 1)
        alt = f"{row['name']}: {class_label(row['class'])}, probability {row['score']:.2f}"
        st.image(to_png(plate(colours, 8)), alt=alt, width="stretch", caption=plain(row["name"]),
                 output_format=LOSSLESS)  # fmt: skip
        state_stretch(kind, 99.5)
    with answer_cell:
        figure = probability_figure([row[f"p_{name}"] for name in classes], classes, theme=theme_name())
        st.plotly_chart(figure, theme=None, key="analyse_answer", alt=alt)
        for warning in filter(None, row["warning"].split("; ")):
            st.warning(plain(warning[:1].upper() + warning[1:]), icon=":material/warning:")


page("Analyse", "Ask a trained network which kind of substructure a lens has. Nothing leaves this machine.")
model_cell, scale_cell = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
with model_cell, guard():
    name = choose_model()
    trained = card_of(name)
scale = scale_cell.number_input(
    "Pixel scale, where a file does not say (arcsec)", 0.001, 10.0, None, 0.01, format="%.3f", key="analyse_scale",
    placeholder="unknown", persist_state="session",
    help=f"The network was trained at {trained.pixel_scale_arcsec or 'an unknown number of'} arcsec per pixel",
)  # fmt: skip
files = choose_files(sample_recipe(trained.card))
if not files:
    st.info("Drop images above, or pick a sample to see an answer at once.", icon=":material/upload_file:")
    st.stop()
with guard():
    answers = ask(files, name, scale)
for _, reason in answers.failed:
    show_error(UserError(reason))
if answers.rows:
    one_image(answers, answer_table(answers, trained.classes), trained.classes)
