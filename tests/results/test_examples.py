"""The run that ships: small, whole, a run like any other once it is opened, and made of a real one."""

import json
import shutil

import numpy as np
import pytest

from deeplense_core import samples
from deeplense_core.errors import UserError
from deeplense_core.evaluations.predictions import evaluations, read_predictions
from deeplense_core.metrics import auc_macro
from deeplense_core.runs import list_runs
from deeplense_core.shelf import examples
from deeplense_core.shelf.cards import find_card
from deeplense_core.shelf.examples import EXAMPLES, compact, example_runs, open_example
from deeplense_core.trained import load_model
from deeplense_core.workspace import ROOT, runs_dir, shipped_models_dir

MOST_MB = 1.5
RUN = example_runs()[0]


def test_all_examples_are_small():
    files = [path for path in (ROOT / "assets" / "examples").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_MB * 2**20


@pytest.mark.parametrize("name", example_runs())
def test_it_becomes_a_run_with_weights_curves_samples_and_answers(name):
    run = open_example(name)
    assert [row.id for row in list_runs()] == [name]
    assert run.status.state == "done"
    assert len(list_runs()[0].val_curve) == len(run.metrics("val")) == run.spec.train_settings["epochs"]
    assert 100 < len(run.metrics("train")) < 400
    kept = samples.read(run)
    assert kept is not None
    model = load_model(name)
    np.testing.assert_allclose(model.logits(kept.images), kept.outputs, rtol=1e-4, atol=1e-4)
    (folder, report), *_ = evaluations(name)
    known = read_predictions(folder, report["classes"])
    assert auc_macro(known.labels, known.probabilities) == pytest.approx(report["metrics"]["auc_macro"]["value"])
    assert report["run"] == name
    assert find_card(name).card["classes"] == list(known.classes)


def test_its_answers_are_those_of_its_weights():
    """The first images of its test, simulated again, get the probabilities on record."""
    from deeplense_core.lookup import images_of

    run = open_example(RUN)
    (folder, report), *_ = evaluations(run.id)
    known = read_predictions(folder, report["classes"])
    model = load_model(run.id)
    images = images_of(report["data"], [str(name) for name in known.ids[:8]])
    said = model.calibrate(model.logits(images))
    # The temperature on its card is of more images than the one of the recorded evaluation.
    np.testing.assert_allclose(said, known.probabilities[:8], atol=0.02)


def test_opened_twice_it_is_the_same_run_and_keeps_what_was_done_to_it():
    run = open_example(RUN)
    (run.path / "note.txt").write_text("mine")
    assert (open_example(RUN).path / "note.txt").read_text() == "mine"
    run.delete()
    assert list_runs() == []
    open_example(RUN)
    assert [row.id for row in list_runs()] == [RUN]


def test_one_that_does_not_ship():
    with pytest.raises(UserError, match="No example run 'nothing' ships"):
        open_example("nothing")


def test_a_workspace_that_cannot_take_it(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(examples.shutil, "copyfile", full)
    with pytest.raises(UserError, match="cannot be put into the workspace: .*No space left"):
        open_example(RUN)
    assert list(runs_dir().glob("[!.]*")) == []


def test_compact_keeps_every_validation_and_thins_the_rest(tmp_path):
    run = open_example(RUN)
    for step in range(10_000, 14_000):
        run.log("train", step, loss=1.0)
    folder = compact(run, "common-test", tmp_path)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    assert kinds.count("val") == 20
    assert kinds.count("train") < 300
    assert (folder / "weights.txt").read_text() == "common-test\n"
    assert {path.name for path in (folder / "evaluations").iterdir()} == {"sim-common-test-1-test"}
    assert not list(folder.rglob("*.safetensors"))
    assert {path.name for path in folder.iterdir()} == {path.name for path in (EXAMPLES / RUN).iterdir()}


def test_compact_refuses_other_weights(tmp_path):
    run = open_example(RUN)
    shutil.copyfile(shipped_models_dir() / "edsr-x2" / "model.safetensors", run.path / "model.safetensors")
    with pytest.raises(UserError, match="did not make the weights"):
        compact(run, "common-test", tmp_path)
