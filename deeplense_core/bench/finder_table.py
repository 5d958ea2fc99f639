"""The table of a study of finders: what several trainings scored on the same images, from scores to text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from deeplense_core import machine
from deeplense_core.bench.study import Say, data_set, interval, numbers, over_seeds
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import Dataset
from deeplense_core.metrics.finding import find_statistic, verdict_of
from deeplense_core.runs import Run
from deeplense_core.sources import describe, labelled_test
from deeplense_core.storage import atomic_write
from deeplense_core.tasks.class_answers import answers
from deeplense_core.trained import load_model
from deeplense_core.workspace import home

METRICS = ("auroc", "auprc", "tpr10")
LENSES = 0.01
"""Of the images of a test set."""


def rare_lenses(folder: Path, count: int, seed: int, say: Say, features: bool = False) -> Dataset:
    """The hard test set of a study, all of it labelled, in which lenses are rare; made where it is missing."""
    return data_set(folder / f"test-{count}", "lens-finding-hard", count, seed,
                    {"lens_fraction": LENSES, "labelled_fraction": 1.0}, {"train": 0.0, "val": 0.0, "test": 1.0}, say,
                    features)  # fmt: skip


def scores_on(
    test: Dataset, run: Run, say: Say
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Which images of the test set are lenses, and how a run scores them as they lie; scored where that is missing.

    An evaluation of the run turns each image eight ways, which takes longer here than the training.
    """
    part = labelled_test(test)
    kept = home() / "bench" / "scores" / f"{run.id}-{test.fingerprint[:12]}.npy"
    if not kept.exists():
        say(f"{run.spec.name}: scoring {len(part):,} images")
        model = load_model(run.id)
        probabilities = model.calibrate(answers(model, describe(str(test.path)), part, averaged=False))
        content = io.BytesIO()
        np.save(content, probabilities[:, model.classes.index(LENS_CLASSES[0])])
        kept.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(kept, content.getvalue())
    return part.labels == test.classes.index(LENS_CLASSES[0]), np.load(kept)


def table_rows(
    is_lens: Bool[np.ndarray, " n"], scores: Mapping[str, Sequence[Float[np.ndarray, " n"]]], study: str,
    baseline: str, peer: str, verdicts: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Rows of the table from the scores of every way and seed on the same images.

    Args:
        is_lens: The truth.
        scores: Way -> scores of each seed, higher for lenses.
        study: Begins the names of the rows.
        baseline: The way that the others are held against.
        peer: What the baseline is called.
        verdicts: What the verdicts of :func:`deeplense_core.metrics.finding.find_difference` are called, A being the
            way and B the baseline.

    Returns:
        Row -> ``ours`` (AUROC), ``peer`` (that of the baseline), ``ratio`` (of their distances from 1), metrics with
        intervals and, but for the baseline, the difference on the same images and its verdict.
    """
    draws = {way: _over_seeds(is_lens, found) for way, found in scores.items()}
    rows, theirs = {}, draws[baseline]["auroc"][0]
    for way, found in draws.items():
        seeds = {name: _per_seed(is_lens, scores[way], name) for name in METRICS}
        row: dict[str, Any] = {name: {**interval(values), "seeds": seeds[name]} for name, values in found.items()}
        ours = found["auroc"][0]
        row |= {"ours": ours, "peer": theirs, "ratio": (1 - theirs) / max(1e-9, 1 - ours), "limit": None,
                "unit": "AUROC; ratio of 1 - AUROC", "machine": machine.describe(), "peer_name": peer}  # fmt: skip
        if way != baseline:
            difference = interval(found["auroc"] - draws[baseline]["auroc"])
            verdict = verdicts[verdict_of(difference["low"], difference["high"])]
            row |= {"difference": {**difference, "verdict": verdict}, "note": verdict}
        rows[f"{study}_{way}"] = row
    return rows


def _over_seeds(is_lens: np.ndarray, scores: Sequence[np.ndarray]) -> dict[str, Float[np.ndarray, " b+1"]]:
    found = over_seeds(is_lens, [find_statistic(is_lens, one) for one in scores])
    return {name: found[name] for name in METRICS}


def _per_seed(is_lens: np.ndarray, scores: Sequence[np.ndarray], name: str) -> list[float]:
    ones = np.ones((len(is_lens), 1))
    return [float(find_statistic(is_lens, one)(ones)[name][0]) for one in scores]


def lines(rows: Mapping[str, Mapping[str, Any]], study: str) -> list[str]:
    """The table as text: metrics with 95 % intervals, the gain over the baseline, and what it amounts to."""
    names = {name: name.removeprefix(f"{study}_") for name in rows}
    wide = max(10, *map(len, names.values()))
    text = [f"{'':{wide}} {'AUROC':>22} {'AUPRC':>22} {'TPR10':>22} {'gain in AUROC':>26} {'1-AUROC':>8}  verdict"]
    for name, row in rows.items():
        metrics = " ".join(f"{numbers(row[metric]):>22}" for metric in METRICS)
        gain = numbers(row["difference"], "+") if "difference" in row else "-"
        verdict = row["difference"]["verdict"] if "difference" in row else row["peer_name"]
        text.append(f"{names[name]:{wide}} {metrics} {gain:>26} {1 / row['ratio']:>7.2f}x  {verdict}")
    seeds = len(next(iter(rows.values()))["auroc"]["seeds"])
    best = max(rows.values(), key=lambda row: row["ours"])
    many = f"{seeds} seed{'s' if seeds > 1 else ''}"
    text.append(f"Means over {many}, each image as it lies; in brackets 95 % over resampled images and seeds; gains "
                "on the same images.")
    if "difference" in best:
        text.append(f"Best: {numbers(best['difference'], '+')} in AUROC, 1 - AUROC {1 / best['ratio']:.2f} times that "
                    f"of {best['peer_name']}.")  # fmt: skip
    return text
