"""Two rows of super-resolution on the same images: is one better, or can that not be told?"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.metrics.superres import BEST_AT_ONE, BETTER, OF_A_SET, paired_means
from deeplense_core.registry import nearest


@dataclass(frozen=True)
class Scores:
    """Every metric of every row on every image of one evaluation."""

    report: Mapping[str, Any]
    ids: np.ndarray
    arrays: Mapping[str, np.ndarray]
    """Metric -> (n, rows), in the order of ``report["row_names"]``."""

    def column(self, row: str, metric: str) -> np.ndarray:
        """One metric of one row, (n,), in the order of the ids.

        Raises:
            UserError: a row or metric that was not scored.
        """
        rows = self.report["row_names"]
        if row not in rows:
            raise UserError(f"{row!r} was not scored there. {nearest(row, rows)}")
        if metric not in self.arrays:
            raise UserError(f"Unknown metric {metric!r}. {nearest(metric, list(self.arrays))}")
        return self.arrays[metric][np.argsort(self.ids, kind="stable"), rows.index(row)]


def read_scores(folder: Path, report: Mapping[str, Any]) -> Scores:
    """The numbers behind an evaluation's report.

    Raises:
        UserError: when the file is missing or damaged.
    """
    try:
        with open(folder / "predictions.npz", "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            return Scores(report, arrays.pop("ids"), arrays)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise UserError(f"The scores in {folder.name!r} cannot be read ({type(err).__name__}). Evaluate the network "
                        "again.") from err


def difference(a: Scores, row_a: str, b: Scores, row_b: str, metric: str) -> dict[str, Any]:
    """Mean of A minus B over the same images, its 95 % interval and a verdict.

    Raises:
        UserError: evaluations on different data, on different images, or with different scales or features.
    """
    if a.report["data_fingerprint"] != b.report["data_fingerprint"]:
        raise UserError(f"{row_a!r} was scored on {a.report['data']!r} and {row_b!r} on {b.report['data']!r}: rows of "
                        "different data are not compared. Evaluate both on the same data set.")
    if not np.array_equal(np.sort(a.ids), np.sort(b.ids)):
        raise UserError(f"{row_a!r} and {row_b!r} were scored on different images: rows of different data are not "
                        "compared. Evaluate both on the same split.")
    facts = ("perceptual_weights", "perceptual_images") if metric == "perceptual" else ("data_range",)
    for fact in facts:
        if a.report[fact] != b.report[fact]:
            raise UserError(f"The two evaluations differ in {fact.replace('_', ' ')} ({a.report[fact]} and "
                            f"{b.report[fact]}): {metric} is not comparable. Evaluate both again.")
    return paired_means(a.column(row_a, metric), b.column(row_b, metric), metric)


def comparable(metrics: Mapping[str, Any]) -> list[str]:
    """Metrics of single images of which it is known what is better, among those that were scored."""
    return [name for name in metrics if name in (*BETTER, *BEST_AT_ONE) and name not in OF_A_SET]
