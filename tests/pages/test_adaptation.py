"""Adaptation on the pages: the switch of the training form, and the panel of what it was worth."""

import io
import json
import shlex

import numpy as np
import pytest
from finders_home import CLASSES, cutout_set, finder
from trained_run import said

from deeplense_core import jobs
from deeplense_core.data import DatasetWriter
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.workspace import datasets_dir
from pages.ui.adaptation import label_note, methods_for, survey_options

NAMES = ("none", "adda", "dann", "finetune", "fixmatch", "mmd", "wdgrl")


def survey(name: str = "mine", labelled: int = 0, bands: int = 3, count: int = 24):
    """A user's own cutouts, the first few of them labelled."""
    images = np.random.default_rng(1).random((count, bands, 32, 32)).astype(np.float32)
    with DatasetWriter(datasets_dir() / name, classes=CLASSES, shape=images.shape[1:], source={"kind": "test"}) as out:
        out.append(images, {"label": np.where(np.arange(count) < labelled, CLASSES[0], "")})
        return out.finish(splits={"train": 1.0, "val": 0.0, "test": 0.0})


def facts(verdict: str = "helps", **changes) -> dict:
    """What a report says of an adapted network."""
    auc = {"before": {"value": 0.93, "low": 0.91, "high": 0.95}, "after": {"value": 0.61, "low": 0.57, "high": 0.65}}
    difference = {"value": 0.06, "low": 0.02, "high": 0.1, "verdict": verdict}
    found = {"method": "dann", "target": "/sets/<b>mine</b>", "source_only": "twin", "domain_auc": auc,
             "auroc": {"adapted": auc["before"], "source_only": auc["after"]}, "difference": difference,
             "images": {"source": 8, "target": 8}}  # fmt: skip
    return found | changes


def adapted(run: Run, found: dict) -> None:
    """Writes what adaptation was worth into the run's only evaluation."""
    (folder,) = (run.path / "evaluations").iterdir()
    with np.load(folder / "predictions.npz") as kept:
        arrays = dict(kept)
    rng, file = np.random.default_rng(0), io.BytesIO()
    planes = {f"domain_{when}": rng.normal(size=(16, 2)) for when, auc in found["domain_auc"].items() if auc}
    np.savez(file, **arrays, **planes, domain=np.repeat([0, 1], 8), domain_class=np.tile([0, 1, 1, -1], 4))
    (folder / "predictions.npz").write_bytes(file.getvalue())
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "adaptation": found}))


def test_the_form_adapts_to_ones_own_cutouts(open_page, monkeypatch):
    monkeypatch.setitem(jobs.LAUNCHERS, "local", lambda run: None)
    cutout_set(60)
    mine = survey()
    app = open_page("train")
    app.segmented_control(key="train_task").set_value("find").run()
    app.selectbox(key="train_data").set_value("sim:lens-finding-easy").run()
    assert "adapt=" not in app.code[0].value
    app.toggle(key="train_survey").set_value(True).run()
    assert not app.exception
    app.selectbox(key="train_target").set_value(str(mine.path)).run()
    words = set(shlex.split(app.code[0].value))
    assert {"adapt=dann", f"target={mine.path}"} <= words
    assert "none with a label" in said(app)
    app.button(key="train_start").click().run()
    assert not app.exception
    assert not app.error
    (row,) = list_runs()
    assert open_run(row.id).spec.train_settings["target"] == str(mine.path)
    app.toggle(key="train_survey").set_value(False).run()
    assert "target=" not in app.code[0].value


def test_methods_that_need_labels_are_offered_where_there_are_some(workspace):
    assert list(methods_for(0, NAMES)) == ["none", "adda", "dann", "mmd", "wdgrl"]
    assert list(methods_for(5, NAMES)) == list(NAMES)
    assert list(methods_for(None, NAMES)) == list(NAMES)
    assert "24 training images, 5 of them with a label" in label_note(24, 5)


def test_targets_have_the_bands_of_the_source(workspace):
    cutouts, mine, grey = cutout_set(60), survey(), survey("grey", bands=1)
    options = survey_options(str(cutouts.path))
    assert str(mine.path) in options
    assert str(grey.path) not in options
    assert str(cutouts.path) not in options
    assert "sim:lens-finding-hard" in options
    assert "sim:lens-finding-hard" not in survey_options("sim:lens-finding-hard")


@pytest.mark.parametrize(("verdict", "box"), [
    ("helps", "success"), ("harms", "error"), ("no difference shown", "info"),
])  # fmt: skip
def test_the_verdict_and_both_surveys_are_shown(open_page, verdict, box):
    run = finder(cutout_set(200))
    adapted(run, facts(verdict))
    app = open_page("find", run=run.id)
    assert any(verdict in block.value and "AUROC +0.060" in block.value for block in getattr(app, box))
    assert {m.label: m.value for m in app.metric}["Domain AUC after"] == "0.610"
    assert r"\<b\>mine" in said(app) or "b\\>" in said(app)
    titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in app.get("plotly_chart")]
    assert any(title.startswith("Before: domain AUC 0.930") for title in titles)
    assert any(title.startswith("After: domain AUC 0.610") for title in titles)


def test_without_a_twin_the_panel_says_how_to_get_one(open_page):
    run = finder(cutout_set(200))
    apart = {"before": None, "after": {"value": 0.61, "low": 0.57, "high": 0.65}}
    adapted(run, facts(source_only=None, auroc=None, difference=None, domain_auc=apart))
    app = open_page("find", run=run.id)
    assert any("adapt = none" in block.value for block in app.info)
    assert {m.label: m.value for m in app.metric}["Domain AUC before"] == "unknown"
