"""Adaptation in the loop: batches of two surveys, labels that stay hidden, exact resume, and what is said before."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load
from two_surveys import SMALL, write

from deeplense_core import train
from deeplense_core.adapt import ADAPT_CONFIGS, ADAPTATIONS, target_validation
from deeplense_core.adapt.target import Fitting, SimulatedTarget, StoredTarget, TargetedSource
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.runs import Run
from deeplense_core.sources import OnlineConfig, describe
from deeplense_core.spec import knobs

CPU = torch.device("cpu")


def new_run(source, target, method, **settings) -> Run:
    chosen = {**SMALL, "adapt": method, "target": str(target.path), **settings}
    return Run.create(train.plan("find", str(source.path), "d4net", chosen, seed=3, device="cpu"))


def target_of(dataset, source, labels, seed=0) -> StoredTarget:
    return StoredTarget(str(dataset.path), describe(str(source.path)), labels, seed, CPU)


def test_settings_are_of_one_method_each():
    names = [name for config in ADAPT_CONFIGS for name in knobs(config)]
    assert len(names) == len(set(names))
    for method, entry in ADAPTATIONS.items():
        assert all(name.startswith(f"{method}_") for name in knobs(entry.config))


def test_labels_of_the_target_are_hidden_at_the_source(easy, hard):
    hidden, some, only = (target_of(hard, easy, labels).batch(0, 32) for labels in ("none", "some", "only"))
    assert hidden.labels.tolist() == [-1] * 32
    assert set(some.labels[:16].tolist()) == {0, 1}, "half of each batch is labelled"
    assert some.labels[16:].tolist() == [-1] * 16
    assert set(only.labels.tolist()) == {0, 1}
    of_image = {image.tobytes(): label for image, label in zip(np.asarray(hard.images), hard.labels, strict=True)}
    assert [of_image[image.numpy().tobytes()] for image in some.images] == some.labels.tolist()
    assert not any(name.startswith("truth_") for name in some.columns)


def test_batches_of_the_target_are_an_endless_row(easy, hard):
    first, again, other = target_of(hard, easy, "some"), target_of(hard, easy, "some"), target_of(hard, easy, "some", 1)
    steps = first.parts[1].steps(8)
    seen = torch.cat([first.batch(i, 16).images[8:] for i in range(steps)]).flatten(1)
    assert len(seen.unique(dim=0)) == len(seen), "an image came twice in one pass"
    assert torch.equal(first.batch(steps + 2, 16).images, again.batch(steps + 2, 16).images)
    assert not torch.equal(first.batch(0, 16).images, first.batch(steps, 16).images)
    assert not torch.equal(first.batch(0, 16).images, other.batch(0, 16).images)
    train_rows = {image.tobytes() for image in np.asarray(hard.images)[hard.rows("train")]}
    assert {image.numpy().tobytes() for image in first.batch(1, 16).images} <= train_rows


@pytest.mark.parametrize("method", ["fixmatch", "dann", "none"])
def test_truth_of_unlabelled_images_is_never_touched(easy, tmp_path, method):
    """A trap: the hidden classes and all truth columns are false in one of two sets. The weights are the same bytes."""
    runs = []
    for poison in (False, True):
        target = write(tmp_path / f"target-{poison}", 160, seed=5, labelled=0.5, noise=0.3, poison=poison)
        runs.append(new_run(easy, target, method, epochs=1))
        train.train(runs[-1])
    tables = [open_dataset(run.spec.train_settings["target"]).catalog for run in runs]
    assert tables[0]["label"].equals(tables[1]["label"])
    assert not tables[0]["truth_label"].equals(tables[1]["truth_label"]), "the trap is set"
    assert runs[0].read_file("model.safetensors") == runs[1].read_file("model.safetensors")


def test_methods_without_labels_do_not_see_any(easy, tmp_path):
    """Labels of the target's training images, where the method takes none, change nothing either."""
    runs = []
    for flipped in (False, True):
        target = write(tmp_path / f"target-{flipped}", 96, seed=5, noise=0.3)
        if flipped:
            labels = target.labels.copy()
            labels[target.rows("train")] = 1 - labels[target.rows("train")]
            relabel(target, labels)
        runs.append(new_run(easy, target, "mmd", epochs=1))
        train.train(runs[-1])
    assert runs[0].read_file("model.safetensors") == runs[1].read_file("model.safetensors")


def relabel(dataset, labels) -> None:
    table = dataset.catalog.copy()
    table["label"] = np.array(dataset.classes)[labels]
    table.to_parquet(dataset.path / "catalog.parquet")


@pytest.mark.parametrize("method", sorted(ADAPTATIONS))
def test_every_method_trains_and_resumes_exactly(easy, hard, monkeypatch, method):
    """Cancelled once before and once after the method changes its course, and gone on with: bit for bit the same."""
    settings = {f"{method}_from": 0.5} if method in ("adda", "finetune") else {}
    whole, broken = new_run(easy, hard, method, **settings), new_run(easy, hard, method, **settings)
    assert train.train(whole) == "done"
    for stop_at in (2, 3):
        asked = iter([False] * (stop_at - 1) + [True])
        with monkeypatch.context() as patch:
            patch.setattr(Run, "should_stop", lambda self, asked=asked: next(asked))
            assert train.train(broken) == "cancelled"
    assert train.train(broken) == "done"
    assert broken.read_file("model.safetensors") == whole.read_file("model.safetensors")
    card = json.loads(whole.read_file("model.json"))
    assert (card["adapt"], card["target"]) == (method, str(hard.path))
    assert set(load(whole.read_file("model.safetensors"))) == set(train.setup(whole.spec).net.state_dict())


def test_methods_change_what_is_learnt(easy, hard):
    weights = {}
    for method in ("none", "dann", "mmd", "wdgrl"):
        job = train.setup(new_run(easy, hard, method).spec)
        job.state.epoch = 1  # the methods set in as training goes on
        train.train_step(job)
        train.train_step(job)
        weights[method] = torch.cat([p.detach().flatten() for p in job.net.parameters()])
    assert all(not torch.equal(weights["none"], weights[m]) for m in ("dann", "mmd", "wdgrl"))


def test_adda_freezes_the_source_network_and_the_head(easy, hard):
    job = train.setup(new_run(easy, hard, "adda", adda_from=0.5).spec)
    job.state.epoch = 1
    before = {name: value.clone() for name, value in job.net.state_dict().items()}
    for _ in range(2):
        train.train_step(job)
    frozen = job.companion.frozen.state_dict()  # pyright: ignore[reportOptionalMemberAccess]
    assert all(torch.equal(frozen[name], before[name]) for name in before)
    after = job.net.state_dict()
    assert torch.equal(after["head.1.weight"], before["head.1.weight"]), "the head stays the source's"
    assert not torch.equal(after["stages.0.body.0.weight"], before["stages.0.body.0.weight"])


def test_validation_is_the_targets_where_it_carries_labels(easy, hard, tmp_path):
    info = describe(str(easy.path))
    part = target_validation(str(hard.path), info, 0, 100, "cpu")
    assert part is not None
    assert len(part) == (hard.labels[hard.rows("val")] >= 0).sum()
    bare = write(tmp_path / "bare", 64, seed=9, labelled=0.0)
    assert target_validation(str(bare.path), info, 0, 100, "cpu") is None
    run = new_run(easy, bare, "dann", epochs=3)
    train.train(run)
    card = json.loads(run.read_file("model.json"))
    assert card["epoch"] == 3, "with nothing to choose by, the last epoch is kept"


def test_images_of_another_size_and_class_order_are_fitted(easy, tmp_path):
    info = describe(str(easy.path))
    other = replace(info, shape=(3, 48, 48), classes=("nonlens", "lens"), pixel_scale_arcsec=0.2)
    fitting = Fitting(other, replace(info, pixel_scale_arcsec=0.4))
    assert fitting(torch.rand(2, 3, 48, 48)).shape == (2, 3, 24, 24)
    assert fitting(torch.rand(2, 3, 64, 64)).shape == (2, 3, 24, 24)
    assert fitting.relabelled(torch.tensor([0, 1, -1])).tolist() == [1, 0, -1]
    same = torch.rand(2, 3, 24, 24)
    assert Fitting(info, info)(same) is same
    many = Fitting(other, replace(info, pixel_scale_arcsec=None, pixel_scale_range_arcsec=(0.3, 0.4)))
    assert many(torch.rand(2, 3, 48, 48)).shape == (2, 3, 24, 24)
    assert not many.fits((24, 24))
    assert Fitting(replace(other, pixel_scale_arcsec=0.35), replace(
        info, pixel_scale_arcsec=None, pixel_scale_range_arcsec=(0.3, 0.4)))(same) is same


def test_the_simulator_as_target(easy):
    info = replace(describe(str(easy.path)), shape=(3, 64, 64))
    cfg = OnlineConfig(images_per_epoch=64, val_images=200)
    made = {labels: SimulatedTarget("sim:lens-finding-hard", info, labels, 0, CPU, False, cfg)
            for labels in ("none", "some", "only")}
    batches = {labels: one.batch(3, 40) for labels, one in made.items()}
    assert torch.equal(batches["none"].images, batches["some"].images)
    assert (batches["none"].labels == -1).all()
    assert (batches["only"].labels >= 0).all()
    shown = batches["some"].labels >= 0
    assert shown.tolist() == [True] * 20 + [False] * 20
    assert torch.equal(batches["some"].labels[shown], batches["only"].labels[shown])
    part = target_validation("sim:lens-finding-hard", info, 0, 200, "cpu")
    assert part is not None
    assert len(part) == 40


def test_what_cannot_be_adapted_is_said_before_the_start(easy, hard, tmp_path):
    def plan(**settings):
        return train.plan("find", str(easy.path), "d4net", {**SMALL, **settings}, device="cpu")

    with pytest.raises(UserError, match="adapt = 'dann' needs images of the survey"):
        plan(adapt="dann")
    with pytest.raises(UserError, match="adapt = 'dan' is not one of its choices. Did you mean 'dann'"):
        plan(adapt="dan", target=str(hard.path))
    with pytest.raises(UserError, match="no data set at"):
        plan(adapt="dann", target=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="has 1 band.s. and the training images 3"):
        plan(adapt="dann", target="sim:common-test")
    bare = write(tmp_path / "bare", 64, seed=9, labelled=0.0)
    with pytest.raises(UserError, match="'fixmatch' learns from labelled images of the target, and 'bare' has none"):
        plan(adapt="fixmatch", target=str(bare.path))
    plan(adapt="dann", target=str(bare.path))


def test_a_run_without_target_has_no_second_survey(easy):
    run = Run.create(train.plan("find", str(easy.path), "d4net", SMALL, device="cpu"))
    job = train.setup(run.spec)
    assert not isinstance(job.source, TargetedSource)
    assert job.companion is None
