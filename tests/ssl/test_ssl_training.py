"""The ssl task in the loop: every method learns and resumes bit for bit, collapse is named, weights are handed on."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load
from small_sets import SMALL, rings, write

from deeplense_core import train
from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluate
from deeplense_core.runs import Run
from deeplense_core.ssl.methods import NAMES
from deeplense_core.trained import load_model

TINY = {**SMALL, "projection": 8, "hidden": 16, "prototypes": 16, "shift": 1.0}


def new_run(data, task: str = "ssl", model: str = "d4net", **settings) -> Run:
    start = TINY if task == "ssl" else SMALL
    return Run.create(train.plan(task, str(data), model, {**start, **settings}, seed=3, device="cpu"))


def trained(data, **settings) -> Run:
    run = new_run(data, **settings)
    assert train.train(run) == "done"
    return run


def said(run: Run) -> str:
    return " ".join(row["text"] for row in run.metrics("info"))


@pytest.fixture(scope="module")
def unlabelled_set(tmp_path_factory):
    images, _ = rings(96, 5)
    with DatasetWriter(tmp_path_factory.mktemp("sets") / "pool", classes=(), shape=images.shape[1:],
                       source={"kind": "test"}, seed=0) as out:
        out.append(images, {"label": np.full(96, "")})
        return out.finish().path


@pytest.mark.parametrize("method", [name if name in ("byol", "dino", "margin") else pytest.param(
    name, marks=pytest.mark.long) for name in NAMES])
def test_resume_is_exact(small_set, monkeypatch, method):
    """Heads, teachers, centres and the order of views go on where they stopped."""
    whole = trained(small_set, method=method)
    run = new_run(small_set, method=method)
    calls = iter(range(100))
    monkeypatch.setattr(Run, "should_stop", lambda _: next(calls) == 7)
    assert train.train(run) == "cancelled"
    monkeypatch.undo()
    assert train.train(run) == "done"
    assert run.read_file("model.safetensors") == whole.read_file("model.safetensors")
    raw = [torch.load(io.BytesIO(r.latest_checkpoint() or b""), weights_only=True) for r in (run, whole)]
    assert raw[0]["companion"].keys() == raw[1]["companion"].keys()
    assert all(torch.equal(raw[0]["companion"][k], raw[1]["companion"][k]) for k in raw[0]["companion"])


def test_it_learns_and_its_card_says_how(tmp_path):
    images, labels = rings(144, 2)
    with DatasetWriter(tmp_path / "set", classes=("no", "sphere", "vort"), shape=images.shape[1:],
                       source={"kind": "test"}, seed=0) as out:
        out.append(images, {"label": labels, "split": np.array(["train", "val"])[np.arange(144) // 96]})
        out.finish()
    run = trained(tmp_path / "set", epochs=12, lr=0.01, method="vicreg")
    losses = [row["loss"] for row in run.metrics("train")]
    val = run.metrics("val")
    card = json.loads(run.read_file("model.json"))
    assert not losses or np.isfinite(losses).all()
    assert max(row["knn_accuracy"] for row in val) == pytest.approx(run.status.best)
    assert run.status.best_name == "knn_accuracy"
    assert run.status.best > 0.5
    assert card["method"] == "vicreg"
    assert not card["labels_used"]
    assert card["features"] == load_model(run.id).logits(np.zeros((1, 1, 32, 32), np.float32)).shape[1]
    assert "neighbours" in card["best_epoch_by"]


def test_without_labels_the_effective_rank_picks_the_best_epoch(unlabelled_set):
    run = trained(unlabelled_set)
    assert run.status.best_name == "effective_rank"
    assert "carry no labels" in json.loads(run.read_file("model.json"))["best_epoch_by"]
    report = evaluate(run.id, str(unlabelled_set))
    assert set(report["metrics"]) == {"rotation_error", "rotation_error_any", "effective_rank"}


def test_the_labels_of_other_methods_are_never_read(small_set, tmp_path):
    """The same images with their labels in another order train to the same bytes."""
    images, labels = rings(60, 1)
    runs = []
    for name, told in (("one", labels), ("two", labels[::-1])):
        with DatasetWriter(tmp_path / name, classes=("no", "sphere", "vort"), shape=images.shape[1:],
                           source={"kind": "test"}, seed=0) as out:
            out.append(images, {"label": told, "split": np.array(["train", "train", "val"])[np.arange(60) % 3]})
            out.finish()
        runs.append(trained(tmp_path / name, epochs=1, method="margin"))
    first, second = (load(run.read_file("model.safetensors")) for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_collapse_is_named_in_log_and_status(small_set, monkeypatch):
    monkeypatch.setattr(train.Pace, "EVERY_S", 0.0)
    run = trained(small_set, collapse_below=500.0)
    assert said(run).count("Collapse: the features of a batch use") == 2  # once an epoch
    assert "Collapse" in run.status.note
    healthy = trained(small_set, collapse_below=1.0)
    assert "Collapse" not in said(healthy) + healthy.status.note
    assert all(row["effective_rank"] >= 1 for row in healthy.metrics("train"))


def test_features_that_are_one_vector_count_as_collapsed(small_set):
    from deeplense_core.sources import OnlineConfig, describe, open_source
    from deeplense_core.tasks import TASKS

    spec = new_run(small_set).spec
    task = TASKS["ssl"].build(spec.train_settings, describe(str(small_set)))
    source = open_source(str(small_set), OnlineConfig(), 0, torch.device("cpu"), False, labelled=False)

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.ones(6))

        def forward(self, x):
            return self.value.expand(len(x), -1)

    net = Constant()
    task.companion(net)
    out = task.step(net, source.batch(0, 0, 16, 10), torch.Generator().manual_seed(0), 0.0)
    assert out.logs["effective_rank"] == pytest.approx(1.0)
    assert out.warning.startswith("Collapse")


def test_a_classifier_starts_from_an_encoder_and_says_so(small_set):
    encoder = trained(small_set)
    start = load(encoder.read_file("model.safetensors"))
    run = new_run(small_set, "classify", init=encoder.id, epochs=1, lr=1e-6, ema=0.0)
    assert train.train(run) == "done"
    assert f"weights: {encoder.id}, {len(start)} of {len(start) + 2} tensors; anew: head.1.weight" in said(run)
    after = load(run.read_file("model.safetensors"))
    assert len(after) == len(start) + 2
    key = "stem.0.weight"
    torch.testing.assert_close(after[key], start[key], atol=1e-3, rtol=0)
    origin = json.loads(run.read_file("model.json"))["weights_origin"]
    assert encoder.id in origin
    assert "last layer: a linear probe of" in origin


def test_weights_that_do_not_fit_are_refused(small_set):
    encoder = trained(small_set, epochs=1)
    with pytest.raises(UserError, match="is a d4net, and a resnet18 cannot start"):
        train.plan("classify", str(small_set), "resnet18", {"init": encoder.id})
    with pytest.raises(UserError, match="no run or shipped model"):
        train.plan("classify", str(small_set), "d4net", {"init": "nothing"})
    with pytest.raises(UserError, match="do not fit"):
        train.train(new_run(small_set, "classify", init=encoder.id, width=5))


@pytest.mark.parametrize(("settings", "message"), [
    ({"pairs": "source"}, "needs the simulator"), ({"method": "simcrl"}, "Did you mean 'simclr'"),
    ({"pairs": "surveys"}, "Did you mean 'survey'"), ({"noise": 5}, "at most 2"),
])
def test_bad_settings_get_one_message(small_set, settings, message):
    with pytest.raises(UserError, match=message):
        new_run(small_set, **settings)


def test_what_cannot_be_paired_is_refused(unlabelled_set):
    with pytest.raises(UserError, match="pairs images by their labels"):
        new_run(unlabelled_set, method="margin-labels")
    with pytest.raises(UserError, match="one camera"):
        new_run("sim:common-test", pairs="survey")


def test_evaluation_compares_with_pixels_and_an_untrained_network(small_set):
    run = trained(small_set, epochs=3)
    report = evaluate(run.id, str(small_set))
    names = {"probe_auc_macro", "probe_accuracy", "knn_accuracy", "probe_auc_macro_1_percent",
             "probe_auc_macro_10_percent", "rotation_error", "rotation_error_any", "effective_rank"}
    assert set(report["rows"]) == {"random encoder", "pixels (PCA)"}
    for row in (report["metrics"], *report["rows"].values()):
        assert set(row) == names
        for metric in row.values():
            assert metric["low"] <= metric["value"] <= metric["high"]
    assert report["metrics"]["rotation_error"]["value"] < 1e-4  # a D4Net
    assert report["rows"]["pixels (PCA)"]["rotation_error"]["value"] > 0.1
    assert report["probe_images"] == 96
    assert report["method"] == "simclr"


def test_a_probe_never_learns_from_the_images_it_is_scored_on(tmp_path):
    path = write(tmp_path / "again", count=60).path
    run = trained(path, epochs=1)
    report = evaluate(run.id, str(path), split="train")
    assert report["probe_images"] == 0
    assert "probe_auc_macro" not in report["metrics"]


def test_a_vision_transformer_reads_images_of_any_size(small_set):
    run = Run.create(train.plan("ssl", str(small_set), "timm:test_vit", {
        "pretrained": False, "projection": 8, "hidden": 16, "epochs": 1, "batch_size": 16, "crop": 28,
        "precision": "float32", "compile": "off"}, device="cpu"))  # fmt: skip
    assert train.train(run) == "done"
    assert json.loads(run.read_file("model.json"))["features"] == 64


def test_an_encoder_of_simulated_pairs():
    run = new_run("sim:lens-finding-easy", pairs="survey", images_per_epoch=64, val_images=30, test_images=30,
                  matched=False, epochs=1, batch_size=32)
    assert train.train(run) == "done"
    assert json.loads(run.read_file("model.json"))["pairs"] == "survey"
