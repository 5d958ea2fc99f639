"""A network's answers as rows of a catalogue, in the columns that the field exchanges."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deeplense_core.catalog import write_catalog
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.images import LensImage

EXPORTS = {
    ".csv": ("CSV", "text/csv"), ".ecsv": ("ECSV", "text/plain"), ".fits": ("FITS table", "application/fits"),
    ".vot": ("VOTable", "application/x-votable+xml"),
}  # fmt: skip
"""Ending -> what the format is called, and its media type."""


class Answer(Protocol):
    """What is said of one image: :class:`deeplense_core.trained.Prediction` is one."""

    @property
    def probabilities(self) -> np.ndarray: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def familiar(self) -> bool: ...
    @property
    def likely(self) -> tuple[str, ...]: ...


def score_of(probabilities: np.ndarray, classes: Sequence[str]) -> float:
    """What to rank by: the probability of a lens, where lenses are looked for; else that of the likeliest class."""
    if set(classes) == set(LENS_CLASSES):
        return float(probabilities[classes.index(LENS_CLASSES[0])])
    return float(probabilities.max())


def predicted_row(
    name: str, ra_deg: float | None, dec_deg: float | None, answer: Answer, classes: Sequence[str]
) -> dict[str, Any]:
    """One row of a table of predictions: ``name, ra, dec, class, score, p_<class>..., warning``."""
    return {
        "name": name, "ra": ra_deg, "dec": dec_deg, "class": classes[int(answer.probabilities.argmax())],
        "score": score_of(answer.probabilities, classes),
        **{f"p_{c}": float(p) for c, p in zip(classes, answer.probabilities, strict=True)},
        "warning": "; ".join(answer.warnings),
    }  # fmt: skip


def answer_row(
    name: str, image: LensImage, answer: Answer, classes: Sequence[str], model_id: str
) -> dict[str, Any]:
    """One row: that of :func:`predicted_row`, and ``p_calibrated, classes_95, grade, grader, comment, theta_E, survey,
    model_id, time``.

    An image unlike the training images has no class and no calibrated probability, because neither means anything
    there; ``score`` and the columns of each class still hold what the network put out. Grade, grader, comment,
    Einstein radius and survey are left for those who know them.
    """
    row = predicted_row(name, image.meta.get("ra_deg"), image.meta.get("dec_deg"), answer, classes)
    return {
        **row, "class": row["class"] if answer.familiar else "",
        "p_calibrated": row["score"] if answer.familiar else None, "classes_95": " ".join(answer.likely),
        "grade": "", "grader": "", "comment": "", "theta_E": None, "survey": "",
        "model_id": model_id, "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def export(rows: Sequence[Mapping[str, Any]], ending: str) -> bytes:
    """A catalogue as the bytes of a file.

    Args:
        rows: At least one.
        ending: One of ``EXPORTS``.
    """
    with tempfile.TemporaryDirectory(prefix="deeplense-") as folder:
        path = Path(folder, f"answers{ending}")
        write_catalog(rows, path)
        return path.read_bytes()
