"""What a card says of trust holds on images that neither training nor the card has seen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import betabinom
from small_sets import SMALL, rings, write

from deeplense_core import cli, metrics, train
from deeplense_core.calibrate import calibrate
from deeplense_core.errors import UserError
from deeplense_core.familiarity import fit_cloud, read_cloud
from deeplense_core.runs import Run
from deeplense_core.sources import TEST, simulated_images
from deeplense_core.trained import CLOUD_FILE, load_model

HELD_OUT = 750


@pytest.fixture(scope="module")
def shipped():
    """The network that comes with the project, and its answers for images of the test streams."""
    model = load_model("common-test")
    part = simulated_images("common-test", HELD_OUT, model.card["seed"], TEST)
    predictions = model.predict(part.store, model.pixel_scale_arcsec)
    return model, part, predictions


def test_sets_of_the_shipped_network_cover_every_class(shipped):
    model, part, predictions = shipped
    conformal = model.card["conformal"]
    assert conformal["level"] == 0.95
    p = np.array([one.probabilities for one in predictions])
    inside = metrics.class_sets(p, conformal["thresholds"])
    held = inside[np.arange(len(p)), part.labels]
    for c, fitted in enumerate(conformal["images"]):
        mine = held[part.labels == c]
        rank = math.ceil((fitted + 1) * 0.95)
        low, high = betabinom.ppf([5e-4, 0.9995], len(mine), rank, fitted + 1 - rank)
        # The likeliest class is in every set, which can only add to the coverage of an easy class.
        assert low <= mine.sum(), model.classes[c]
        assert mine.sum() <= high or (p[part.labels == c].argmax(1) == c).mean() > 0.95
    for one, row in zip(predictions, inside, strict=True):
        assert one.likely == (tuple(np.array(model.classes)[row]) if one.familiar else ())


def test_the_shipped_network_knows_its_own_kind(shipped):
    _, _, predictions = shipped
    strange = sum(not one.familiar for one in predictions)
    # 1 % by distance, and the ranges of the plain numbers have a margin of 2.
    assert strange <= betabinom.ppf(0.9995, HELD_OUT, 8, 743), strange


def test_another_noise_is_another_kind(shipped):
    model, part, _ = shipped
    images = part.store[:8]
    rough = images + np.random.default_rng(0).normal(0, 0.05 * images.max(), images.shape).astype(np.float32)
    for one in model.predict(rough, model.pixel_scale_arcsec):
        assert not one.familiar
        assert "noise" in one.warnings[-1]
        assert one.likely == ()
    blank = np.random.default_rng(1).normal(0, 1, images.shape).astype(np.float32)
    assert not any(one.familiar for one in model.predict(blank, model.pixel_scale_arcsec))


def test_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(6, 6))
    features = rng.normal(size=(20_000, 6)) @ mixing + 3
    cloud = fit_cloud(features)
    fresh = rng.normal(size=(5_000, 6)) @ mixing + 3
    away = cloud.distance(fresh)
    exact = np.sqrt(np.einsum("ni,ij,nj->n", fresh - 3, np.linalg.inv(mixing.T @ mixing), fresh - 3))
    assert np.corrcoef(away, exact)[0, 1] > 0.999
    assert np.quantile(exact, 0.99) == pytest.approx(float((exact / away).mean()), rel=0.03)
    assert 0.985 < (away <= 1).mean() < 0.995
    kept = read_cloud(cloud.to_bytes())
    np.testing.assert_allclose(kept.distance(fresh), away, rtol=1e-4)


def test_long_features_from_few_images():
    """Features that are far longer than images are many, most of them dead."""
    rng = np.random.default_rng(3)
    basis = rng.normal(size=(5, 400)) * (np.arange(400) < 80)
    def draw(n):
        return rng.normal(size=(n, 5)) @ basis + 0.1 * rng.normal(size=(n, 400)) * (np.arange(400) < 80)
    cloud = fit_cloud(draw(400))
    assert (cloud.distance(draw(400)) <= 1).mean() > 0.95
    assert (cloud.distance(draw(50) + 2.0 * (np.arange(400) >= 80)) > 2).all(), "where nothing ever varied"
    with pytest.raises(UserError, match="too few"):
        fit_cloud(draw(99))
    with pytest.raises(UserError, match="damaged"):
        read_cloud(cloud.to_bytes()[:100])


@pytest.fixture
def run(tmp_path) -> Run:
    data = write(tmp_path / "rings", 300, splits={"train": 0.5, "val": 0.5, "test": 0.0})
    made = Run.create(train.plan("classify", str(data.path), "d4net", {**SMALL, "epochs": 4, "lr": 0.01}))
    train.train(made)
    return made


def test_a_card_is_completed(run, capsys):
    images, _ = rings(30, 77)
    before = load_model(run.id)
    assert before.cloud is None
    assert {one.likely for one in before.predict(images, 0.1)} == {()}
    assert cli.main(["calibrate", run.id]) == 0
    assert "95 %" in capsys.readouterr().out
    first = (run.path / "model.json").read_bytes(), (run.path / CLOUD_FILE).read_bytes()
    model = load_model(run.id)
    assert model.card["temperature"] == pytest.approx(before.card["temperature"], rel=1e-3)
    assert sum(model.card["conformal"]["images"]) == model.card["cloud"]["images"] == 150
    assert sum(one.familiar for one in model.predict(images, 0.1)) >= 25
    calibrate(run.id)
    assert ((run.path / "model.json").read_bytes(), (run.path / CLOUD_FILE).read_bytes()) == first
    card = json.loads(first[0])
    card["data_fingerprint"] = "another"
    (run.path / "model.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="has changed since"):
        calibrate(run.id)

