"""The loop: it learns, resumes bit for bit, stops when asked, and says what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load
from small_sets import SMALL, write

from deeplense_core import train
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.runs import Run
from deeplense_core.sources import OnlineConfig, SimulatedSource, StoredSource


def new_run(data, **settings) -> Run:
    return Run.create(train.plan("classify", str(data), "d4net", {**SMALL, **settings}, seed=3, device="cpu"))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.read_file("model.safetensors"))


def checkpoint(run: Run) -> bytes:
    raw = run.latest_checkpoint()
    assert raw is not None
    return raw


def test_it_learns_and_leaves_everything_behind(small_set):
    run = new_run(small_set, epochs=15, lr=0.01)
    assert train.train(run) == "done"
    val = run.metrics("val")
    assert len(val) <= 15
    assert val[-1]["loss"] < 0.5 * val[0]["loss"]
    assert max(row["auc_macro"] for row in val) > 0.9
    card = json.loads(run.read_file("model.json"))
    assert card["classes"] == ["no", "sphere", "vort"]
    assert card["validation"]["auc_macro"] == pytest.approx(max(row["auc_macro"] for row in val))
    assert card["temperature"] > 0
    assert run.status.best == pytest.approx(card["validation"]["auc_macro"])


def test_same_seed_same_bytes_other_seed_others(small_set):
    first, second = new_run(small_set), new_run(small_set)
    train.train(first)
    train.train(second)
    assert first.read_file("model.safetensors") == second.read_file("model.safetensors")
    other = Run.create(train.plan("classify", str(small_set), "d4net", SMALL, seed=4))
    train.train(other)
    assert other.read_file("model.safetensors") != first.read_file("model.safetensors")


@pytest.mark.parametrize("stop_at", [1, 4, 6, 7, 11])
def test_resume_is_exact(small_set, monkeypatch, stop_at):
    """Cancelled after any number of steps, in or between epochs, and gone on with: bit for bit the same."""
    settings = {"dropout": 0.3, "shift": 2, "noise": 0.05, "rotation": True}
    whole = new_run(small_set, **settings)
    train.train(whole)
    broken = new_run(small_set, **settings)
    asked = iter([False] * (stop_at - 1) + [True])
    with monkeypatch.context() as patch:
        patch.setattr(Run, "should_stop", lambda self: next(asked))
        assert train.train(broken) == "cancelled"
    assert train.train(broken) == "done"
    assert any("Resumed" in row["text"] for row in broken.metrics("info"))
    assert broken.read_file("model.safetensors") == whole.read_file("model.safetensors")
    ends = [torch.load(__import__("io").BytesIO(checkpoint(run)), weights_only=True) for run in (whole, broken)]
    for name, value in ends[0]["net"].items():
        assert torch.equal(value, ends[1]["net"][name]), name


def test_validation_never_trains(small_set):
    source = StoredSource(open_dataset(small_set), 0, torch.device("cpu"))
    dataset = open_dataset(small_set)
    seen = torch.cat([source.batch(e, s, 16, 99).images for e in range(2) for s in range(source.steps(16))])
    held = torch.from_numpy(np.concatenate([dataset.images[dataset.rows(s)] for s in ("val", "test")]))
    assert not (seen[:, None].flatten(2) == held[None].flatten(2)).all(2).any()
    one_epoch = torch.cat([source.batch(0, s, 16, 99).images for s in range(source.steps(16))]).flatten(1)
    assert len(one_epoch.unique(dim=0)) == len(one_epoch), "an image came twice in one epoch"


def test_streaming_equals_the_device(small_set, monkeypatch):
    dataset = open_dataset(small_set)
    held = StoredSource(dataset, 5, torch.device("cpu"))
    monkeypatch.setattr("deeplense_core.sources._free_bytes", lambda _: 0)
    streamed = StoredSource(dataset, 5, torch.device("cpu"))
    assert held.images is not None
    assert streamed.images is None
    for step in range(3):
        a, b = held.batch(1, step, 16, 9), streamed.batch(1, step, 16, 9)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_online_simulation_and_its_curriculum():
    cfg = OnlineConfig(images_per_epoch=64, val_images=30, test_images=30, curriculum_start=10,
                       curriculum_fraction=0.5)
    source = SimulatedSource("model-2", cfg, 0, torch.device("cpu"), compiled=False)
    assert [round(source.mass_scale(p), 3) for p in (0, 0.25, 0.5, 1)] == [10, 3.162, 1, 1]
    first, again, later = (source.batch(0, s, 6, 10) for s in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, later.images)
    val, test = source.part("val"), source.part("test")
    assert len(val) == len(test) == 30
    assert not np.array_equal(val.store[val.rows], test.store[test.rows])


def test_training_on_online_simulation():
    run = Run.create(train.plan("classify", "sim:model-2", "d4net", {
        **SMALL, "epochs": 1, "images_per_epoch": 64, "val_images": 30}, device="cpu"))
    assert train.train(run) == "done"
    assert run.metrics("val")[0]["auc_macro"] > 0


@pytest.mark.parametrize(("model", "epochs", "compiled"), [
    ("d4net", 9000, ["D4Net"]), ("d4net", 2, []), ("timm:test_resnet", 9000, []),
])
def test_a_processor_compiles_networks_that_gain_by_it(small_set, monkeypatch, model, epochs, compiled):
    found = []
    monkeypatch.setattr(torch, "compile", lambda net: found.append(type(net).__name__) or net)
    monkeypatch.setattr(train.shutil, "which", lambda name: name if name == "c++" else None)
    own = {"width": 2, "radii": 16, "angles": 64} if model == "d4net" else {"pretrained": False}
    settings = {**own, "batch_size": 16, "epochs": epochs, "precision": "float32"}
    train.setup(train.plan("classify", str(small_set), model, settings, device="cpu"))
    assert found == compiled


@pytest.mark.parametrize(("images", "compiled"), [(20_000, True), (19_000, False)])
def test_the_simulator_is_compiled_where_the_minute_is_won_back(monkeypatch, images, compiled):
    def source(data, online, seed, device, fast, *others):
        raise InterruptedError(f"compiled: {fast}")

    monkeypatch.setattr(train, "open_source", source)
    monkeypatch.setattr(train.shutil, "which", lambda name: name if name == "c++" else None)
    spec = train.plan("classify", "sim:model-2", "d4net", {"images_per_epoch": images // 2, "epochs": 2}, device="cpu")
    with pytest.raises(InterruptedError, match=f"compiled: {compiled}"):
        train.setup(spec)


def test_early_stopping(small_set):
    run = new_run(small_set, epochs=50, lr=1e-6, ema=0.0, patience=2)
    train.train(run)
    assert len(run.metrics("val")) < 50
    assert any("Stopped early" in row["text"] for row in run.metrics("info"))


def test_divergence_is_said(small_set, monkeypatch):
    monkeypatch.setattr(train.Pace, "EVERY_S", 0.0)
    run = new_run(small_set)
    monkeypatch.setattr("deeplense_core.tasks.classify.F.cross_entropy",
                        lambda logits, *_, **__: logits.sum() * float("nan"))
    with pytest.raises(UserError, match=r"loss became nan in epoch 1.*Lower lr"):
        train.train(run)


def test_out_of_memory_is_tried_once_more_at_half_the_batch(small_set, monkeypatch):
    real, sizes = train.setup, []

    def setup(spec, halve=False):
        job = real(spec, halve)
        sizes.append(job.cfg.batch_size)
        if not halve:
            job.task.step = lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full"))
        return job

    monkeypatch.setattr(train, "setup", setup)
    run = new_run(small_set, epochs=1)
    assert train.train(run) == "done"
    assert sizes == [16, 8]


def test_schedule():
    assert train.schedule(0, 0.1) < 0.02
    assert train.schedule(0.1, 0.1) == pytest.approx(1)
    assert train.schedule(1, 0.1) == pytest.approx(0.01)
    assert all(train.schedule(p / 50, 0.1) >= train.schedule((p + 1) / 50, 0.1) for p in range(5, 50))


def test_weight_average():
    old, new = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        old.weight.fill_(0)
        new.weight.fill_(1)
        new.num_batches_tracked.fill_(7)
    train.average_weights(old, new, 0.75)
    assert torch.allclose(old.weight, torch.full((2,), 0.25))
    assert int(old.num_batches_tracked) == 7


@pytest.mark.parametrize(("change", "words"), [
    ({"task": "clasify"}, r"Unknown task 'clasify'. Did you mean 'classify'\?"),
    ({"model": "resnet"}, "Unknown model 'resnet'"),
    ({"model": "timm:resnet10"}, r"timm has no model 'resnet10'. Did you mean 'timm:resnet10t'\?"),
    ({"model": "timm:"}, "Name the timm backbone"),
    ({"data": "sim:common"}, r"Unknown recipe 'common'. Did you mean 'common-test'\?"),
    ({"data": "/nowhere/at/all"}, "nowhere"),
    ({"settings": {"epoch": 3}}, r"Unknown setting 'epoch'. Did you mean 'epochs'\?"),
    ({"settings": {"epochs": "many"}}, "epochs = 'many' is not a whole number"),
    ({"settings": {"lr": 2}}, "lr = 2 must be at most 1"),
    ({"seed": -1}, "seed = -1 must be between"),
    ({"device": "tpu"}, "Unknown device 'tpu'"),
])
def test_bad_plans(change, words, small_set):
    good = {"task": "classify", "data": str(small_set), "model": "d4net", "settings": {}}
    with pytest.raises(UserError, match=words):
        train.plan(**{**good, **change})


def test_one_class_and_an_empty_split(tmp_path):
    one = write(tmp_path / "one", 30, classes=("no",))
    with pytest.raises(UserError, match="only class 'no'"):
        train.plan("classify", str(one.path), "d4net", {})
    no_val = write(tmp_path / "noval", 30, splits={"train": 0.9, "val": 0.0, "test": 0.1})
    with pytest.raises(UserError, match="empty val split"):
        train.train(new_run(no_val.path))
    no_train = write(tmp_path / "notrain", 30, splits={"train": 0.0, "val": 0.5, "test": 0.5})
    with pytest.raises(UserError, match="train split is empty"):
        train.train(new_run(no_train.path))


def test_no_setting_has_two_meanings():
    from deeplense_core.models import model_names
    from deeplense_core.spec import knobs

    for model in [*model_names("classify"), "timm:resnet10t"]:
        names = [n for config in train.setting_classes("classify", model) for n in knobs(config)]
        assert len(names) == len(set(names))
