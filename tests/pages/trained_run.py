"""A workspace with one tiny trained and evaluated run, made once and copied for each test that asks."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from deeplense_core.data import Dataset, DatasetWriter
from deeplense_core.runs import Run
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import datasets_dir

CLASSES = ("no", "sphere", "vort")
SETTINGS = {"epochs": 1, "batch_size": 12, "ema": 0, "pretrained": False, "precision": "float32", "compile": "off"}


def ring_set(count: int = 60, name: str = "rings", seed: int = 0) -> Dataset:
    """A data set of noisy rings, 32 x 32: plain, with a bump, with a wave."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] - 15.5
    labels = np.array(CLASSES)[np.arange(count) % 3]
    radii = rng.uniform(6, 11, count)
    images = []
    for label, radius in zip(labels, radii, strict=True):
        ring = np.exp(-((np.hypot(x, y) - radius) ** 2) / 4)
        if label == "sphere":
            ring += 0.8 * np.exp(-((x - radius) ** 2 + y**2) / 3)
        if label == "vort":
            ring *= 1 + 0.6 * np.sin(3 * np.arctan2(y, x))
        images.append(ring + rng.normal(0, 0.1, ring.shape))
    pixels = np.array(images, np.float32)[:, None]
    writer = DatasetWriter(
        datasets_dir() / name, classes=CLASSES, shape=(1, 32, 32), source={"kind": "test"}, pixel_scale_arcsec=0.1
    )
    with writer:
        bump = np.where(labels == "sphere", 0.8, np.nan)  # a quantity of one class alone, the same for all of it
        writer.append(pixels, {"label": labels, "truth_theta_E": radii * 0.1, "truth_bump": bump})
        return writer.finish(splits={"train": 0.4, "val": 0.2, "test": 0.4})


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the data set "rings" and a run of one epoch, evaluated on its test split."""
    from deeplense_core.evaluate import evaluate
    from deeplense_core.train import plan, train

    home = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPLENSE_HOME", str(home))
        data = str(ring_set().path)
        run = Run.create(plan("classify", data, "timm:test_resnet", SETTINGS, name="tiny"))
        run.set_status(state="running", started=time.time())
        run.set_status(state=train(run), finished=time.time(), progress=1.0)
        evaluate(run.id, data)
    return home


@pytest.fixture
def trained(trained_home: Path, workspace: Path) -> Run:
    """That run, in the workspace of this test."""
    shutil.copytree(trained_home, workspace, dirs_exist_ok=True)
    return Run(next(workspace.glob("runs/2*")))


def fake_run(name: str = "fake", state: str = "done", best: float | None = 0.9, **settings) -> Run:
    """A run that was never trained: its folder alone."""
    spec = RunSpec("classify", "sim:common-test", "resnet18", {"dropout": 0.0}, {"epochs": 2, **settings}, {}, 0, name)
    run = Run.create(spec)
    for epoch in (1, 2):
        run.log("train", epoch, loss=1 / epoch, lr=1e-3, images_per_s=100.0, eta_s=2.0, epoch=epoch)
        run.log("val", epoch, loss=1 / epoch, auc_macro=0.8 + 0.05 * epoch, accuracy=0.7)
    now = time.time()
    run.set_status(state=state, best=best, best_name="auc_macro" if best else "", progress=0.5, started=now - 9,
                   finished=None if state in ("queued", "running") else now)  # fmt: skip
    return run


def said(app) -> str:
    """All plain text on a page."""
    parts = [*app.markdown, *app.caption, *app.subheader, *app.info, *app.warning, *app.error, *app.code]
    return "\n".join(str(part.value) for part in parts)
