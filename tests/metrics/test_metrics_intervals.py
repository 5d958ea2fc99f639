"""Bootstrap intervals: deterministic, holding the value, and covering the truth as often as they say."""

import json
import math
import time

import numpy as np
import pytest

from deeplense_core import metrics
from deeplense_core.metrics import bootstrap

CLASSES = ("no", "sphere", "vort")


def test_weights_keep_every_class_at_its_size():
    strata = np.array([0] * 5 + [1] * 3 + [2])
    chunks = list(bootstrap.resample_weights(strata, 50, seed=1))
    weights = np.hstack(chunks)
    assert weights.shape == (9, 50)
    for c, size in enumerate((5, 3, 1)):
        np.testing.assert_array_equal(weights[strata == c].sum(axis=0), size)
    assert weights[:5].std() > 0


def test_chunks_together_are_the_whole(monkeypatch):
    strata = np.array([0, 1] * 20)
    monkeypatch.setattr(bootstrap, "CHUNK_NUMBERS", 40 * 7)
    sizes = [w.shape[1] for w in bootstrap.resample_weights(strata, 25, seed=0)]
    assert sizes == [7, 7, 7, 4]


def test_weighted_auc_is_the_auc_of_repeated_images():
    rng = np.random.default_rng(3)
    truth = rng.random(40) < 0.4
    score = rng.integers(0, 8, 40).astype(float)  # ties
    weights = next(bootstrap.resample_weights(truth, 20, seed=2))
    fast = bootstrap.auc_statistic(truth, score)(weights)
    for b in range(20):
        repeated = np.repeat(np.arange(40), weights[:, b].astype(int))
        assert fast[b] == pytest.approx(metrics.auc_binary(truth[repeated], score[repeated]), abs=1e-12)


def test_every_interval_holds_its_value_and_the_seed_decides(predicted):
    labels, prob = predicted
    found = metrics.classification_metrics(labels, prob, CLASSES, n_boot=300, seed=5)
    assert tuple(found) == metrics.metric_names(CLASSES)
    for name, m in found.items():
        assert 0 <= m["low"] <= m["value"] <= m["high"], name
        assert m["high"] - m["low"] > 0, name
    assert found == metrics.classification_metrics(labels, prob, CLASSES, n_boot=300, seed=5)
    assert found != metrics.classification_metrics(labels, prob, CLASSES, n_boot=300, seed=6)
    json.dumps(found, allow_nan=False)


def test_bootstrap_equals_a_plain_resampling_loop(predicted):
    """Same mean and spread as sklearn-style resampling of indices, within Monte-Carlo error."""
    labels, prob = predicted
    fast = metrics.classification_metrics(labels, prob, CLASSES, n_boot=2000, seed=0)
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(labels == c) for c in range(3)]
    slow = {"auc_macro": [], "f1_macro": [], "brier": []}
    for _ in range(400):
        index = np.concatenate([rng.choice(m, len(m)) for m in members])
        for name, values in slow.items():
            values.append(getattr(metrics, name)(labels[index], prob[index]))
    for name, values in slow.items():
        low, high = np.quantile(values, (0.025, 0.975))
        spread = high - low
        assert fast[name]["low"] == pytest.approx(low, abs=0.15 * spread), name
        assert fast[name]["high"] == pytest.approx(high, abs=0.15 * spread), name


def test_coverage_of_a_known_auc():
    """Two normals a distance d apart have AUC Phi(d / sqrt 2); 95 % intervals hold it 95 % of the time."""
    distance, trials = 1.5, 300
    true_auc = 0.5 * (1 + math.erf(distance / 2))
    rng = np.random.default_rng(11)
    labels = np.repeat([0, 1], 150)
    hits = 0
    for trial in range(trials):
        scores = rng.normal(size=300) + distance * labels
        auc = metrics.find_metrics(labels, scores, n_boot=300, seed=trial)["auroc"]
        hits += auc["low"] <= true_auc <= auc["high"]
    assert 0.91 <= hits / trials <= 0.98


def test_a_perfect_score_claims_no_certainty():
    """Every resample of 20 perfect images is perfect, which does not prove an AUC of 1."""
    labels = np.repeat([0, 1], 10)
    prob = np.column_stack([1 - labels, labels]).astype(float)
    found = metrics.classification_metrics(labels, prob, ("a", "b"), n_boot=100)
    assert found["auc_macro"]["value"] == found["auc_macro"]["high"] == 1
    assert found["auc_macro"]["low"] == pytest.approx(10 / (10 + 1.96**2), abs=1e-3)
    assert found["accuracy"]["low"] == pytest.approx(20 / (20 + 1.96**2), abs=1e-3)


def test_fast_enough_for_a_page():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 3000)
    prob = metrics.softmax(rng.normal(size=(3000, 3)) + 2 * np.eye(3)[labels])
    times = []
    for _ in range(3):
        start = time.process_time()  # of this process, so that a busy machine does not fail it
        metrics.classification_metrics(labels, prob, CLASSES, n_boot=1000)
        times.append(time.process_time() - start)
    assert min(times) < 1.0


def test_bands_hold_the_curve_and_narrow_with_images():
    rng = np.random.default_rng(2)

    def band(n):
        labels = np.repeat([0, 1], n)
        scores = rng.normal(size=2 * n) + 1.5 * labels
        return labels, scores, metrics.roc_band(labels, scores, n_boot=200)

    labels, scores, small = band(100)
    fpr, tpr, _ = metrics.roc_curve(labels, scores)
    at_grid = np.interp(small["fpr"], fpr, tpr)
    inside = (small["low"] <= at_grid + 1e-9) & (at_grid <= small["high"] + 1e-9)
    assert inside.mean() > 0.97
    assert (np.diff(small["low"]) >= -1e-12).all()
    assert small["low"][-1] == small["high"][-1] == 1
    _, _, large = band(1600)
    ratio = (small["high"] - small["low"]).mean() / (large["high"] - large["low"]).mean()
    assert ratio == pytest.approx(4, abs=1.2)  # sixteen times the images, a quarter of the width


def test_precision_band_holds_the_curve(predicted):
    labels, prob = predicted
    band = metrics.pr_band(labels == 2, prob[:, 2], n_boot=200)
    precision, recall, _ = metrics.pr_curve(labels == 2, prob[:, 2])
    first_reached = np.array([precision[recall >= r - 1e-9][-1] for r in band["recall"]])
    inside = (band["low"] <= first_reached + 1e-9) & (first_reached <= band["high"] + 1e-9)
    assert inside.mean() > 0.97
    assert band["low"].min() >= 0
    assert band["high"].max() <= 1


def test_one_class_only_is_undefined_not_an_error():
    labels = np.ones(10, dtype=int)
    prob = np.tile([0.2, 0.5, 0.3], (10, 1))
    found = metrics.classification_metrics(labels, prob, CLASSES, n_boot=50)
    for name in ("auc_macro", "auc_no", "auc_sphere", "auc_vort"):
        assert found[name] == {
            "value": None,
            "low": None,
            "high": None,
            "undefined": "ROC undefined: only class sphere is present",
        }
    assert found["accuracy"]["value"] == 1
    json.dumps(found, allow_nan=False)
    assert metrics.class_curves(labels, prob, CLASSES, n_boot=5) == []


def test_an_absent_class_leaves_the_others_defined():
    labels = np.array([0, 1] * 10)
    rng = np.random.default_rng(0)
    prob = rng.dirichlet((1, 1, 1), 20)
    found = metrics.classification_metrics(labels, prob, CLASSES, n_boot=50)
    assert found["auc_macro"]["undefined"] == "ROC undefined: class vort is absent"
    assert found["auc_vort"]["value"] is None
    assert found["auc_no"]["value"] == pytest.approx(metrics.auc_binary(labels == 0, prob[:, 0]))
    assert [c.name for c in metrics.class_curves(labels, prob, CLASSES, n_boot=5)] == ["no", "sphere"]


def test_calibration_interval_stands_around_its_value():
    """Resampling alone pushes the calibration error up: its interval would start at the value itself."""
    rng = np.random.default_rng(5)
    prob = rng.dirichlet((1, 1, 1), 2000)
    labels = (prob.cumsum(axis=1) > rng.random((2000, 1))).argmax(axis=1)  # perfectly calibrated
    found = metrics.classification_metrics(labels, prob, CLASSES, n_boot=500)["ece"]
    below, above = found["value"] - found["low"], found["high"] - found["value"]
    assert 0.5 < below / above < 1.5
