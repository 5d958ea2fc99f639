"""Images from a reader's disk or from the simulator, asked about and shown."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.images import read_image
from deeplense_core.workspace import safe_name

SAMPLE_SEED = 7


@dataclass(frozen=True)
class Answers:
    """One row an image that could be read, its pixels in the same order, and the others with the reason."""

    rows: list[dict[str, Any]]
    images: list[np.ndarray]
    failed: list[tuple[str, str]]


def ask(files: Sequence[tuple[str, bytes]], model: str, scale: float | None) -> Answers:
    """What a model says of files, each as (name, bytes); a bad file does not stop the others."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for _, data in files)).hexdigest()
    bar = st.empty()

    def progress(done: int, total: int | None) -> None:
        if total and total > 1:
            bar.progress(done / total, text=f"{done} of {total} images")

    answers = _ask(tuple(name for name, _ in files), digest, model, _made(model), scale, files, progress)
    bar.empty()
    return answers


@st.cache_data(max_entries=8, show_spinner="Asking the network …")
def _ask(
    names: tuple[str, ...], digest: str, model: str, made: float, scale: float | None,
    _files: Sequence[tuple[str, bytes]], _progress: Callable[[int, int | None], None],
) -> Answers:  # fmt: skip
    """Cached by name and content of the files, and by when the model was made."""
    from deeplense_core.predict import predict_files

    with tempfile.TemporaryDirectory(prefix="deeplense-") as folder:
        paths = []
        for number, (name, data) in enumerate(_files):
            # A folder for each, so that equal names do not meet; the name itself is only text.
            path = Path(folder, str(number), safe_name(name, "image"))
            path.parent.mkdir()
            path.write_bytes(data)
            paths.append(path)
        rows, failed = predict_files(_trained(model, made), paths, scale, _progress)
        reasons = dict(failed)
        good = [path for path in paths if path not in reasons]
        images = [read_image(path).pixels for path in good]
    for row, path in zip(rows, good, strict=True):
        row["name"] = names[int(path.parent.name)]
    return Answers(rows, images, [(names[int(path.parent.name)], reasons[path]) for path in reasons])


@st.cache_resource(max_entries=3, show_spinner="Loading the network …")
def _trained(model: str, made: float) -> Any:
    from deeplense_core.trained import load_model

    return load_model(model)


def _made(model: str) -> float:
    """When the model's weights were written."""
    return (card_of(model).folder / "model.json").stat().st_mtime


def card_of(model: str) -> Any:
    """The model without its weights: classes, shape, pixel scale."""
    from deeplense_core.trained import load_model

    return load_model(model)


def model_options() -> dict[str, str]:
    """Names of all networks that can answer -> what to call them; the shipped ones first."""
    from deeplense_core.cards import shipped_models
    from pages.ui.picker import run_label, runs_with_weights

    shipped = {name: f"{name} · comes with DeepLense" for name in shipped_models()}
    return shipped | {row.id: run_label(row) for row in runs_with_weights()}


@st.cache_data(max_entries=4, show_spinner="Simulating samples …")
def samples(recipe: str) -> dict[str, bytes]:
    """One image of each class of a recipe, as NPY files by class."""
    import torch

    from deeplense_core.sim import recipe_info, simulate

    classes = recipe_info(recipe)["classes"]
    batch = simulate(recipe, len(classes), seed=SAMPLE_SEED, labels=torch.arange(len(classes)))
    return {name: _npy(image) for name, image in zip(classes, batch.images.numpy(), strict=True)}


def _npy(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, image)
    return file.getvalue()


def sample_recipe(card: Mapping[str, Any]) -> str:
    """The recipe a model learnt from, else the one of the Common Test."""
    from deeplense_core.sim import RECIPES

    name = str(card["data"]).removeprefix("sim:")
    return name if name in RECIPES else "common-test"
