"""Evaluation: one honest protocol, a report with intervals, and the predictions behind it."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.metrics import baseline_rows, classification_metrics
from deeplense_core.predict import Trained, load_model
from deeplense_core.runs import Run, open_run
from deeplense_core.sources import SIM, TEST, Images, describe, simulated_images, stored_images
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import home

Progress = Callable[[int, int], None]
BLOCK = 256


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
    there = check_classes(model, data)
    part, fingerprint = held_out(data, split, model.card["seed"], model.card["test_images"])
    part = dataclasses.replace(part, labels=np.array([model.classes.index(c) for c in there])[part.labels])
    outputs = _outputs(model, part, _pixel_scale(data), progress)
    return record(model, outputs, part, data, split, fingerprint)


def record(
    model: Trained, outputs: np.ndarray, part: Images, data: str, split: str, fingerprint: str
) -> dict[str, Any]:
    """The report of these outputs, written with the predictions beside the model."""
    probabilities = model.calibrate(outputs)
    report = {
        "run": model.name, "data": data, "split": split, "n": len(part.labels),
        "metrics": classification_metrics(part.labels, probabilities, model.classes),
        "rows": baseline_rows(part.labels, model.classes),
        "classes": list(model.classes), "data_fingerprint": fingerprint, "time": time.time(),
        "seen_in_training": split in ("train", "val", "all") and fingerprint == model.card["data_fingerprint"],
    }
    short = fingerprint if fingerprint.startswith("sim-") else fingerprint[:12]
    folder = evaluations_dir(model) / f"{short}-{split}"
    folder.mkdir(parents=True, exist_ok=True)
    payload = io.BytesIO()
    np.savez_compressed(payload, ids=part.ids.astype("U"), labels=part.labels, logits=outputs,
                        probabilities=probabilities)
    atomic_write(folder / "predictions.npz", payload.getvalue())
    atomic_write(folder / "report.json", json.dumps(report, indent=1).encode())
    return report


def evaluations_dir(model: Trained) -> Path:
    """Beside the run's files; for a shipped model, which is read-only, in the workspace."""
    is_run = (model.folder / "spec.json").exists()
    return (model.folder if is_run else home() / "shipped" / model.name) / "evaluations"


def evaluations(run: Run) -> list[tuple[Path, dict[str, Any]]]:
    """Every evaluation of a run, newest first: its folder and its report."""
    found = []
    for path in (run.path / "evaluations").glob("*/report.json"):
        try:
            found.append((path.parent, json.loads(path.read_bytes())))
        except (OSError, ValueError):
            continue  # half-written by a full disk: the evaluation can be made again
    return sorted(found, key=lambda pair: pair[1].get("time", 0.0), reverse=True)


def evaluate_after_training(run: Run) -> dict[str, Any] | None:
    """The test split of the run's own data, reported once; None where there is no test split."""
    data = run.spec.data
    if not data.startswith(SIM) and not len(open_dataset(Path(data)).rows("test")):
        return None
    return evaluate(open_run(run.id).id, data)


def held_out(data: str, split: str, seed: int, count: int) -> tuple[Images, str]:
    """Images, labels and ids of a split, and the fingerprint of their data.

    ``seed`` and ``count`` choose the test set of online simulation: streams that training never draws.
    """
    if data.startswith(SIM):
        if split != "test":
            raise UserError(f"Simulated data has a test split only; {split!r} was asked for.")
        recipe = data.removeprefix(SIM)
        name = f"sim-{recipe}-{seed}"
        return simulated_images(recipe, count, seed, TEST, _device()), name
    ds = open_dataset(Path(data))
    part = stored_images(ds, split)
    if not len(part):
        raise UserError(f"Data set {ds.name!r} has no labelled images in split {split!r}. Try --split all.")
    return part, ds.fingerprint


def check_classes(model: Trained, data: str) -> tuple[str, ...]:
    """The classes of the data, each of them known to the model.

    Raises:
        UserError: naming both lists.
    """
    there = describe(data).classes
    if unknown := [name for name in there if name not in model.classes]:
        raise UserError(f"{data!r} has class {unknown[0]!r}, which {model.name!r} does not know: it tells apart "
                        f"{', '.join(model.classes)}.")
    return there


def _outputs(model: Trained, part: Images, pixel_scale: float | None, progress: Progress | None) -> np.ndarray:
    outputs: list[np.ndarray] = []
    for block in part.blocks(BLOCK):
        fitted, _ = model.fit(block, pixel_scale)
        outputs.append(model.logits(fitted))
        if progress:
            progress(min(len(outputs) * BLOCK, len(part)), len(part))
    return np.concatenate(outputs)


def _pixel_scale(data: str) -> float | None:
    return describe(data).pixel_scale_arcsec


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
