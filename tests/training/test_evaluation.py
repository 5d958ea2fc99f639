"""Evaluation reports what scikit-learn would; prediction brings images to the training scale and says so."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from small_sets import SMALL, rings, write

from deeplense_core import train
from deeplense_core.bulk.files import predict_files
from deeplense_core.catalog import safe_cell, write_catalog
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluate, evaluate_after_training, evaluated, kept
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.runs import Run
from deeplense_core.trained import load_model


@pytest.fixture
def run(small_set) -> Run:
    made = Run.create(train.plan("classify", str(small_set), "d4net", {**SMALL, "epochs": 6, "lr": 0.01}))
    train.train(made)
    return made


def test_report_equals_scikit_learn(run, tmp_path):
    other = write(tmp_path / "other", 90, seed=9, splits={"train": 0.0, "val": 0.0, "test": 1.0})
    report = evaluate(run.id, str(other.path))
    folder, kept = evaluations(run.id)[0]
    assert kept == json.loads(json.dumps(report))
    saved = np.load(folder / "predictions.npz")
    labels, p = saved["labels"], saved["probabilities"]
    assert report["n"] == 90
    assert set(saved["ids"]) == set(other.catalog["id"])
    value = {name: metric["value"] for name, metric in report["metrics"].items()}
    assert value["auc_macro"] == pytest.approx(roc_auc_score(labels, p, multi_class="ovr"), abs=1e-9)
    for i, name in enumerate(("no", "sphere", "vort")):
        assert value[f"auc_{name}"] == pytest.approx(roc_auc_score(labels == i, p[:, i]), abs=1e-9)
    assert value["accuracy"] == pytest.approx(accuracy_score(labels, p.argmax(1)), abs=1e-9)
    assert value["f1_macro"] == pytest.approx(f1_score(labels, p.argmax(1), average="macro"), abs=1e-9)
    assert all(m["low"] <= m["value"] <= m["high"] for m in report["metrics"].values())
    assert not report["seen_in_training"]


def test_an_evaluation_of_older_weights_is_made_again(run, tmp_path):
    data = str(write(tmp_path / "other", 30, seed=9, splits={"train": 0.0, "val": 0.0, "test": 1.0}).path)
    folder, first = evaluated(run.id, data)
    assert (folder / "predictions.npz").exists()
    assert evaluated(run.id, data) == (folder, json.loads(json.dumps(first))), "nothing has changed"
    weights = run.path / "model.safetensors"
    os.utime(weights, (first["time"] + 1000,) * 2)
    assert kept(load_model(run.id), data, "test") is None
    again, second = evaluated(run.id, data)
    assert again == folder
    assert second["time"] > first["time"]


def test_labels_follow_names_not_numbers(run, tmp_path):
    """The same images under another order of classes give the same numbers."""
    images, names = rings(60, 5)
    from deeplense_core.data import DatasetWriter

    values = []
    for order in (("no", "sphere", "vort"), ("vort", "no", "sphere")):
        with DatasetWriter(tmp_path / order[0], classes=order, shape=images.shape[1:], source={"kind": "test"}) as out:
            out.append(images, {"label": names, "split": np.full(60, "test")})
            made = out.finish()
        values.append(evaluate(run.id, str(made.path))["metrics"]["accuracy"]["value"])
    assert values[0] == values[1]


def test_seen_data_is_marked(run, small_set):
    assert evaluate(run.id, str(small_set), "train")["seen_in_training"]
    assert not evaluate_after_training(run)["seen_in_training"]


def test_one_class_is_undefined_not_an_error(run, tmp_path):
    one = write(tmp_path / "one", 30, classes=("no",), splits={"train": 0, "val": 0, "test": 1})
    metric = evaluate(run.id, str(one.path))["metrics"]["auc_macro"]
    assert metric["value"] is None
    assert "ROC undefined" in metric["undefined"]


def test_refusals(run, tmp_path):
    strange = write(tmp_path / "strange", 30, classes=("no", "dragon"), splits={"train": 0, "val": 0, "test": 1})
    with pytest.raises(UserError, match="class 'dragon'"):
        evaluate(run.id, str(strange.path))
    empty = write(tmp_path / "empty", 30, splits={"train": 0.5, "val": 0.5, "test": 0})
    with pytest.raises(UserError, match="no labelled images in split 'test'"):
        evaluate(run.id, str(empty.path))
    with pytest.raises(UserError, match="no run or shipped model"):
        evaluate("nothing", str(empty.path))


def test_damaged_weights_are_said(run):
    (run.path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="damaged"):
        _ = load_model(run.id).net


def test_pixel_scale_is_matched(run):
    model = load_model(run.id)
    images, _ = rings(6, 3)
    same, warnings = model.fit(images, 0.1)
    assert np.array_equal(same, images)
    assert warnings == ()
    fine = images.repeat(2, 2).repeat(2, 3)  # the same sky at half the pixel scale
    back, warnings = model.fit(fine, 0.05)
    assert back.shape == images.shape
    assert warnings == ("resampled from 0.05 to 0.1 arcsec per pixel",)
    assert np.abs(back - images).mean() < 0.05
    stretched, warnings = model.fit(fine, None)
    assert "pixel scale unknown" in warnings[0]
    assert stretched.shape == images.shape
    _, warnings = model.fit(images[:, :, 8:24, 8:24], 0.1)
    assert warnings == ("field smaller than the training field: border repeated",)
    with pytest.raises(UserError, match="trained on 1 band"):
        model.fit(np.repeat(images, 3, 1), 0.1)
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        model.fit(images, 0.1)


def test_pixels_unlike_many_training_scales_are_brought_to_their_middle(run):
    known = load_model(run.id)
    model = replace(known, card={**known.card, "pixel_scale_arcsec": None, "pixel_scale_range_arcsec": [0.09, 0.16]})
    images, _ = rings(6, 3)
    for scale in (0.09, 0.1, 0.16, 0.0865):
        same, warnings = model.fit(images, scale)
        assert np.array_equal(same, images)
        assert warnings == ()
    fine = images.repeat(3, 2).repeat(3, 3)  # a third of the pixels, and three times the field
    wide = np.pad(fine, ((0, 0), (0, 0), (96, 96), (96, 96)), mode="edge")
    back, warnings = model.fit(wide, 0.04)
    assert warnings == ("resampled from 0.04 to 0.12 arcsec per pixel",)
    assert np.abs(back - images).mean() < 0.05
    assert model.factor((50, 50), 0.3) == pytest.approx(2.5)
    assert "pixel scale unknown" in model.fit(fine, None)[1][0]


def test_strange_images_are_called_strange(run):
    model = load_model(run.id)
    images, _ = rings(40, 8)
    assert sum(bool(p.warnings) for p in model.predict(images, 0.1)) <= 2, "held-out images of the same kind"
    noisy = images + np.random.default_rng(0).normal(0, 1.0, images.shape).astype(np.float32)
    warning = model.predict(noisy[:1], 0.1)[0].warnings[0]
    assert warning.startswith("unlike the training images, do not trust the class: noise ")
    assert "x higher" in warning
    smooth, _ = rings(1, 8)
    smooth[:] = np.hypot(*np.mgrid[-1:1:32j, -1:1:32j])
    assert "light at the border" in model.predict(smooth, 0.1)[0].warnings[0]


def test_predict_files_goes_on_after_a_bad_one(run, tmp_path):
    images, _ = rings(3, 2)
    for i, image in enumerate(images):
        np.save(tmp_path / f"{i}.npy", image)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    out = tmp_path / "out.json"
    made = predict_files(load_model(run.id), [tmp_path], out)
    rows = json.loads(out.read_bytes())["rows"]
    assert [row["name"] for row in rows] == ["0.npy", "1.npy", "2.npy"]
    assert made.failed == 1
    assert "bad.npy" in (tmp_path / "out.failed.csv").read_text()
    for row in rows:
        assert row["p_no"] + row["p_sphere"] + row["p_vort"] == pytest.approx(1)
        assert row["score"] == max(row["p_no"], row["p_sphere"], row["p_vort"])


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".fits", ".vot", ".json"])
def test_catalogue_formats(tmp_path, ending):
    from astropy.table import Table

    rows = [{"name": "=1+1", "ra": 150.1, "dec": None, "class": "no", "score": 0.5, "warning": ""},
            {"name": "b", "ra": None, "dec": None, "class": "vort", "score": 0.25, "warning": "x"}]
    path = tmp_path / f"out{ending}"
    write_catalog(rows, path)
    if ending == ".json":
        assert json.loads(path.read_text())["rows"] == rows
        return
    back = Table.read(path)
    assert list(back["score"]) == [0.5, 0.25]
    assert back["name"][0] == ("'=1+1" if ending == ".csv" else "=1+1")
    assert float(back["ra"][0]) == 150.1


def test_formula_cells():
    assert [safe_cell(t) for t in ("=a", "+a", "-a", "@a", "\ta", "a")] == ["'=a", "'+a", "'-a", "'@a", "'\ta", "a"]


def test_catalogue_refusals(tmp_path):
    with pytest.raises(UserError, match="ends in '.xls'"):
        write_catalog([{"a": 1}], tmp_path / "out.xls")
    with pytest.raises(UserError, match="does not exist"):
        write_catalog([{"a": 1}], tmp_path / "none" / "out.csv")


def test_dataset_is_not_loaded_whole(run, small_set):
    assert isinstance(open_dataset(small_set).images, np.memmap)
