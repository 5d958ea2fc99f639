"""What tasks share whose networks give class logits: the answers for a part, their scores, and what a card holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core import metrics
from deeplense_core.errors import UserError
from deeplense_core.familiarity import familiar_ranges
from deeplense_core.preprocess import PreprocessConfig
from deeplense_core.sources import DataInfo, Images
from deeplense_core.tasks.base import Progress
from deeplense_core.trained import Trained

BLOCK = 256
"""Images held in memory at once by an evaluation."""


def check_classes(data: DataInfo) -> None:
    """Raises a UserError for data with fewer than two classes."""
    if len(data.classes) < 2:
        only = f"only class {data.classes[0]!r}" if data.classes else "no class at all"
        raise UserError(f"{data.name!r} holds {only}: a classifier needs at least two. "
                        "Add images of another class.")


def known_labels(model: Trained, data: DataInfo, part: Images) -> Int[np.ndarray, " n"]:
    """Labels of a part as numbers of the network's classes.

    Raises:
        UserError: data with a class that the network does not know.
    """
    if unknown := [name for name in data.classes if name not in model.classes]:
        raise UserError(f"{data.name!r} has class {unknown[0]!r}, which {model.name!r} does not know: it tells "
                        f"apart {', '.join(model.classes)}.")
    return np.array([model.classes.index(name) for name in data.classes])[part.labels]


def answers(
    model: Trained, data: DataInfo, part: Images, averaged: bool = True, progress: Progress | None = None
) -> Float[np.ndarray, "n k"]:
    """Logits of a trained network for every image of a part."""
    outputs, done = [], 0
    for block, columns in part.blocks_and_columns(BLOCK):
        fitted, _ = model.fit(block, data.pixel_scale_arcsec)
        outputs.append(model.logits(fitted, averaged, columns))
        done += len(block)
        if progress:
            progress(done, len(part))
    return np.concatenate(outputs)


def card_of_classes(
    classes: Sequence[str], outputs: Float[np.ndarray, "n k"], part: Images, cfg: PreprocessConfig
) -> dict[str, Any]:
    """What a card holds beyond the weights: classes, calibration, preprocessing, what is familiar."""
    return {
        "classes": list(classes), "temperature": metrics.fit_temperature(outputs, part.labels),
        "preprocess": asdict(cfg), "familiar": familiar_ranges(part.blocks(BLOCK)),
    }  # fmt: skip
