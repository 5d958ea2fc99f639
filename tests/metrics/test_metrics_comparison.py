"""Runs compared in pairs, baselines, thresholds, recovery and calibration."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from deeplense_core import metrics

CLASSES = ("no", "sphere", "vort")


def test_a_run_equals_itself(predicted):
    labels, prob = predicted
    for name in metrics.metric_names(CLASSES):
        found = metrics.paired_difference(labels, prob, prob, name, CLASSES, n_boot=100)
        assert found == {"value": 0, "low": 0, "high": 0, "verdict": "not distinguishable"}


@pytest.mark.parametrize("metric", ["auc_macro", "accuracy", "log_loss", "brier"])
def test_a_blurred_run_is_worse_whichever_side_it_stands_on(predicted, metric):
    labels, prob = predicted
    rng = np.random.default_rng(0)
    blurred = metrics.softmax(np.log(prob + 1e-9) + rng.normal(scale=6, size=prob.shape))
    forward = metrics.paired_difference(labels, prob, blurred, metric, CLASSES, n_boot=300)
    backward = metrics.paired_difference(labels, blurred, prob, metric, CLASSES, n_boot=300)
    assert forward["verdict"] == "A better"
    assert backward["verdict"] == "B better"
    assert forward["value"] == pytest.approx(-backward["value"])
    assert forward["low"] <= forward["value"] <= forward["high"]
    json.dumps(forward, allow_nan=False)


def test_pairing_sees_what_separate_intervals_cannot(predicted):
    """A slightly worse copy shares its luck: separate intervals overlap, the paired one does not hold 0."""
    labels, prob = predicted
    flipped = prob.copy()
    right = np.flatnonzero(prob.argmax(axis=1) == labels)[:12]
    flipped[right] = np.roll(flipped[right], 1, axis=1)
    a, b = (metrics.classification_metrics(labels, p, CLASSES, n_boot=300)["accuracy"] for p in (prob, flipped))
    assert b["high"] > a["low"]
    assert metrics.paired_difference(labels, prob, flipped, "accuracy", n_boot=300)["verdict"] == "A better"


def test_baselines_are_what_guessing_reaches(predicted):
    labels, _ = predicted
    rows = metrics.baseline_rows(labels, CLASSES)
    chance, majority = rows["chance"], rows["majority class"]
    assert tuple(chance) == tuple(majority) == metrics.metric_names(CLASSES)
    assert majority["accuracy"]["value"] == pytest.approx((labels == 0).mean())
    assert majority["auc_macro"]["value"] == chance["auc_macro"]["value"] == 0.5
    rng = np.random.default_rng(0)
    guesses = np.eye(3)[rng.integers(0, 3, (400, len(labels)))]
    mean_f1 = np.mean([metrics.f1_macro(labels, g) for g in guesses])
    assert chance["f1_macro"]["value"] == pytest.approx(mean_f1, abs=0.005)
    uniform = np.full((len(labels), 3), 1 / 3)
    assert chance["log_loss"]["value"] == pytest.approx(metrics.log_loss(labels, uniform))
    assert chance["brier"]["value"] == pytest.approx(metrics.brier(labels, uniform))
    json.dumps(rows, allow_nan=False)


def test_wilson_equals_scipy():
    for k, n in ((0, 7), (3, 7), (7, 7), (450, 1000)):
        expected = binomtest(k, n).proportion_ci(method="wilson")
        low, high = metrics.wilson(k, n)
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert [float(v) for v in metrics.wilson(0, 0)] == [0, 1]


def test_purity_is_the_share_of_true_objects_on_that_sky():
    """9 of 10 lenses and 2 of 100 others above 0.5: at 1 in 100 that is 0.009 true to 0.0198 false."""
    labels = np.repeat([1, 0], [10, 100])
    scores = np.concatenate([[0.9] * 9, [0.1], [0.8] * 2, [0.2] * 98])
    table = metrics.threshold_table(labels, scores, prevalence=0.01)
    row = int(np.flatnonzero(table["threshold"] == 0.8)[0])
    assert table["completeness"][row] == pytest.approx(0.9)
    assert table["purity"][row] == pytest.approx(0.009 / (0.009 + 0.99 * 0.02))
    assert table["false_per_true"][row] == pytest.approx(0.99 * 0.02 / 0.009)
    point = metrics.operating_point(labels, scores, 0.5, prevalence=0.01)
    assert point["purity"]["value"] == pytest.approx(table["purity"][row])
    for name in ("completeness", "fpr", "purity", "false_per_true"):
        assert point[name]["low"] <= point[name]["value"] <= point[name]["high"], name
    nothing = metrics.operating_point(labels, scores, 2.0)
    assert nothing["purity"]["value"] == 1
    assert nothing["completeness"]["value"] == 0
    json.dumps([point, nothing], allow_nan=False)


def test_purity_at_the_sets_own_prevalence_is_its_precision(predicted):
    labels, prob = predicted
    truth = labels == 1
    table = metrics.threshold_table(truth, prob[:, 1], prevalence=truth.mean())
    precision, _, thresholds = metrics.pr_curve(truth, prob[:, 1])
    np.testing.assert_allclose(table["threshold"], thresholds[::-1])
    np.testing.assert_allclose(table["purity"], precision[:-1][::-1], atol=1e-12)


def test_tpr_with_few_false_positives():
    """Falling scores: 2 lenses, a false one, 3 lenses, 9 false ones, 5 lenses, then the rest."""
    labels = np.array([1] * 2 + [0] + [1] * 3 + [0] * 9 + [1] * 5 + [0] * 10)
    scores = -np.arange(len(labels), dtype=float)
    assert metrics.tpr_at(labels, scores, 0) == pytest.approx(0.2)
    assert metrics.tpr_at(labels, scores, 9) == pytest.approx(0.5)
    assert metrics.tpr_at(labels, scores, 10) == pytest.approx(1.0)
    found = metrics.find_metrics(labels, scores, n_boot=200)
    assert found["tpr0"]["value"] == pytest.approx(0.2)
    assert found["tpr10"]["value"] == pytest.approx(0.5)
    tied = metrics.tpr_at([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1], 0)
    assert tied == 0.5  # the second lens ties with a false positive


def test_recovery_counts_the_true_objects_of_each_bin():
    labels = np.array([1, 1, 1, 1, 0, 1])
    scores = np.array([0.1, 0.9, 0.9, 0.9, 0.9, 0.9])
    theta = np.array([0.5, 0.6, 1.5, 1.6, 1.5, np.nan])
    found = metrics.recovery(labels, scores, theta, bins=[0, 1, 2, 3], threshold=0.5)
    assert found["count"] == [2, 2, 0]
    assert found["found"] == [1, 2, 0]
    assert found["completeness"] == [0.5, 1.0, None]
    assert found["low"][0] < 0.5 < found["high"][0]
    json.dumps(found, allow_nan=False)
    equal = metrics.recovery(labels, scores, theta, bins=2)
    assert equal["low_edge"][0] == 0.5
    assert equal["high_edge"][-1] == 1.6


def test_temperature_is_recovered_and_calibrates():
    rng = np.random.default_rng(4)
    logits = 3 * rng.normal(size=(20000, 3))
    prob = metrics.softmax(logits)
    labels = (prob.cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)  # drawn from the probabilities
    assert metrics.fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert metrics.fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, abs=0.08)
    assert metrics.ece(labels, metrics.apply_temperature(2.5 * logits, 2.5)) < 0.01
    assert metrics.ece(labels, metrics.softmax(2.5 * logits)) > 0.03


def test_temperature_stays_bounded_when_every_logit_is_right():
    logits = np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])
    assert metrics.fit_temperature(logits, [0, 1, 2]) >= 0.05
    assert metrics.fit_temperature(logits, [1, 2, 0]) <= 20.001


def test_reliability_adds_up_to_the_calibration_error(predicted):
    labels, prob = predicted
    bins = metrics.reliability(labels, prob)
    assert len(bins["count"]) == metrics.ECE_BINS
    used = [i for i, count in enumerate(bins["count"]) if count]
    gaps = sum(bins["count"][i] * abs(bins["accuracy"][i] - bins["confidence"][i]) for i in used)
    assert gaps / sum(bins["count"]) == pytest.approx(metrics.ece(labels, prob), abs=1e-12)
    for i in used:
        assert bins["low_edge"][i] <= bins["confidence"][i] <= bins["high_edge"][i] + 1e-12
        assert bins["low"][i] <= bins["accuracy"][i] <= bins["high"][i]
    assert bins["accuracy"][0] is None  # no confidence below 1 / 3 with three classes
    json.dumps(bins, allow_nan=False)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    """Bins are (low, high] as in Guo et al. 2017."""
    bins = metrics.reliability([0, 0, 1], [[0.75, 0.25], [0.76, 0.24], [0.0, 1.0]], bins=4)
    assert bins["count"] == [0, 0, 1, 2]
