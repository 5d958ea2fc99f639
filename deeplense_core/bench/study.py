"""What studies share: data sets and runs that are made once and taken up again, and means over seeds and images."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from deeplense_core import jobs
from deeplense_core.data import Dataset, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluated, kept
from deeplense_core.metrics import bootstrap
from deeplense_core.registry import nearest
from deeplense_core.runs import ACTIVE, RESUMABLE, Run, list_runs, open_run
from deeplense_core.sim import simulate_dataset
from deeplense_core.spec import RunSpec
from deeplense_core.trained import load_model

RESAMPLES = 1000
LOOK_AGAIN_S = 2.0
"""Between two looks at a run that another process trains."""
Say = Callable[[str], object]
"""Told what is being done."""


def data_set(
    folder: Path, recipe: str, count: int, seed: int, settings: Mapping[str, Any], splits: Mapping[str, float],
    say: Say, features: bool = False,
) -> Dataset:
    """The simulated set in ``folder``, made where it is missing; with features measured from its images if asked."""
    if folder.exists():
        return open_dataset(folder)
    say(f"making {count:,} images of {recipe}")
    return simulate_dataset(recipe, count, folder, seed=seed, settings=settings, splits=splits, features=features)


def trained(spec: RunSpec, say: Say) -> Run:
    """A finished run of this specification: one that is there, one taken up again, or a new one.

    One that another process is training is waited for, so that several commands share the work of a study, each with
    a slot of its own (``DEEPLENSE_SLOTS``).

    Raises:
        UserError: it failed.
    """
    same = [open_run(row.id) for row in list_runs() if row.task == spec.task and row.name == spec.name]
    run = next((run for run in same if run.spec == spec), None)
    if run is not None and jobs.refresh(run).state in ACTIVE:
        say(f"{spec.name}: waiting for the process that trains it")
        while jobs.refresh(run).state in ACTIVE:
            time.sleep(LOOK_AGAIN_S)
    if run is not None and run.status.state == "done":
        return run
    say(f"{spec.name}: training")
    if run is None:
        run = jobs.submit(spec, where="here")
    elif run.status.state in RESUMABLE:
        run = jobs.resume(run, where="here")
    if run.status.state != "done":
        raise UserError(f"Run {run.id} is {run.status.state}: {run.status.cause or 'it was ended'}. "
                        "The same command goes on from here.")
    return run


def scored(run: Run, test: Dataset, say: Say) -> Path:
    """The folder of the run's evaluation on the test set, made where it is missing."""
    found = kept(load_model(run.id), str(test.path), "test")
    if found is None:
        say(f"{run.spec.name}: scoring {len(test):,} images")
        found = evaluated(run.id, str(test.path))
    return found[0]


def asked_for(setting: str, text: str, known: Collection[str]) -> list[str]:
    """The names that a setting joins by +, in their order; ``all`` is every known one.

    Raises:
        UserError: one that is not known.
    """
    names = list(known) if text == "all" else text.split("+")
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{setting} = {unknown[0]!r} is not part of this study. {nearest(unknown[0], list(known))}")
    return names


def over_seeds(
    strata: np.ndarray, statistics: Sequence[bootstrap.Statistic], resamples: int = RESAMPLES
) -> dict[str, Float[np.ndarray, " b+1"]]:
    """Metrics, mean over the seeds: the value first, then one a resample of images and of seeds.

    Images are drawn alike for every row of a table, so that differences are paired.

    Args:
        strata: (n,) class of each image.
        statistics: One a seed: weights (n, b) -> values (b,) by name.
        resamples: How many, b.
    """
    points = [statistic(np.ones((len(strata), 1))) for statistic in statistics]
    drawn = [bootstrap.collect(statistic, strata, resamples, 0) for statistic in statistics]
    seeds = np.random.default_rng(1).integers(0, len(statistics), size=(len(statistics), resamples))
    return {
        name: np.append(np.mean([point[name] for point in points]),
                        np.take_along_axis(np.array([one[name] for one in drawn]), seeds, axis=0).mean(0))
        for name in points[0]
    }  # fmt: skip


def interval(drawn: Float[np.ndarray, " b+1"]) -> dict[str, float]:
    """Value and 95 % interval of what :func:`over_seeds` gives, or of a difference of two of them."""
    low, high = bootstrap.interval(drawn[1:], float(drawn[0]))
    return {"value": float(drawn[0]), "low": low, "high": high}


def numbers(metric: Mapping[str, float], sign: str = "") -> str:
    """A metric with its interval, as the tables have it; ``+`` gives gains their sign."""
    value, low, high = (f"{metric[key]:{sign}.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low}, {high})"
