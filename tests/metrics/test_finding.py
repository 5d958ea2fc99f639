"""Metrics of a lens finder: hand-made cases, ties among them, scikit-learn, and what guessing reaches."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deeplense_core import metrics
from deeplense_core.errors import UserError


def with_false_positives_above(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten lenses at 0.9, 0.8 ... 0.0, and ``count`` non-lenses just below each of the first two, 30 far below."""
    lenses = np.arange(9, -1, -1) / 10
    others = np.concatenate([np.full(count, 0.85), np.full(count, 0.75), np.full(30, -1.0)])
    return np.repeat([1, 0], [len(lenses), len(others)]), np.concatenate([lenses, others])


@pytest.mark.parametrize(
    ("count", "zero", "ten"),
    [
        (0, 1.0, 1.0),  # nothing stands above the last lens
        (1, 0.1, 1.0),  # two false positives in all
        (5, 0.1, 0.2),  # five below the first, ten below the second
        (9, 0.1, 0.2),  # nine are fewer than ten
        (10, 0.1, 0.1),  # ten are not
    ],
)
def test_top_of_the_ranking(count, zero, ten):
    labels, scores = with_false_positives_above(count)
    assert metrics.tpr_at_zero_fp(labels, scores) == pytest.approx(zero)
    assert metrics.tpr_at_ten_fp(labels, scores) == pytest.approx(ten)
    found = metrics.find_metrics(labels, scores, n_boot=0)
    assert found["tpr0"]["value"] == pytest.approx(zero)
    assert found["tpr10"]["value"] == pytest.approx(ten)


def test_ties_are_not_separated():
    """A threshold takes all objects of one score or none of them."""
    assert metrics.tpr_at_zero_fp([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]) == 0.5
    assert metrics.tpr_at_zero_fp([1, 1, 0, 0], [0.9, 0.9, 0.9, 0.1]) == 0.0
    assert metrics.tpr_at_zero_fp([1, 0], [0.5, 0.5]) == 0.0
    labels = [1] + [1] * 4 + [0] * 10 + [1]  # one above, four lenses and ten others share a score, one below
    scores = [0.9] + [0.5] * 14 + [0.1]
    assert metrics.tpr_at_ten_fp(labels, scores) == pytest.approx(1 / 6)
    assert metrics.tpr_at_ten_fp(labels[:-2] + [1], scores[:-2] + [0.1]) == 1.0  # nine others are allowed


def test_ten_false_positives_need_ten_non_lenses():
    found = metrics.find_metrics([1, 0, 0], [0.9, 0.5, 0.1], n_boot=5)["tpr10"]
    assert found["value"] is None
    assert found["undefined"] == "TPR10 undefined: only 2 non-lenses"


@st.composite
def rankings(draw):
    size = draw(st.integers(2, 60))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    assume(0 < sum(labels) < size)
    levels = draw(st.sampled_from([2, 6, 1000]))
    scores = draw(st.lists(st.integers(0, levels), min_size=size, max_size=size))
    return np.array(labels), np.array(scores) / levels


@settings(max_examples=100, deadline=None)
@given(rankings(), st.floats(-0.1, 1.1), st.floats(1e-4, 0.5))
def test_sorted_once_is_the_same(case, threshold, prevalence):
    """What the ranking looks up equals counting anew, scikit-learn's curve, and the tables of the plain functions."""
    labels, scores = case
    ranking = metrics.rank(labels, scores)
    kept = scores >= threshold
    assert ranking.kept(threshold) == (labels[kept].sum(), (1 - labels[kept]).sum())
    assert ranking.point(threshold, prevalence) == metrics.operating_point(labels, scores, threshold, prevalence)
    for name, column in metrics.threshold_table(labels, scores, prevalence).items():
        np.testing.assert_allclose(ranking.table(prevalence)[name], column, rtol=0, atol=1e-9)
    theirs = reference.roc_curve(labels, scores, drop_intermediate=False)
    for ours, their in zip(ranking.roc, theirs[:2], strict=True):
        np.testing.assert_allclose(ours, their, rtol=0, atol=1e-9)
    fpr, tpr = theirs[:2]
    assert metrics.tpr_at_zero_fp(labels, scores) == pytest.approx(tpr[fpr == 0].max(), abs=1e-9)
    few = fpr * (1 - labels).sum() < 9.5
    assert metrics.tpr_at_ten_fp(labels, scores) == pytest.approx(tpr[few].max(), abs=1e-9)
    for allowed in (0, 1, 9):
        at = ranking.threshold_for(allowed)
        hits, false = ranking.kept(at)
        assert false <= allowed
        assert hits / labels.sum() == pytest.approx(metrics.tpr_at(labels, scores, allowed))


def test_purity_is_reweighted():
    """80 % of lenses and 1 % of others kept: at 1 in 1000 an object kept is a lens in 7.4 % of cases."""
    labels = np.repeat([1, 0], [100, 1000])
    scores = np.concatenate([np.repeat([0.9, 0.1], [80, 20]), np.repeat([0.9, 0.1], [10, 990])])
    point = metrics.rank(labels, scores).point(0.5, 1e-3)
    assert point["purity"]["value"] == pytest.approx(0.0008 / (0.0008 + 0.00999))
    assert point["false_per_true"]["value"] == pytest.approx(0.00999 / 0.0008)
    assert point["purity"]["low"] < point["purity"]["value"] < point["purity"]["high"]
    counts = metrics.expected_counts(point, 1e-3, 1_000_000)
    assert counts == pytest.approx({"lenses": 1000, "found": 800, "missed": 200, "false": 9990, "kept": 10790})


def test_guessing():
    """The expected values of a random ranking, against many random rankings."""
    labels = np.repeat([1, 0], [5, 20])
    rng = np.random.default_rng(1)
    drawn = [metrics.find_metrics(labels, rng.permutation(25), n_boot=0) for _ in range(4000)]
    for name, expected in metrics.find_baselines(labels)["chance"].items():
        mean = np.mean([one[name]["value"] for one in drawn])
        spread = np.std([one[name]["value"] for one in drawn]) / np.sqrt(len(drawn))
        assert abs(mean - expected["value"]) < 5 * spread, name
    assert metrics.find_baselines(np.repeat([1, 0], [5, 3]))["chance"]["tpr10"]["value"] == 1


def test_two_finders_on_the_same_objects():
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], [60, 400])
    good = labels * 1.5 + rng.normal(size=460)
    bad = labels * 0.3 + rng.normal(size=460)
    found = metrics.find_difference(labels, good, bad, n_boot=200)
    assert found["verdict"] == "A better"
    assert found["value"] == pytest.approx(metrics.auc_binary(labels, good) - metrics.auc_binary(labels, bad))
    assert metrics.find_difference(labels, bad, good, "auprc", n_boot=200)["verdict"] == "B better"
    same = metrics.find_difference(labels, good, good + rng.normal(size=460) * 1e-3, n_boot=200)
    assert same["verdict"] == "not distinguishable"
    with pytest.raises(UserError, match="Did you mean 'auroc'"):
        metrics.find_difference(labels, good, bad, "auroq")


def test_a_perfect_finder_is_not_certain():
    labels, scores = np.repeat([1, 0], [20, 200]), np.repeat([0.9, 0.1], [20, 200])
    for name, found in metrics.find_metrics(labels, scores, n_boot=50).items():
        assert found["value"] == 1, name
        assert found["low"] < 0.9, name
