"""One image of the analyse page: the picture, and beside it what the network says and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.plots.answer import probability_figure
from deeplense_core.shelf.cards import find_card, shipped_models
from pages.ui.answers import (
    Answered,
    Reading,
    change_when_turned,
    evidence,
    feature_shares,
    finer,
    made_at,
    shown_image,
    trained,
    whole_image,
)
from pages.ui.glossary import TERMS, meaning
from pages.ui.messages import guard, plain
from pages.ui.own_sky import MOST_VALUES
from pages.ui.state import remember
from pages.ui.theme import class_label, theme_name
from pages.ui.viewer import Panel, viewer

VIEWS = ("Image", "Evidence", "Preprocessing", "Super-resolved")
EVIDENCE = {"grad-cam": "Grad-CAM", "occlusion": "Occlusion"}
OF_FUSION = {"attention": "Attention"}
"""Evidence of networks that see features beside the image."""
SHOWN_FEATURES = 8
PICTURE_PX, ANSWER_PX = 624, 324
STEADY = 0.02
"""Change of a probability under flips and turns up to which an answer is called steady."""
WHAT_IT_IS = {
    "grad-cam": "Grad-CAM: where the network's last features raise the odds of this class. As coarse as those "
    "features, and scaled to this image's own maximum.",
    "occlusion": "Occlusion: how far the odds of this class fall (or, below 0, rise) when a square of the image is "
    "covered with sky. In natural logarithms.",
    "attention": "Attention: which places of the image the network joined to its answer, weighed by what that did for "
    "the odds of this class. As coarse as its image tokens. What fusion-resnet also reads off the whole image is not "
    "in it: see Grad-CAM.",
}
FINER = "What a network that knows simulated lenses expects a finer camera to see. It can invent structure: the page " \
    "Super-resolution shows what the data confirm."
NOT_WHY = "It shows where the network looks, not whether it is right."


@dataclass(frozen=True)
class Asked:
    """A network and the way in which files are read for it."""

    model: str
    reading: Reading
    network: Any
    """A :class:`deeplense_core.trained.Trained`."""


def asked(model: str, reading: Reading) -> Asked:
    return Asked(model, reading, trained(model, made_at(model)))


def headline(one: Answered, classes: Sequence[str]) -> str:
    """The finding in one line: a class only where it can be trusted."""
    if not one.prediction.familiar:
        return "Unlike the training images: no class can be trusted"
    likely, best = one.prediction.likely, one.prediction.probabilities[one.best]
    if len(likely) > 1:
        return f"Undecided: {' or '.join(class_label(name) for name in likely)}"
    name = class_label(classes[one.best])
    return f"{name[:1].upper()}{name[1:]}: probability {f'{best:.3f}' if best < 0.9995 else 'above 0.999'}"


def one_image(one: Answered, ask: Asked) -> None:
    """Picture and answer, side by side where both fit."""
    row = st.container(horizontal=True, gap="small")
    with row.container(width=PICTURE_PX), guard():
        _picture(one, ask)
    with row.container(width=ANSWER_PX):
        _answer(one, ask)


def _picture(one: Answered, ask: Asked) -> None:
    image = whole_image(one.upload, ask.reading)
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    remember("analyse_view", VIEWS[0])
    view = bar.segmented_control("Show", VIEWS, required=True, key="analyse_view",
                                 label_visibility="collapsed", width="content")  # fmt: skip
    if view == "Evidence":
        with bar:
            panels, words = _evidence_panels(one, image, ask)
    elif view == "Super-resolved":
        with bar:
            panels, words = _finer_panels(one, image, ask)
    elif view == "Preprocessing":
        panels, words = _step_panels(one, ask), "What the network was given, step by step, in its own pixels."
    else:
        panels, words = [_panel(image, one.name)], _facts(image)
    # The browser keeps zoom, stretch and colours by key: images in colour begin in colour.
    colours = "colour" if len(panels) == 1 and len(image.pixels) >= 3 else "gray"
    viewer(panels, key=f"analyse_viewer_{view}_{colours}", height=420 if len(panels) == 1 else 300)
    st.caption(plain(words))
    if view == "Evidence" and st.session_state.get("analyse_evidence") in OF_FUSION:
        _feature_bars(one, ask, st.session_state["analyse_target"])


def _feature_bars(one: Answered, ask: Asked, target: str) -> None:
    """The features that carried most of the decision, beside what they are in this image."""
    shares = feature_shares(one.upload, ask.model, made_at(ask.model), ask.reading, target)
    most = sorted(shares.items(), key=lambda item: -item[1][1])[:SHOWN_FEATURES]
    together = sum(share for _, share in shares.values())
    st.caption(f"{together:.0%} of the decision went through features, the rest through the image.".replace("%", " %"))
    rows = [{"Feature": name.removeprefix("feature_").replace("_", " "),
             "In this image": f"{value:.3g}" if math.isfinite(value) else "unknown", "Share": share}
            for name, (value, share) in most]  # fmt: skip
    bar = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=max(r["Share"] for r in rows) or 1)
    st.dataframe(rows, hide_index=True, column_config={"Share": bar}, key="analyse_features",
                 alt="Features by their share of the decision")  # fmt: skip


def _panel(image: LensImage, title: str, **more: Any) -> Panel:
    return Panel(image.pixels, title, image.pixel_scale_arcsec, image.meta.get("wcs"), image.meta.get("unit", ""),
                 image.bands, **more)  # fmt: skip


def _facts(image: LensImage) -> str:
    """What the file says, in one line."""
    meta, (bands, height, width) = image.meta, image.pixels.shape
    parts = [
        meta["format"],
        f"HDU {meta['hdu']}" if len(meta.get("hdus", ())) > 1 else "",
        f"array {meta['key']}" if len(meta.get("keys", ())) > 1 else "",
        f"{height} × {width} pixels" + (f", {bands} bands" if bands > 1 else ""),
        f"{image.pixel_scale_arcsec:.3g} arcsec/pixel" if image.pixel_scale_arcsec else "pixel scale unknown",
        f"RA {meta['ra_deg']:.5f}, Dec {meta['dec_deg']:+.5f}" if "ra_deg" in meta else "",
    ]
    return " · ".join(filter(None, parts))


def _evidence_panels(one: Answered, image: LensImage, ask: Asked) -> tuple[list[Panel], str]:
    """The image with a map over it, for the class that the reader picks; its controls go into the row above."""
    classes = ask.network.classes
    target = st.selectbox("Class", classes, one.best, format_func=class_label, key="analyse_target",
                          label_visibility="collapsed", width=164)  # fmt: skip
    kinds = EVIDENCE | (OF_FUSION if ask.network.features else {})
    if st.session_state.get("analyse_evidence") not in kinds:  # chosen for a network that had it
        st.session_state.pop("analyse_evidence", None)
    kind = st.selectbox("Kind of map", list(kinds), format_func=kinds.get, key="analyse_evidence",
                        label_visibility="collapsed", width=148)  # fmt: skip
    with st.spinner("Covering one part of the image after the other …" if kind == "occlusion" else "Looking …"):
        found = evidence(one.upload, ask.model, made_at(ask.model), ask.reading, target, kind)
    title = f"{kinds[kind]}: {class_label(target)}"
    reach = "" if kind != "occlusion" else f" Here from {found.min():+.2g} to {found.max():+.2g}."
    return [_panel(image, title, overlay=found, overlay_title=title)], f"{WHAT_IT_IS[kind]}{reach} {NOT_WHY}"


def _finer_panels(one: Answered, image: LensImage, ask: Asked) -> tuple[list[Panel], str]:
    """The image and what a super-resolution network makes of it, under one zoom."""
    from deeplense_core.superres.enhance_files import finer_wcs

    known = [name for name in shipped_models() if find_card(name).card["task"] == "superres"]
    model = st.selectbox("Network", known, key="analyse_finer", label_visibility="collapsed", width=164)
    if image.pixels.size > MOST_VALUES:
        raise UserError(f"{one.name!r} has {image.pixels.size:,} pixel values, more than the {MOST_VALUES:,} that the "
                        f"page makes finer. On the command line: predict {model} FILE --out fine.fits.")  # fmt: skip
    made = finer(one.upload, model, made_at(model), ask.reading)
    times = made.shape[-1] // image.pixels.shape[-1]
    scale, wcs = image.pixel_scale_arcsec, image.meta.get("wcs")
    fine = replace(image, pixels=made, pixel_scale_arcsec=scale / times if scale else None,
                   meta={**image.meta, "wcs": finer_wcs(wcs, times) if wcs else None})  # fmt: skip
    return [_panel(image, one.name, lock="sky"), _panel(fine, f"{model}: {times} times finer", lock="sky")], FINER


def _step_panels(one: Answered, ask: Asked) -> list[Panel]:
    from deeplense_core.examine import steps

    image = shown_image(one.upload, ask.reading, ask.network)
    return [Panel(step.pixels, step.title, step.pixel_scale_arcsec, unit=image.meta.get("unit", "") if i == 0 else "",
                  stretch="linear" if i >= 3 else "")
            for i, step in enumerate(steps(ask.network, image))]  # fmt: skip


def _answer(one: Answered, ask: Asked) -> None:
    classes, prediction = ask.network.classes, one.prediction
    if one.strange:
        st.warning("**This image is unlike the training set:**\n" + "".join(
            f"\n- {plain(part)}" for part in one.strange.split(", ")), icon=":material/warning:")  # fmt: skip
    figure = probability_figure(prediction.probabilities.tolist(), classes, trusted=prediction.familiar,
                                theme=theme_name())  # fmt: skip
    spoken = ", ".join(f"{class_label(c)} {p:.3f}" for c, p in zip(classes, prediction.probabilities, strict=True))
    st.plotly_chart(figure, theme=None, key="analyse_answer", alt=spoken, config={"displayModeBar": False})
    st.markdown("  \n".join(f"{question}: **{plain(found)}**" for question, found in _trust(one, ask)),
                help=meaning("Conformal", TERMS["Unfamiliar image"]))  # fmt: skip
    for caution in one.cautions:
        st.caption(plain(f"{caution[:1].upper()}{caution[1:]}."))


def _trust(one: Answered, ask: Asked) -> list[tuple[str, str]]:
    """How far the answer can be trusted: questions and what was found."""
    prediction, found = one.prediction, []
    if prediction.likely:
        found.append(("95 % sure to be among", ", ".join(class_label(name) for name in prediction.likely)))
    if ask.network.shape[1] == ask.network.shape[2]:
        change = change_when_turned(one.upload, ask.model, made_at(ask.model), ask.reading)
        found.append(("Change when flipped or turned", f"{change:.3f}, {'steady' if change <= STEADY else 'unsteady'}"))
    if prediction.familiar and prediction.distance is not None:
        found.append(("Distance from training images", f"{prediction.distance:.2f} (99 % lie within 1)"))
    return found
