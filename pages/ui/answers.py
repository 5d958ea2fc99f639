"""Images from a reader's disk or from the simulator: received, read as the reader says, and asked about.

Pages hold uploads (a hash and a name) and readings, never pixels; what a network said is cached by those.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np
import streamlit as st

from deeplense_core.bands import BandPlan, band_names, fit_bands, plan_bands
from deeplense_core.display import to_png, to_rgb
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.image_checks import BadImageError
from deeplense_core.reading.uploads import Upload, read, receive
from deeplense_core.shelf.cards import find_card

SAMPLE_SEED = 7
THUMBNAIL_PX = 64


@dataclass(frozen=True)
class Reading:
    """How the reader wants files to be read; the same for all of them."""

    hdu: str | int | None = None
    plane: int | None = None
    key: str | None = None
    bands: tuple[int, ...] | None = None
    """Which bands the network gets, from 0; None: all, or their mean for a network of one band."""
    pixel_scale_arcsec: float | None = None
    """Where a file does not say."""


@dataclass(frozen=True)
class Answered:
    """One file, what it holds, and what the network said of it, or why it said nothing."""

    upload: Upload
    refusal: str = ""
    prediction: Any = None
    """A :class:`deeplense_core.trained.Prediction`."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """``hdus``, ``keys``, ``planes``, ``bands`` to choose from."""
    thumbnail: str = ""
    """As the address of a picture: ``data:image/png;base64,...``."""

    @property
    def name(self) -> str:
        return self.upload.name

    @property
    def best(self) -> int:
        """Place of the likeliest class."""
        return int(self.prediction.probabilities.argmax())

    @property
    def cautions(self) -> tuple[str, ...]:
        """All warnings but the one that says the image is of another kind."""
        return self.prediction.warnings if self.prediction.familiar else self.prediction.warnings[:-1]

    @property
    def strange(self) -> str:
        """How the image differs from the training images; empty where it does not."""
        return "" if self.prediction.familiar else self.prediction.warnings[-1].partition(": ")[2]


def take_in(files: Iterable[tuple[str, str, BinaryIO | bytes]]) -> tuple[list[Upload], list[tuple[str, str]]]:
    """Receives files (identity, name, stream), each once a session; the members of ZIP files among them.

    Returns:
        The uploads, and the files that are none: (name, why).
    """
    known: dict[str, list[Upload] | str] = st.session_state.setdefault("received", {})
    uploads, refused = [], []
    for identity, name, stream in files:
        if identity not in known:
            try:
                known[identity] = receive(name, stream)
            except UserError as err:
                known[identity] = str(err)
        found = known[identity]
        if isinstance(found, str):
            refused.append((name, found))
        else:
            uploads += found
    return uploads, refused


def ask_all(uploads: Sequence[Upload], model: str, reading: Reading) -> list[Answered]:
    """What a model says of every upload, in order; a bad one is among them with its reason."""
    bar = st.empty()
    answers = []
    for done, upload in enumerate(uploads):
        if len(uploads) > 1:
            bar.progress(done / len(uploads), text=f"{done} of {len(uploads)} images")
        answers.append(_ask(upload, model, made_at(model), reading))
    bar.empty()
    return answers


@st.cache_data(max_entries=4_000, show_spinner=False)
def _ask(upload: Upload, model: str, made: float, reading: Reading) -> Answered:
    """Cached by content and name of the file, how it is read, and when the model was made."""
    network = trained(model, made)
    try:
        whole = whole_image(upload, reading)
    except BadImageError as err:
        return Answered(upload, str(err), choices=err.choices)
    choices = {name: whole.meta[name] for name in ("hdus", "keys", "planes") if name in whole.meta}
    choices["bands"] = band_names(whole)
    try:
        image = fit_bands(whole, _plan(network, reading))
        prediction = network.predict(image.pixels[None], image.pixel_scale_arcsec)[0]
    except UserError as err:
        return Answered(upload, str(err), choices=choices)
    prediction = replace(prediction, warnings=(*image.meta["notes"], *prediction.warnings))
    return Answered(upload, "", prediction, choices, _thumbnail(image.pixels))


def shown_image(upload: Upload, reading: Reading, network: Any) -> LensImage:
    """The image as a network was given it; kept on disk, so read in no time."""
    return fit_bands(whole_image(upload, reading), _plan(network, reading))


def _plan(network: Any, reading: Reading) -> Callable[[Sequence[str]], BandPlan]:
    """Which bands the network gets."""
    return lambda have: plan_bands(have, network.shape[0], network.card["bands"], reading.bands or ())


def whole_image(upload: Upload, reading: Reading) -> LensImage:
    """The image with all its bands, as the reader wants the file to be read."""
    image = read(upload, hdu=reading.hdu, plane=reading.plane, key=reading.key)
    return replace(image, pixel_scale_arcsec=image.pixel_scale_arcsec or reading.pixel_scale_arcsec)


def _thumbnail(pixels: np.ndarray) -> str:
    step = max(1, max(pixels.shape[-2:]) // THUMBNAIL_PX)
    png = to_png(to_rgb(pixels[:, ::step, ::step][:, ::-1]))
    return "data:image/png;base64," + base64.b64encode(png).decode()


@st.cache_data(max_entries=64, show_spinner=False)
def evidence(upload: Upload, model: str, made: float, reading: Reading, target: str, kind: str) -> np.ndarray:
    """Where in the image the network finds what speaks for a class, (h, w)."""
    from deeplense_core.examine import evidence_map

    network = trained(model, made)
    return evidence_map(network, shown_image(upload, reading, network), target, kind)


@st.cache_data(max_entries=64, show_spinner=False)
def feature_shares(
    upload: Upload, model: str, made: float, reading: Reading, target: str
) -> dict[str, tuple[float, float]]:
    """Column -> its value for this image, and its share of the decision for a class."""
    from deeplense_core.examine import carried

    network = trained(model, made)
    return carried(network, shown_image(upload, reading, network), target)[1]


@st.cache_data(max_entries=1_000, show_spinner=False)
def change_when_turned(upload: Upload, model: str, made: float, reading: Reading) -> float:
    """The most that a probability changes under flips and quarter turns of the image."""
    from deeplense_core.examine import largest_change, turned_probabilities

    network = trained(model, made)
    return largest_change(turned_probabilities(network, shown_image(upload, reading, network)))


@st.cache_data(max_entries=32, show_spinner="Making it finer …")
def finer(upload: Upload, model: str, made: float, reading: Reading) -> np.ndarray:
    """The whole image as a super-resolution network sees it, (c, H, W)."""
    from deeplense_core.superres.enhance_files import enhance_image

    image = whole_image(upload, reading)
    return enhance_image(trained(model, made), image.pixels, averaged=False, name=upload.name)


@st.cache_resource(max_entries=4, show_spinner="Loading the network …")
def trained(model: str, made: float) -> Any:
    """The network by name; ``made`` is when, as :func:`made_at` says."""
    from deeplense_core.trained import load_model

    return load_model(model)


def made_at(model: str) -> float:
    """When the model's card was written last."""
    return (find_card(model).folder / "model.json").stat().st_mtime


def samples(recipe: str) -> dict[str, bytes]:
    """One image of each class of a recipe, as FITS files by class."""
    from deeplense_core.sim import recipe_info

    return simulated_files(recipe, tuple(recipe_info(recipe)["classes"]), SAMPLE_SEED)


@st.cache_data(max_entries=16, show_spinner="Simulating samples …")
def simulated_files(recipe: str, classes: tuple[str, ...], seed: int) -> dict[str, bytes]:
    """One image of each of these classes of a recipe, as FITS files by class."""
    import torch
    from astropy.io import fits

    from deeplense_core.sim import recipe_info, simulate

    info = recipe_info(recipe)
    labels = torch.tensor([info["classes"].index(name) for name in classes])
    batch = simulate(recipe, len(classes), seed=seed, labels=labels)
    scales = batch.truth.get("pixel_scale_arcsec", [info["pixel_scale_arcsec"]] * len(classes))
    found = {}
    for name, image, scale in zip(classes, batch.images.numpy(), scales, strict=True):
        header = fits.Header()
        for axis in (1, 2):
            header[f"CDELT{axis}"] = (float(scale), "side of a pixel")
            header[f"CUNIT{axis}"] = "arcsec"
        file = io.BytesIO()
        fits.PrimaryHDU(image if len(image) > 1 else image[0], header).writeto(file)
        found[name] = file.getvalue()
    return found


def sample_recipe(card: Mapping[str, Any]) -> str:
    """The recipe a model learnt from, else the one of the Common Test."""
    from deeplense_core.sim import RECIPES

    name = str(card["data"]).removeprefix("sim:")
    return name if name in RECIPES else "common-test"


def identity(name: str, data: bytes) -> str:
    """What tells this file from all others, for :func:`take_in`."""
    return hashlib.sha256(data).hexdigest() + name
