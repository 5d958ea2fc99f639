"""Every method of domain adaptation, from easy to hard lens finding, beside the source alone, in one table.

It takes hours, and is taken up where it was left: data sets and runs that are there are not made again. A network
learns ``lens-finding-easy``; from its weights every method, the source alone among them, goes on for equally many
passes with the images of ``lens-finding-hard`` (one in five labelled) as the target. The epoch is chosen on the
labelled part of the target's validation split for all alike; each is scored once on another hard set, all of it
labelled, in which one image in a hundred is a lens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from deeplense_core.adapt import ADAPTATIONS, BASELINE
from deeplense_core.adapt.report import VERDICTS
from deeplense_core.bench.study import Say, data_set, interval, numbers, over_seeds, scored, trained
from deeplense_core.data import Dataset
from deeplense_core.machine import describe
from deeplense_core.metrics.finding import find_statistic
from deeplense_core.spec import RunSpec, knob, make_config
from deeplense_core.train import plan
from deeplense_core.workspace import home

METRICS = ("auroc", "auprc", "tpr10")
LENSES = 0.01
"""Of the images of the test set."""


@dataclass(frozen=True)
class AdaptBenchConfig:
    """Sizes of the comparison."""

    methods: str = knob("all", "Methods to compare, joined by +; the source alone is always among them")
    seeds: int = knob(3, "Trainings of each method", ge=1, le=20)
    source: int = knob(12_000, "Images of the easy set", ge=100, le=1_000_000)
    target: int = knob(16_000, "Images of the hard set to adapt to, one in five labelled", ge=200, le=1_000_000)
    test: int = knob(10_000, "Images of the hard test set, one in a hundred a lens", ge=200, le=1_000_000)
    first: int = knob(8, "Passes over the easy set before a method sees the target", ge=1, le=1000)
    epochs: int = knob(4, "Passes over the easy set with the target beside it", ge=1, le=1000)
    model: str = knob("cutout-resnet", "Network")


NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "cutout-resnet": {"width": 16}, "d4net": {"radii": 32, "angles": 64},
}
"""Settings of a network that make it small enough to train many."""
TRAINING = {"lr": 0.002, "ema": 0.99, "patience": 0, "batch_size": 64, "precision": "float32", "compile": "off"}
STARTED: Mapping[str, Mapping[str, Any]] = {"finetune": {"finetune_from": 0.0}, "adda": {"adda_from": 0.05}}
"""What methods leave out that would learn the source first: here another run has."""


def run(settings: Mapping[str, Any], say: Say = lambda text: None) -> dict[str, dict[str, Any]]:
    """Trains what is missing, scores it, and gives a row a method.

    Args:
        settings: Of :class:`AdaptBenchConfig`, text or typed.
        say: Told what is being done.

    Returns:
        Method -> ``ours`` (AUROC), ``peer`` (that of the source alone), ``ratio`` (of their distances from 1), metrics
        with intervals, the difference and its verdict.
    """
    cfg: AdaptBenchConfig = make_config(AdaptBenchConfig, settings)
    methods = chosen_methods(cfg.methods)
    source, target, test = data_sets(cfg, say)
    labels, scores = None, {}
    for seed in range(1, cfg.seeds + 1):
        start = trained(start_of(cfg, seed, source, target), say)
        for method in methods:
            done = trained(spec_of(cfg, method, seed, source, target, start.id), say)
            with np.load(scored(done, test, say) / "predictions.npz", allow_pickle=False) as kept:
                labels, found = kept["labels"], kept["scores"]
            scores.setdefault(method, []).append(found)
    lens = test.classes.index("lens")
    assert labels is not None
    return table_rows(labels == lens, scores)


def chosen_methods(text: str) -> list[str]:
    """The methods asked for, the source alone first.

    Raises:
        UserError: an unknown method.
    """
    names = sorted(ADAPTATIONS) if text == "all" else [ADAPTATIONS[name].name for name in text.split("+")]
    return [BASELINE, *(name for name in names if name != BASELINE)]


def data_sets(cfg: AdaptBenchConfig, say: Say) -> tuple[Dataset, Dataset, Dataset]:
    """Source, target and test set, made where they are missing."""
    test = {"lens_fraction": LENSES, "labelled_fraction": 1.0}
    wanted = (
        (f"easy-{cfg.source}", "lens-finding-easy", cfg.source, 101, {}, {"train": 0.9, "val": 0.1, "test": 0.0}),
        (f"hard-{cfg.target}", "lens-finding-hard", cfg.target, 202, {}, {"train": 0.8, "val": 0.2, "test": 0.0}),
        (f"test-{cfg.test}", "lens-finding-hard", cfg.test, 303, test, {"train": 0.0, "val": 0.0, "test": 1.0}),
    )
    folder = home() / "bench" / "adapt"
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(data_set(folder / name, *rest, say) for name, *rest in wanted)  # pyright: ignore


def start_of(cfg: AdaptBenchConfig, seed: int, source: Dataset, target: Dataset) -> RunSpec:
    """The run that learns the source, from which every method of this seed goes on."""
    settings = {**TRAINING, **NETWORKS.get(cfg.model, {}), "epochs": cfg.first, "adapt": BASELINE,
                "target": str(target.path)}  # fmt: skip
    return plan("find", str(source.path), cfg.model, settings, seed, f"adapt, source of seed {seed}", "cpu")


def spec_of(cfg: AdaptBenchConfig, method: str, seed: int, source: Dataset, target: Dataset, start: str) -> RunSpec:
    """The run of one method and seed, from the weights of run ``start``; the same names the same run."""
    settings = {**TRAINING, **NETWORKS.get(cfg.model, {}), **STARTED.get(method, {}), "lr": TRAINING["lr"] / 2,
                "epochs": cfg.epochs, "adapt": method, "target": str(target.path), "init": start}  # fmt: skip
    return plan("find", str(source.path), cfg.model, settings, seed, f"adapt {method}, seed {seed}", "cpu")


def table_rows(
    is_lens: Bool[np.ndarray, " n"], scores: Mapping[str, Sequence[Float[np.ndarray, " n"]]]
) -> dict[str, dict[str, Any]]:
    """Rows of the table from the scores of every method and seed on the same images."""
    draws = {method: _over_seeds(is_lens, found) for method, found in scores.items()}
    rows, peer = {}, draws[BASELINE]["auroc"][0]
    for method, found in draws.items():
        seeds = {name: _per_seed(is_lens, scores[method], name) for name in METRICS}
        row: dict[str, Any] = {name: {**interval(values), "seeds": seeds[name]}
                               for name, values in found.items()}  # fmt: skip
        ours = found["auroc"][0]
        difference = interval(found["auroc"] - draws[BASELINE]["auroc"])
        sign = "A better" if difference["low"] > 0 else "B better" if difference["high"] < 0 else "not distinguishable"
        row |= {"ours": ours, "peer": peer, "ratio": (1 - peer) / max(1e-9, 1 - ours), "limit": None,
                "unit": "AUROC; ratio of 1 - AUROC", "machine": describe(), "peer_name": "source only"}  # fmt: skip
        if method != BASELINE:
            row |= {"difference": {**difference, "verdict": VERDICTS[sign]}, "note": VERDICTS[sign]}
        rows[f"adapt_{method}"] = row
    return rows


def _over_seeds(is_lens: np.ndarray, scores: Sequence[np.ndarray]) -> dict[str, Float[np.ndarray, " b+1"]]:
    found = over_seeds(is_lens, [find_statistic(is_lens, one) for one in scores])
    return {name: found[name] for name in METRICS}


def _per_seed(is_lens: np.ndarray, scores: Sequence[np.ndarray], name: str) -> list[float]:
    ones = np.ones((len(is_lens), 1))
    return [float(find_statistic(is_lens, one)(ones)[name][0]) for one in scores]


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as text: metrics with 95 % intervals, the gain over the source alone, and what it amounts to."""
    text = [f"{'':10} {'AUROC':>22} {'AUPRC':>22} {'TPR10':>22} {'gain in AUROC':>26} {'1-AUROC':>8}  verdict"]
    for name, row in rows.items():
        metrics = " ".join(f"{numbers(row[metric]):>22}" for metric in METRICS)
        gain = numbers(row["difference"], "+") if "difference" in row else "-"
        verdict = row["difference"]["verdict"] if "difference" in row else "source only"
        text.append(f"{name.removeprefix('adapt_'):10} {metrics} {gain:>26} {1 / row['ratio']:>7.2f}x  {verdict}")
    seeds = len(next(iter(rows.values()))["auroc"]["seeds"])
    best = max(rows.values(), key=lambda row: row["ours"])
    many = f"{seeds} seed{'s' if seeds > 1 else ''}"
    text.append(f"Means over {many}; in brackets 95 % over resampled images and seeds; gains on the same images.")
    if "difference" in best:
        text.append(f"Best: {numbers(best['difference'], '+')} in AUROC, 1 - AUROC {1 / best['ratio']:.2f} times that "
                    "of the source alone.")  # fmt: skip
    idle = [name.removeprefix("adapt_") for name, row in rows.items() if row.get("note", "helps") != "helps"]
    return [*text, f"Do not help here: {', '.join(idle)}."] if idle else text
