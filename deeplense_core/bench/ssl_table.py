"""The table of the ssl study: mean over seeds, intervals over images and seeds, gains on the same images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.bench import study
from deeplense_core.bench.study import RESAMPLES, interval, numbers
from deeplense_core.machine import describe
from deeplense_core.metrics import bootstrap

PIXELS, SCRATCH, FEW, PAIRS = "pixels (PCA)", "1 % of labels, from scratch", "1 % of labels, from ", ", pairs="
SHOWN = ("probe_auc_macro_1_percent", "knn_accuracy", "rotation_error", "effective_rank")


@dataclass(frozen=True)
class Row:
    """One line of the table: what every seed said of the same images."""

    name: str
    runs: Sequence[str]
    folders: Sequence[Path]
    labels: Int[np.ndarray, " n"]
    probabilities: Sequence[Float[np.ndarray, "n k"]]
    metrics: Sequence[Mapping[str, Any]]
    """Of each seed, as its report has them."""
    seen: int = 0
    """Images, or pairs of views, that a network was shown in training."""

    @classmethod
    def of(cls, name: str, runs: Sequence[str], folders: Sequence[Path], baseline: str = "", seen: int = 0) -> Row:
        """From the folders of evaluations on one set; ``baseline`` takes that row of them instead of the network."""
        probabilities, metrics, labels = [], [], np.zeros(0, int)
        for folder in folders:
            report = json.loads((folder / "report.json").read_bytes())
            with np.load(folder / "predictions.npz", allow_pickle=False) as kept:
                labels = kept["labels"]
                probabilities.append(kept[f"{baseline}: probabilities" if baseline else "probabilities"])
            metrics.append(report["rows"][baseline] if baseline else report["metrics"])
        return cls(name, runs, folders, labels, probabilities, metrics, seen)

    def beside(self, baseline: str, seeds: int | None = None) -> Row:
        """A baseline that was scored together with these networks."""
        return Row.of(baseline, (), self.folders[:seeds], baseline)


def macro_auc(labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n k"]):
    """Macro AUC as a function of weights (n, b) -> {"auc": (b,)}."""
    each = [bootstrap.auc_statistic(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1])]
    return lambda weights: {"auc": np.mean([auc(weights) for auc in each], axis=0)}


def over_seeds(
    labels: Int[np.ndarray, " n"], probabilities: Sequence[Float[np.ndarray, "n k"]], resamples: int = RESAMPLES
) -> Float[np.ndarray, " b+1"]:
    """Macro AUC, as :func:`deeplense_core.bench.study.over_seeds` has it."""
    return study.over_seeds(labels, [macro_auc(labels, one) for one in probabilities], resamples)["auc"]


def table_rows(recipe: str, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Rows by name, each with its gain over what it must be held against."""
    drawn = {row.name: over_seeds(row.labels, row.probabilities) for row in rows}
    pixels, found = drawn[PIXELS], {}
    for row in rows:
        mine, peer_name = drawn[row.name], _peer(row.name, drawn)
        gain = interval(mine - drawn[peer_name])
        ours, peer = float(mine[0]), float(drawn[peer_name][0])
        found[f"ssl {recipe} {row.name}"] = {
            "ours": ours, "peer": peer, "ratio": (1 - peer) / max(1e-9, 1 - ours), "limit": None,
            "unit": "macro AUC; ratio of 1 - AUC", "machine": describe(), "peer_name": peer_name, "seen": row.seen,
            "auc_macro": {**interval(mine), "seeds": [float(over_seeds(row.labels, [one], 1)[0])
                                                       for one in row.probabilities]},
            "difference": gain, "note": _verdict(row.name, gain, ours, peer), "over_pixels": interval(mine - pixels),
            **{name: _mean(row.metrics, name) for name in SHOWN if name in row.metrics[0]},
        }  # fmt: skip
    return found


def _peer(name: str, rows: Mapping[str, Any]) -> str:
    """What a row is held against: few labels against scratch, pairs against views of one image, all else pixels."""
    if name.startswith(FEW) and name != SCRATCH:
        return SCRATCH
    return name.partition(PAIRS)[0] if PAIRS in name else PIXELS


def _verdict(name: str, gain: Mapping[str, float], ours: float, peer: float) -> str:
    if name == PIXELS:
        return "baseline"
    if gain["low"] <= 0:
        return "hurts" if gain["high"] < 0 else "does not help"
    large = gain["value"] >= 0.1 or 1 - ours <= (1 - peer) / 2
    return "helps: 10 points or half of 1 - AUC" if large else "helps"


def _mean(metrics: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Of the seeds; the interval reaches from the lowest to the highest end."""
    each = [one[name] for one in metrics]
    return {"value": float(np.mean([one["value"] for one in each])), "low": min(one["low"] for one in each),
            "high": max(one["high"] for one in each)}  # fmt: skip


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as text, one part a recipe."""
    text: list[str] = []
    for recipe in dict.fromkeys(name.split()[1] for name in rows):
        mine = {name.removeprefix(f"ssl {recipe} "): row for name, row in rows.items() if name.split()[1] == recipe}
        width = max(map(len, mine))
        text.append(f"{recipe:{width}} {'images':>8} {'macro AUC':>22} {'gain':>25} {'probe, 1 % labels':>22} "
                    f"{'k-NN':>6} {'turning':>8} {'rank':>6}  over what it is held against")
        for name, row in mine.items():
            gain = "-" if name == PIXELS else numbers(row["difference"], "+")
            few = numbers(row[SHOWN[0]]) if SHOWN[0] in row else "-"
            plain = "".join(f" {_short(row, metric, form):>{size}}" for metric, form, size in
                            ((SHOWN[1], ".3f", 6), (SHOWN[2], ".2g", 8), (SHOWN[3], ".1f", 6)))
            said = row["note"] if name == PIXELS else f"{row['peer_name']}: {row['note']}"
            seen = f"{row['seen']:,}" if row["seen"] else "-"
            text.append(f"{name:{width}} {seen:>8} {numbers(row['auc_macro']):>22} {gain:>25} {few:>22}{plain}  {said}")
    seeds = max(len(row["auc_macro"]["seeds"]) for row in rows.values())
    many = f"{seeds} seed{'s' if seeds > 1 else ''}"
    text.append("Macro AUC of a linear probe on frozen features, or of the network itself where it learnt from labels; "
                f"means over {many}, in brackets 95 % over resampled images and seeds.")
    text.append("Images: shown in training, as pairs of views where no labels were used.")
    text.append("Turning: how far features move in quarter turns, in units of the distance between two images.")
    return text


def _short(row: Mapping[str, Any], metric: str, form: str) -> str:
    return format(row[metric]["value"], form) if metric in row else "-"
