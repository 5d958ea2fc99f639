"""What a network says of a few validation images while it learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from deeplense_core import metrics
from deeplense_core.runs import Run
from deeplense_core.samples import Samples, read
from deeplense_core.shelf.cards import find_card
from pages.ui.gallery import thumbnails
from pages.ui.theme import class_label

GAP = 3
"""Pixels between the pictures of one pair."""


def sample_answers(run: Run) -> None:
    """The images with their captions, below one line that says which they are; nothing before the first epoch."""
    found = read(run)
    if found is None:
        return
    with st.expander(f"{len(found.images)} validation images after epoch {found.epoch}", expanded=True):
        if found.outputs.ndim == 4:
            thumbnails(np.stack(triptychs(found)), ["before · network · target"] * len(found.images), columns=2)
        else:
            card = find_card(run.id).card
            say = neighbour_captions if card["task"] == "ssl" else captions
            thumbnails(found.images, say(found, card["classes"]), columns=4)


def captions(found: Samples, classes: Sequence[str]) -> list[str]:
    """Chosen class with its probability, and the true one where it is another."""
    said = []
    for row, label in zip(metrics.softmax(found.outputs), found.labels, strict=True):
        best = int(row.argmax())
        wrong = 0 <= label != best
        said.append(f"{class_label(classes[best])} {row[best]:.2f}"
                    + (f"\n✕ is {class_label(classes[label])}" if wrong else "\n✓" if label >= 0 else ""))
    return said


def neighbour_captions(found: Samples, classes: Sequence[str]) -> list[str]:
    """The number of each image, which of the others an encoder finds most like it, and its class where known."""
    features = found.outputs / np.maximum(np.linalg.norm(found.outputs, axis=1, keepdims=True), 1e-12)
    alike = features @ features.T
    np.fill_diagonal(alike, -np.inf)
    named = [f"\n{class_label(classes[label])}" if label >= 0 else "" for label in found.labels]
    return [f"{place + 1}: nearest is {int(row.argmax()) + 1}{name}"
            for place, (row, name) in enumerate(zip(alike, named, strict=True))]


def triptychs(found: Samples) -> list[np.ndarray]:
    """Each coarse image, enlarged to the fine pixels, beside the network's and the target; (c, H, 3 W + gaps)."""
    pictures = []
    for index, fine in enumerate(found.outputs):
        coarse = found.images[index]
        factor = fine.shape[-1] // coarse.shape[-1]
        parts = [coarse.repeat(factor, 1).repeat(factor, 2), fine]
        if found.targets is not None:
            parts.append(found.targets[index])
        gap = np.full((*fine.shape[:2], GAP), min(float(part.min()) for part in parts), np.float32)
        joined = [piece for part in parts for piece in (gap, part)][1:]
        pictures.append(np.concatenate(joined, 2))
    return pictures
