"""A workspace with a set of cutouts and finders that were never trained: their scores are drawn, their truth known."""

from __future__ import annotations

import io
import json
import time

import numpy as np

from deeplense_core import metrics
from deeplense_core.data import Dataset, DatasetWriter
from deeplense_core.runs import Run
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import datasets_dir

CLASSES = ("lens", "nonlens")


def cutout_set(count: int = 600, name: str = "cutouts", every: int = 10, side: int = 32) -> Dataset:
    """Cutouts in three bands, every tenth with a ring around its galaxy; the ring's radius is known."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    r = np.hypot(x, y)
    labels = np.where(np.arange(count) % every == 0, *CLASSES)
    radii = np.where(labels == "lens", rng.uniform(4, 10, count), np.nan)
    writer = DatasetWriter(datasets_dir() / name, classes=CLASSES, shape=(3, side, side), source={"kind": "test"},
                           pixel_scale_arcsec=0.17, bands=("g", "r", "i"))  # fmt: skip
    with writer:
        for start in range(0, count, 500):
            part = radii[start : start + 500, None, None]
            images = np.exp(-r / 2)[None] + 0.4 * np.nan_to_num(np.exp(-((r[None] - part) ** 2) / 2))
            images = images[:, None] * np.array([0.5, 0.8, 1.0])[None, :, None, None]
            images = (images + rng.normal(0, 0.05, images.shape)).astype(np.float32)
            writer.append(images, {"label": labels[start : start + 500],
                                   "truth_theta_E": radii[start : start + 500] * 0.17})  # fmt: skip
        return writer.finish(splits={"train": 0.0, "val": 0.0, "test": 1.0})


def finder(dataset: Dataset, name: str = "good", skill: float = 2.0, seed: int = 0, leaky: bool = False,
           boot: int = 100) -> Run:  # fmt: skip
    """A run of that name with an evaluation on all of the set; larger rings get higher scores."""
    run = Run.create(RunSpec("find", str(dataset.path), "d4net", {}, {"epochs": 1}, {}, 0, name))
    now = time.time()
    run.set_status(state="done", best=0.9, best_name="auroc", progress=1.0, started=now - 9, finished=now)
    card = {"task": "find", "data": str(dataset.path), "classes": list(CLASSES), "shape": list(dataset.shape)}
    run.save_file("model.json", json.dumps(card).encode())
    labels, rng = dataset.labels, np.random.default_rng(seed)
    radii = dataset.catalog["truth_theta_E"].to_numpy()
    logit = skill * np.nan_to_num(radii / 0.17 - 4) / 2 * (labels == 0) + rng.normal(size=len(labels)) - 2
    p = 1 / (1 + np.exp(-logit))
    folder = run.path / "evaluations" / "cutouts-test"
    folder.mkdir(parents=True)
    file = io.BytesIO()
    np.savez(file, ids=dataset.catalog["id"].to_numpy().astype("U"), labels=labels,
             probabilities=np.stack([p, 1 - p], 1), truth_theta_E=radii.astype(np.float32))  # fmt: skip
    (folder / "predictions.npz").write_bytes(file.getvalue())
    report = {
        "run": run.id, "task": "find", "data": str(dataset.path), "split": "test", "n": len(labels),
        "metrics": metrics.find_metrics(labels == 0, p, boot), "rows": metrics.find_baselines(labels == 0),
        "classes": list(CLASSES), "data_fingerprint": dataset.fingerprint, "time": now, "seen_in_training": False,
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report | ({"leaky": True} if leaky else {})))
    return run
