"""Every method of domain adaptation, from easy to hard lens finding, beside the source alone, in one table.

It takes hours, and is taken up where it was left: data sets and runs that are there are not made again. A network
learns ``lens-finding-easy``; from its weights every method, the source alone among them, goes on for equally many
passes with the images of ``lens-finding-hard`` (one in five labelled) as the target. The epoch is chosen on the
labelled part of the target's validation split for all alike; each is scored once on another hard set, all of it
labelled, in which one image in a hundred is a lens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplense_core.adapt import ADAPTATIONS, BASELINE
from deeplense_core.adapt.report import VERDICTS
from deeplense_core.bench.finder_table import lines as finder_lines
from deeplense_core.bench.finder_table import rare_lenses, scores_on, table_rows
from deeplense_core.bench.study import Say, data_set, trained
from deeplense_core.data import Dataset
from deeplense_core.spec import RunSpec, knob, make_config
from deeplense_core.train import plan
from deeplense_core.workspace import home


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
    is_lens, scores = np.zeros(0, bool), {}
    for seed in range(1, cfg.seeds + 1):
        start = trained(start_of(cfg, seed, source, target), say)
        for method in methods:
            done = trained(spec_of(cfg, method, seed, source, target, start.id), say)
            is_lens, found = scores_on(test, done, say)
            scores.setdefault(method, []).append(found)
    return table_rows(is_lens, scores, "adapt", BASELINE, "source only", VERDICTS)


def chosen_methods(text: str) -> list[str]:
    """The methods asked for, the source alone first.

    Raises:
        UserError: an unknown method.
    """
    names = sorted(ADAPTATIONS) if text == "all" else [ADAPTATIONS[name].name for name in text.split("+")]
    return list(dict.fromkeys([BASELINE, *names]))


def data_sets(cfg: AdaptBenchConfig, say: Say) -> tuple[Dataset, Dataset, Dataset]:
    """Source, target and test set, made where they are missing."""
    folder = home() / "bench" / "adapt"
    folder.mkdir(parents=True, exist_ok=True)
    source = data_set(folder / f"easy-{cfg.source}", "lens-finding-easy", cfg.source, 101, {},
                      {"train": 0.9, "val": 0.1, "test": 0.0}, say)  # fmt: skip
    target = data_set(folder / f"hard-{cfg.target}", "lens-finding-hard", cfg.target, 202, {},
                      {"train": 0.8, "val": 0.2, "test": 0.0}, say)  # fmt: skip
    return source, target, rare_lenses(folder, cfg.test, 303, say)


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


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as text, and which methods do not help."""
    idle = [name.removeprefix("adapt_") for name, row in rows.items() if row.get("note", "helps") != "helps"]
    return [*finder_lines(rows, "adapt"), *([f"Do not help here: {', '.join(idle)}."] if idle else ())]
