"""A network's answers as rows of a catalogue, in the columns that the field exchanges."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deeplense_core.catalog import write_catalog
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


def answer_row(
    name: str, image: LensImage, answer: Answer, classes: Sequence[str], model_id: str
) -> dict[str, Any]:
    """One row: ``name, ra, dec, score, p_calibrated, class, p_<class>..., classes_95, warning, grade, grader, comment,
    theta_E, survey, model_id, time``.

    An image unlike the training images has no class and no calibrated probability, because neither means anything
    there; ``score`` and the columns of each class still hold what the network put out. Grade, grader, comment,
    Einstein radius and survey are left for those who know them.
    """
    best = int(answer.probabilities.argmax())
    score = float(answer.probabilities[best])
    return {
        "name": name, "ra": image.meta.get("ra_deg"), "dec": image.meta.get("dec_deg"), "score": score,
        "p_calibrated": score if answer.familiar else None, "class": classes[best] if answer.familiar else "",
        **{f"p_{c}": float(p) for c, p in zip(classes, answer.probabilities, strict=True)},
        "classes_95": " ".join(answer.likely), "warning": "; ".join(answer.warnings),
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
