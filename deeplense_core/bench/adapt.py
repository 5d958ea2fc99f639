"""Every method of domain adaptation, from easy to hard lens finding, beside the source alone, in one table.

It takes hours, and is taken up where it was left: data sets and runs that are there are not made again. Trained on
``lens-finding-easy`` with the images of ``lens-finding-hard`` (one in five labelled) as the target; the epoch is
chosen on the labelled part of the target's validation split for every method alike; scored once on another hard set,
all of it labelled, in which one image in a hundred is a lens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from deeplense_core import jobs
from deeplense_core.adapt import ADAPTATIONS, BASELINE
from deeplense_core.adapt.report import VERDICTS
from deeplense_core.data import Dataset, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluate
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.machine import describe
from deeplense_core.metrics import bootstrap
from deeplense_core.metrics.finding import find_statistic
from deeplense_core.runs import RESUMABLE, Run, list_runs, open_run
from deeplense_core.sim import simulate_dataset
from deeplense_core.spec import RunSpec, knob, make_config
from deeplense_core.train import plan
from deeplense_core.workspace import home

METRICS = ("auroc", "auprc", "tpr10")
LENSES = 0.01
"""Of the images of the test set."""
RESAMPLES = 1000


@dataclass(frozen=True)
class AdaptBenchConfig:
    """Sizes of the comparison."""

    methods: str = knob("all", "Methods to compare, joined by +; the source alone is always among them")
    seeds: int = knob(3, "Trainings of each method", ge=1, le=20)
    source: int = knob(12_000, "Images of the easy set", ge=100, le=1_000_000)
    target: int = knob(16_000, "Images of the hard set to adapt to, one in five labelled", ge=200, le=1_000_000)
    test: int = knob(10_000, "Images of the hard test set, one in a hundred a lens", ge=200, le=1_000_000)
    epochs: int = knob(3, "Passes over the easy set; more learn it by heart and the target no better", ge=1, le=1000)
    model: str = knob("d4net", "Network")


NETWORKS: Mapping[str, Mapping[str, Any]] = {"d4net": {"radii": 32, "angles": 64}}
"""Settings of a network that make it small enough to train many."""
TRAINING = {"lr": 0.003, "ema": 0.99, "patience": 0, "precision": "float32", "compile": "off"}


def run(settings: Mapping[str, Any], say: Callable[[str], object] = lambda text: None) -> dict[str, dict[str, Any]]:
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
        for method in methods:
            done = trained(spec_of(cfg, method, seed, source, target), say)
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


def data_sets(cfg: AdaptBenchConfig, say: Callable[[str], object]) -> tuple[Dataset, Dataset, Dataset]:
    """Source, target and test set, made where they are missing."""
    test = {"lens_fraction": LENSES, "labelled_fraction": 1.0}
    wanted = (
        (f"easy-{cfg.source}", "lens-finding-easy", cfg.source, 101, {}, {"train": 0.9, "val": 0.1, "test": 0.0}),
        (f"hard-{cfg.target}", "lens-finding-hard", cfg.target, 202, {}, {"train": 0.8, "val": 0.2, "test": 0.0}),
        (f"test-{cfg.test}", "lens-finding-hard", cfg.test, 303, test, {"train": 0.0, "val": 0.0, "test": 1.0}),
    )
    folder = home() / "bench" / "adapt"
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_data_set(folder / name, *rest, say) for name, *rest in wanted)  # pyright: ignore


def _data_set(
    folder: Path, recipe: str, count: int, seed: int, settings: Mapping[str, Any], splits: Mapping[str, float],
    say: Callable[[str], object],
) -> Dataset:  # fmt: skip
    if folder.exists():
        return open_dataset(folder)
    say(f"making {count:,} images of {recipe}")
    return simulate_dataset(recipe, count, folder, seed=seed, settings=settings, splits=splits, features=False)


def spec_of(cfg: AdaptBenchConfig, method: str, seed: int, source: Dataset, target: Dataset) -> RunSpec:
    """The run of one method and seed; the same names the same run."""
    settings = {**TRAINING, **NETWORKS.get(cfg.model, {}), "epochs": cfg.epochs, "adapt": method,
                "target": str(target.path)}  # fmt: skip
    return plan("find", str(source.path), cfg.model, settings, seed, f"adapt {method}, seed {seed}", "cpu")


def trained(spec: RunSpec, say: Callable[[str], object]) -> Run:
    """A finished run of this specification: one that is there, one taken up again, or a new one.

    Raises:
        UserError: it failed, or is being trained by another process.
    """
    same = [open_run(row.id) for row in list_runs() if row.task == spec.task and row.name == spec.name]
    run = next((run for run in same if run.spec == spec), None)
    if run is not None and run.status.state == "done":
        return run
    say(f"{spec.name}: training")
    if run is None:
        run = jobs.submit(spec, where="here")
    elif jobs.refresh(run).state in RESUMABLE:
        run = jobs.resume(run, where="here")
    if run.status.state != "done":
        raise UserError(f"Run {run.id} is {run.status.state}: {run.status.cause or 'it goes on in another process'}. "
                        "The same command goes on from here.")
    return run


def scored(run: Run, test: Dataset, say: Callable[[str], object]) -> Path:
    """The folder of the run's evaluation on the test set, made where it is missing."""
    for folder, report in evaluations(run.id):
        if report["data_fingerprint"] == test.fingerprint and report["split"] == "test":
            return folder
    say(f"{run.spec.name}: scoring {len(test):,} images")
    evaluate(run.id, str(test.path))
    return scored(run, test, say)


def table_rows(
    is_lens: Bool[np.ndarray, " n"], scores: Mapping[str, Sequence[Float[np.ndarray, " n"]]]
) -> dict[str, dict[str, Any]]:
    """Rows of the table from the scores of every method and seed on the same images."""
    draws = {method: over_seeds(is_lens, found) for method, found in scores.items()}
    rows, peer = {}, draws[BASELINE]["auroc"][0]
    for method, found in draws.items():
        seeds = {name: _per_seed(is_lens, scores[method], name) for name in METRICS}
        row: dict[str, Any] = {name: {**_interval(values[1:], values[0]), "seeds": seeds[name]}
                               for name, values in found.items()}  # fmt: skip
        ours = found["auroc"][0]
        apart = found["auroc"] - draws[BASELINE]["auroc"]
        difference = _interval(apart[1:], apart[0])
        sign = "A better" if difference["low"] > 0 else "B better" if difference["high"] < 0 else "not distinguishable"
        row |= {"ours": ours, "peer": peer, "ratio": (1 - peer) / max(1e-9, 1 - ours), "limit": None,
                "unit": "AUROC; ratio of 1 - AUROC", "machine": describe(), "peer_name": "source only"}  # fmt: skip
        if method != BASELINE:
            row |= {"difference": {**difference, "verdict": VERDICTS[sign]}, "note": VERDICTS[sign]}
        rows[f"adapt_{method}"] = row
    return rows


def over_seeds(
    is_lens: Bool[np.ndarray, " n"], scores: Sequence[Float[np.ndarray, " n"]], resamples: int = RESAMPLES
) -> dict[str, Float[np.ndarray, " b+1"]]:
    """Metrics, mean over the seeds: the value first, then one a resample of images and of seeds.

    Images are drawn alike for every method, so that differences are paired.
    """
    each = [find_statistic(is_lens, one) for one in scores]
    ones = np.ones((len(is_lens), 1))
    points = [statistic(ones) for statistic in each]
    drawn = [bootstrap.collect(statistic, is_lens, resamples, 0) for statistic in each]
    seeds = np.random.default_rng(1).integers(0, len(each), size=(len(each), resamples))
    return {
        name: np.append(np.mean([point[name] for point in points]),
                        np.take_along_axis(np.array([one[name] for one in drawn]), seeds, axis=0).mean(0))
        for name in METRICS
    }  # fmt: skip


def _interval(drawn: np.ndarray, point: float) -> dict[str, float]:
    low, high = bootstrap.interval(drawn, float(point))
    return {"value": float(point), "low": low, "high": high}


def _per_seed(is_lens: np.ndarray, scores: Sequence[np.ndarray], name: str) -> list[float]:
    ones = np.ones((len(is_lens), 1))
    return [float(find_statistic(is_lens, one)(ones)[name][0]) for one in scores]


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as text: metrics with 95 % intervals, the gain over the source alone, and what it amounts to."""
    text = [f"{'':10} {'AUROC':>22} {'AUPRC':>22} {'TPR10':>22} {'gain in AUROC':>26} {'1-AUROC':>8}  verdict"]
    for name, row in rows.items():
        numbers = " ".join(f"{_numbers(row[metric], ''):>22}" for metric in METRICS)
        gain = _numbers(row["difference"], "+") if "difference" in row else "-"
        verdict = row["difference"]["verdict"] if "difference" in row else "source only"
        text.append(f"{name.removeprefix('adapt_'):10} {numbers} {gain:>26} {1 / row['ratio']:>7.2f}x  {verdict}")
    seeds = len(next(iter(rows.values()))["auroc"]["seeds"])
    best = max(rows.values(), key=lambda row: row["ours"])
    many = f"{seeds} seed{'s' if seeds > 1 else ''}"
    text.append(f"Means over {many}; in brackets 95 % over resampled images and seeds; gains on the same images.")
    if "difference" in best:
        text.append(f"Best: {_numbers(best['difference'], '+')} in AUROC, 1 - AUROC {1 / best['ratio']:.2f} times that "
                    "of the source alone.")  # fmt: skip
    idle = [name.removeprefix("adapt_") for name, row in rows.items() if row.get("note", "helps") != "helps"]
    return [*text, f"Do not help here: {', '.join(idle)}."] if idle else text


def _numbers(metric: Mapping[str, float], sign: str) -> str:
    value, low, high = (f"{metric[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low}, {high})"
