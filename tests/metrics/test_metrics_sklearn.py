"""Every metric equals scikit-learn's to 1e-9, ties and tiny sets included."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deeplense_core import metrics

EXACT = {"rtol": 0, "atol": 1e-9}


@st.composite
def binary_sets(draw):
    """Labels and scores; few distinct scores, so that most inputs have ties."""
    size = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    assume(0 < sum(labels) < size)
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = draw(st.lists(st.integers(0, levels), min_size=size, max_size=size))
    return np.array(labels), np.array(scores) / levels


@st.composite
def class_sets(draw):
    """Labels with every class present and probabilities with ties; k of 3 to 5."""
    k = draw(st.integers(3, 5))
    size = draw(st.integers(2 * k, 40))
    labels = list(range(k)) + draw(st.lists(st.integers(0, k - 1), min_size=size - k, max_size=size - k))
    weights = draw(st.lists(st.integers(1, 6), min_size=size * k, max_size=size * k))
    table = np.array(weights, float).reshape(size, k)
    return np.array(labels), table / table.sum(axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(binary_sets())
def test_binary_curves_and_areas(case):
    labels, scores = case
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores)
    theirs = reference.roc_curve(labels, scores, drop_intermediate=False)
    for ours, their in zip((fpr, tpr, thresholds), theirs, strict=True):
        np.testing.assert_allclose(ours, their, **EXACT)
    for ours, their in zip(
        metrics.pr_curve(labels, scores), reference.precision_recall_curve(labels, scores), strict=True
    ):
        np.testing.assert_allclose(ours, their, **EXACT)
    auc = reference.roc_auc_score(labels, scores)
    precision = reference.average_precision_score(labels, scores)
    found = metrics.find_metrics(labels, scores, n_boot=0)
    assert metrics.auc_binary(labels, scores) == pytest.approx(auc, abs=1e-9)
    assert found["auroc"]["value"] == pytest.approx(auc, abs=1e-9)
    assert metrics.average_precision(labels, scores) == pytest.approx(precision, abs=1e-9)
    assert found["auprc"]["value"] == pytest.approx(precision, abs=1e-9)
    assert metrics.precision_metric(labels, scores, n_boot=0)["value"] == pytest.approx(precision, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(class_sets())
def test_classification_protocol(case):
    labels, prob = case
    k = prob.shape[1]
    top = prob.argmax(axis=1)
    found = {name: m["value"] for name, m in metrics.classification_metrics(labels, prob, n_boot=0).items()}
    expected = {
        "auc_macro": reference.roc_auc_score(labels, prob, multi_class="ovr", average="macro"),
        "accuracy": reference.accuracy_score(labels, top),
        "f1_macro": reference.f1_score(labels, top, average="macro"),
        "log_loss": reference.log_loss(labels, prob, labels=np.arange(k)),
        "brier": reference.brier_score_loss(labels, prob, labels=np.arange(k), scale_by_half=False),
    }
    expected |= {f"auc_{c}": reference.roc_auc_score(labels == c, prob[:, c]) for c in range(k)}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    np.testing.assert_array_equal(
        metrics.confusion(labels, prob), reference.confusion_matrix(labels, top, labels=np.arange(k))
    )
    for name in ("auc_macro", "accuracy", "f1_macro", "log_loss", "brier", "ece"):
        assert getattr(metrics, name)(labels, prob) == pytest.approx(found[name], abs=1e-9), name


def test_f1_of_classes_that_only_one_side_knows():
    """Class 2 is predicted but never true; class 3 is neither, and does not count."""
    labels = np.array([0, 0, 1, 1, 0])
    prob = np.full((5, 4), 0.1)
    prob[np.arange(5), [0, 2, 1, 1, 0]] = 0.7
    expected = reference.f1_score(labels, prob.argmax(axis=1), average="macro", zero_division=0)
    assert metrics.f1_macro(labels, prob) == pytest.approx(expected, abs=1e-12)


def test_area_is_also_the_integral_of_the_curve(predicted):
    labels, prob = predicted
    fpr, tpr, _ = metrics.roc_curve(labels == 1, prob[:, 1])
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auc_binary(labels == 1, prob[:, 1]), abs=1e-12)


def test_ece_against_a_plain_loop(predicted):
    labels, prob = predicted
    top, confidence = prob.argmax(axis=1), prob.max(axis=1)
    total = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            total += inside.mean() * abs((top == labels)[inside].mean() - confidence[inside].mean())
    assert metrics.ece(labels, prob) == pytest.approx(total, abs=1e-12)


def test_ece_of_a_hand_made_case():
    """Four images at 0.8, two of them right: 0.3 off."""
    assert metrics.ece([0, 0, 1, 1], [[0.8, 0.2]] * 4) == pytest.approx(0.3)
