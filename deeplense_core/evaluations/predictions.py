"""Evaluations read back from disk: their reports, and what the network said of every image."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.workspace import results_dir, shipped_models_dir

TRUTH = "truth_"
"""Begins the names of a simulator's truths, here as in a catalogue."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers beside the truth, one row an image.

    Attributes:
        ids: (n,) names of the images in their data set.
        labels: (n,) true classes, numbers into ``classes``.
        probabilities: (n, k) calibrated.
        classes: k names.
        truth: What a simulator knows of every image, (n,) each, where it was kept; NaN where it does not apply.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, (n,)."""
        return self.probabilities.argmax(axis=1)

    def cell(self, true: str, predicted: str) -> np.ndarray:
        """Rows of class ``true`` that were taken for ``predicted``, the surest first.

        These are the images behind one cell of the confusion matrix, no more and no fewer.
        """
        row, column = self.classes.index(true), self.classes.index(predicted)
        rows = np.flatnonzero((self.labels == row) & (self.predicted == column))
        sureness = self.probabilities[rows, column]
        return rows[np.argsort(-sureness, kind="stable")]


def evaluations(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Every evaluation of a run or shipped model, newest first: its folder and its report.

    Those that ship with a model stand for themselves until the same images are scored here.
    """
    own = own_evaluations(name)
    here = {(report["data_fingerprint"], report["split"]) for _, report in own}
    shipped = _kept_in(shipped_models_dir() / name)
    return own + [pair for pair in shipped if (pair[1]["data_fingerprint"], pair[1]["split"]) not in here]


def own_evaluations(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """As :func:`evaluations`, those made in this workspace."""
    return _kept_in(results_dir(name))


def _kept_in(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in (folder / "evaluations").glob("*/report.json"):
        try:
            found.append((path.parent, json.loads(path.read_bytes())))
        except (OSError, ValueError):
            continue  # half-written by a full disk: the evaluation can be made again
    return sorted(found, key=lambda pair: pair[1].get("time", 0.0), reverse=True)


def read_predictions(folder: Path, classes: list[str] | tuple[str, ...]) -> Predictions:
    """The predictions of the evaluation in ``folder``.

    Raises:
        UserError: when the file is missing or damaged.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out not to be an archive.
        with open(folder / "predictions.npz", "rb") as raw, np.load(raw, allow_pickle=False) as file:
            truth = {name.removeprefix(TRUTH): file[name] for name in file.files if name.startswith(TRUTH)}
            return Predictions(file["ids"], file["labels"], file["probabilities"], tuple(classes), truth)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise UserError(
            f"The predictions in {folder.name!r} cannot be read ({type(err).__name__}). "
            "Evaluate the run again."
        ) from err
