"""Evaluation: one honest protocol, a report with intervals, and the predictions behind it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.adapt import ADAPT_CONFIGS, BASELINE
from deeplense_core.adapt.report import Survey, own_settings, source_only_twin
from deeplense_core.adapt.report import report as adaptation_report
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.models import learns, model_entry
from deeplense_core.precision import best_device
from deeplense_core.runs import Run
from deeplense_core.sources import SIM, TEST, Images, describe, labelled_test, simulated_images, stored_images
from deeplense_core.storage import atomic_write
from deeplense_core.tasks import TASKS, Outcome
from deeplense_core.tasks.base import Progress
from deeplense_core.trained import Trained, load_model
from deeplense_core.workspace import results_dir


def evaluate(
    run_or_model: str, data: str, split: str = "test", progress: Progress | None = None
) -> dict[str, Any]:
    """Scores a trained network on a data set it has not seen, and keeps report and predictions.

    Args:
        run_or_model: Run id, or name of a shipped model.
        data: Folder of a data set, or ``sim:RECIPE`` for fresh simulations of a seed of their own.
        split: ``test``, ``val``, ``train`` or ``all``.
        progress: Called with images done and images in all.

    Returns:
        ``{"run", "data", "split", "n", "metrics", "rows", ...}`` as the command line prints it.

    Raises:
        UserError: unknown model, classes that do not match, an empty split.
    """
    model = load_model(run_or_model)
    task = TASKS[model.task]
    part, fingerprint = held_out(data, split, model.card["seed"], model.card["test_images"], task.about["labelled"])
    outcome = task.about["evaluate"](model, describe(data), part, progress)
    if model.card.get("adapt", BASELINE) != BASELINE and fingerprint != model.card["data_fingerprint"]:
        outcome = _with_adaptation(model, outcome, Survey(describe(data), part))
    return record(model, outcome, part, data, split, fingerprint)


def kept(model: Trained, data: str, split: str) -> tuple[Path, dict[str, Any]] | None:
    """Folder and report of the evaluation of these weights on these images, where the workspace holds it already."""
    written = 0.0
    if learns(model_entry(model.card["model"])):
        written = (model.folder / "model.safetensors").stat().st_mtime
    wanted = fingerprint_of(data, model.card["seed"]), split
    return next(((folder, report) for folder, report in evaluations(model.name) if report["time"] > written
                 and (report["data_fingerprint"], report["split"]) == wanted), None)  # fmt: skip


def evaluated(
    run_or_model: str, data: str, split: str = "test", progress: Progress | None = None
) -> tuple[Path, dict[str, Any]]:
    """As :func:`kept`, made by :func:`evaluate` where it is missing; arguments as there."""
    found = kept(load_model(run_or_model), data, split)
    if found is None:
        report = evaluate(run_or_model, data, split, progress)
        found = _folder(report), report
    return found


def fingerprint_of(data: str, seed: int) -> str:
    """What tells a body of held-out images from all others; simulated ones are drawn by the network's ``seed``."""
    return f"sim-{data.removeprefix(SIM)}-{seed}" if data.startswith(SIM) else open_dataset(Path(data)).fingerprint


def record(
    model: Trained, outcome: Outcome, part: Images, data: str, split: str, fingerprint: str
) -> dict[str, Any]:
    """The report of an outcome, written with its arrays beside the model."""
    report = {
        "run": model.name, "task": model.task, "data": data, "split": split, "n": len(part),
        "metrics": outcome.metrics, "rows": outcome.rows, **outcome.facts,
        "data_fingerprint": fingerprint, "time": time.time(),
        "seen_in_training": split in ("train", "val", "all") and fingerprint in (
            model.card["data_fingerprint"], model.card.get("target_fingerprint")),
    }
    folder = _folder(report)
    folder.mkdir(parents=True, exist_ok=True)
    payload = io.BytesIO()
    arrays: dict[str, Any] = {"ids": part.ids.astype("U"), **outcome.arrays}
    np.savez_compressed(payload, **arrays)
    atomic_write(folder / "predictions.npz", payload.getvalue())
    atomic_write(folder / "report.json", json.dumps(report, indent=1).encode())
    return report


def _folder(report: Mapping[str, Any]) -> Path:
    """Where a report and its arrays are kept."""
    fingerprint = report["data_fingerprint"]
    short = fingerprint if fingerprint.startswith("sim-") else fingerprint[:12]
    return results_dir(report["run"]) / "evaluations" / f"{short}-{report['split']}"


def _with_adaptation(model: Trained, outcome: Outcome, target: Survey) -> Outcome:
    """The outcome on another survey's images with what adaptation to it was worth."""
    lens = model.classes.index(LENS_CLASSES[0])
    facts, arrays = adaptation_report(model, source_only_twin(model.name, own_settings(ADAPT_CONFIGS)), target,
                                      outcome.arrays["labels"], outcome.arrays["scores"], lens)  # fmt: skip
    return replace(outcome, facts={**outcome.facts, "adaptation": facts}, arrays={**outcome.arrays, **arrays})


def evaluate_after_training(run: Run) -> dict[str, Any] | None:
    """The test split of the run's own data, reported once; None where there is no test split.

    That of its target too, where the run has one that carries labels; without any, how far apart the surveys lie.
    """
    data, target = run.spec.data, run.spec.train_settings.get("target", "")
    report = None
    if data.startswith(SIM) or len(open_dataset(Path(data)).rows("test")):
        report = evaluate(run.id, data)
    if target.startswith(SIM) or (target and _both_classes(target)):
        evaluate(run.id, target)
    elif target and run.spec.train_settings["adapt"] != BASELINE:
        compare_surveys(run.id)
    return report


def compare_surveys(run_id: str) -> dict[str, Any]:
    """How far apart source and target of an adapted run lie in its features, where the target carries no labels.

    Kept in the run's folder ``adaptation``: ``report.json`` and ``domains.npz``.
    """
    model = load_model(run_id)
    dataset = open_dataset(Path(model.card["target"]))
    split = next((name for name in ("test", "val", "train") if len(dataset.rows(name))), "all")
    survey = Survey(describe(model.card["target"]), stored_images(dataset, split, labelled=False))
    twin = source_only_twin(model.name, own_settings(ADAPT_CONFIGS))
    facts, arrays = adaptation_report(model, twin, survey, None, None, model.classes.index(LENS_CLASSES[0]))
    folder = results_dir(run_id) / "adaptation"
    folder.mkdir(parents=True, exist_ok=True)
    payload = io.BytesIO()
    np.savez_compressed(payload, **arrays)  # pyright: ignore[reportArgumentType]
    atomic_write(folder / "domains.npz", payload.getvalue())
    facts |= {"split": split, "classes": list(model.classes)}
    atomic_write(folder / "report.json", json.dumps(facts, indent=1).encode())
    return facts


def _both_classes(data: str) -> bool:
    """Whether the test split of a data set has labelled images of two classes at least."""
    dataset = open_dataset(Path(data))
    labels = dataset.labels[dataset.rows("test")]
    return len(np.unique(labels[labels >= 0])) > 1


def held_out(data: str, split: str, seed: int, count: int, labelled: bool) -> tuple[Images, str]:
    """Images, labels and ids of a split, and the fingerprint of their data.

    ``seed`` and ``count`` choose the test set of online simulation: streams that training never draws.
    ``labelled`` leaves images without a label out.
    """
    if data.startswith(SIM):
        if split != "test":
            raise UserError(f"Simulated data has a test split only; {split!r} was asked for.")
        recipe = data.removeprefix(SIM)
        return simulated_images(recipe, count, seed, TEST, best_device()), fingerprint_of(data, seed)
    ds = open_dataset(Path(data))
    part = labelled_test(ds) if labelled and split == "test" else stored_images(ds, split, labelled)
    if not len(part):
        kind = "labelled images" if labelled else "images"
        raise UserError(f"Data set {ds.name!r} has no {kind} in split {split!r}. Try --split all.")
    return part, ds.fingerprint
