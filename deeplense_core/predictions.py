"""What a network said of every image of an evaluation, read back from disk."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplense_core.errors import UserError


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers beside the truth, one row an image.

    Attributes:
        ids: (n,) names of the images in their data set.
        labels: (n,) true classes, numbers into ``classes``.
        probabilities: (n, k) calibrated.
        classes: k names.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

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


def read_predictions(folder: Path, classes: list[str] | tuple[str, ...]) -> Predictions:
    """The predictions of the evaluation in ``folder``.

    Raises:
        UserError: when the file is missing or damaged.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out not to be an archive.
        with open(folder / "predictions.npz", "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return Predictions(file["ids"], file["labels"], file["probabilities"], tuple(classes))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise UserError(
            f"The predictions in {folder.name!r} cannot be read ({type(err).__name__}). "
            "Evaluate the run again."
        ) from err
