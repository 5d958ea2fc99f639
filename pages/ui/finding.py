"""Evaluations of lens finders as the page shows them: what is read once, and what a threshold makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from deeplense_core import metrics
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.errors import UserError
from deeplense_core.evaluations import compare
from deeplense_core.evaluations.predictions import Predictions, evaluations, read_predictions
from deeplense_core.evaluations.report import with_interval
from deeplense_core.plots import FinderCurve
from pages.ui.evaluation import evaluation_title, predictions_at, varies

ROUND = (0.0001, 0.001, 0.003, 0.01, 0.02, 0.05, *np.arange(1, 10) / 10, 0.95, 0.98, 0.99, 0.997, 0.999, 0.9999)
"""Thresholds to choose from, about even in log odds."""
BAND_RESAMPLES = 100
QUANTITIES = {"theta_E": "Einstein radius (arcsec)", "arc_snr": "S/N of the arcs (log₁₀)", "arc_mag": "arc magnitude",
              "source_R_e": "source half-light radius (arcsec)", "magnification": "magnification",
              "pixel_scale_arcsec": "pixel scale (arcsec)"}  # fmt: skip
"""Truths of simulated lenses -> what to call them; the first ones are offered first."""
LOGARITHMIC = {"arc_snr"}
"""Quantities that spread over decades."""


@dataclass(frozen=True)
class Scored:
    """One finder on one body of data, by name; what it holds is read, and cached, by folder and time."""

    run: str
    label: str
    folder: Path
    report: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, tuple[str, ...], float]:
        return str(self.folder), tuple(self.report["classes"]), self.report["time"]

    @property
    def known(self) -> Predictions:
        return predictions_at(*self.key)

    @property
    def is_lens(self) -> np.ndarray:
        return self.known.labels == self.lens

    @property
    def lens(self) -> int:
        """Place of the lenses among the classes."""
        return self.report["classes"].index(LENS_CLASSES[0])

    @property
    def scores(self) -> np.ndarray:
        """Probability of a lens, (n,)."""
        return self.known.probabilities[:, self.lens]

    @property
    def leaky(self) -> bool:
        return bool(self.report.get("leaky"))

    @property
    def curve(self) -> FinderCurve:
        return _curve(*self.key, self.label, self.leaky, dict(self.report["metrics"]["auroc"]))


def scored_on(name: str, label: str) -> dict[str, Scored]:
    """Evaluations of a finder, newest first: what exactly was scored -> the evaluation."""
    return {f"{report['data_fingerprint']}-{report['split']}": Scored(name, label, folder, report)
            for folder, report in evaluations(name) if "auroc" in report["metrics"]}  # fmt: skip


def title_of(one: Scored) -> str:
    return evaluation_title(one.report)


@st.cache_resource(max_entries=16, show_spinner="Resampling for the band …")
def _curve(
    folder: str, classes: tuple[str, ...], time: float, label: str, leaky: bool, auroc: dict[str, float]
) -> FinderCurve:
    """Sorted once for all thresholds."""
    known = predictions_at(folder, classes, time)
    lens = classes.index(LENS_CLASSES[0])
    is_lens, scores = known.labels == lens, known.probabilities[:, lens]
    band = metrics.roc_band(is_lens, scores, BAND_RESAMPLES)
    return FinderCurve(label, metrics.rank(is_lens, scores), auroc, band, leaky)


def thresholds(ranking: metrics.Ranking) -> dict[float, str]:
    """Thresholds to choose from -> what to call them: round ones, and those of TPR0 and TPR10."""
    stops = {float(value): f"{value:g}" for value in ROUND}
    for name, allowed in (("fewer than ten false", metrics.TEN - 1), ("no false positive", 0)):
        at = ranking.threshold_for(allowed)
        stops[at] = f"{at:.4g} ({name})"
    return dict(sorted(stops.items()))


def truths(one: Scored) -> pd.DataFrame:
    """True quantities of every image, without those that say nothing of its lenses; of one row an image."""
    return _truths(*one.key, one.report["data"], one.lens)


@st.cache_data(max_entries=16, show_spinner=False)
def _truths(folder: str, classes: tuple[str, ...], time: float, data: str, lens: int) -> pd.DataFrame:
    from deeplense_core.lookup import truths_of  # brings torch, which the page does not wait for

    known = predictions_at(folder, classes, time)
    if known.truth:
        table = pd.DataFrame(dict(known.truth))
    else:
        try:
            table = truths_of(data, [str(name) for name in known.ids])
        except UserError:  # the data set is gone: everything else can still be shown
            return pd.DataFrame()
    for name in LOGARITHMIC & set(table):
        values = table[name].to_numpy(float)
        table[name] = np.log10(np.where(values > 0, values, np.nan))
    usable = [name for name in table if varies(table.loc[known.labels == lens, name].to_numpy(float))]
    return table[sorted(usable, key=lambda name: (list(QUANTITIES).index(name) if name in QUANTITIES else 99, name))]


def quantity_label(name: str) -> str:
    return QUANTITIES.get(name, name.replace("_", " "))


def mistakes(one: Scored) -> np.ndarray:
    """Rows of all non-lenses, the highest score first."""
    others = np.flatnonzero(~one.is_lens)
    return others[np.argsort(-one.scores[others], kind="stable")]


def faintest(one: Scored) -> np.ndarray:
    """Rows of all lenses, the lowest score first."""
    lenses = np.flatnonzero(one.is_lens)
    return lenses[np.argsort(one.scores[lenses], kind="stable")]


@st.cache_data(max_entries=64, show_spinner="Fetching the images …")
def images(data: str, ids: tuple[str, ...], time: float) -> np.ndarray:
    """Images by their ids; cached by those and by when the evaluation was made."""
    from deeplense_core.lookup import images_of

    return images_of(data, ids)


def comparison_table(finders: Sequence[Scored], threshold: float, prevalence: float) -> pd.DataFrame:
    """A line for each finder and each baseline: its metrics, and what this threshold keeps."""
    lines = {}
    for one in finders:
        point = one.curve.ranking.point(threshold, prevalence)
        per_true = point["false_per_true"]["value"]
        found = {name: with_interval(one.report["metrics"][name]) for name in metrics.FIND_NAMES}
        lines[one.label + " (leaky)" * one.leaky] = found | {
            "completeness": with_interval(point["completeness"]), "purity": with_interval(point["purity"]),
            "false_per_true": "–" if per_true is None else f"{per_true:,.2f}",
        }  # fmt: skip
    for name, row in finders[0].report["rows"].items():
        lines.setdefault(name, {metric: with_interval(row[metric]) for metric in metrics.FIND_NAMES if metric in row})
    return pd.DataFrame.from_dict(lines, orient="index").fillna("").rename_axis("finder")


@st.cache_data(max_entries=64, show_spinner="Comparing on the same images …")
def difference(
    folder: str, baseline: str, classes: tuple[str, ...], metric: str, times: tuple[float, float]
) -> dict[str, float | str]:
    """Metric of a finder minus that of another, on the same images; cached by folder and by when each was scored."""
    return compare.difference(*(read_predictions(Path(name), classes) for name in (folder, baseline)), metric)
