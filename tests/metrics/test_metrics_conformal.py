"""Sets of classes cover each class as often as they say, and are no larger than they must be."""

import math

import numpy as np
import pytest
from scipy.stats import betabinom

from deeplense_core.errors import UserError
from deeplense_core.metrics import class_sets, coverage, fit_thresholds


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of an overconfident three-class network, classes unequally hard and frequent."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    z = rng.normal(0, 1.5, (count, 3))
    z[np.arange(count), labels] += np.array([3.0, 1.5, 2.0])[labels]
    p = np.exp(2 * z)
    return labels, p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_each_class_is_covered_within_its_interval(level):
    thresholds = fit_thresholds(*answers(3000, 0), level)
    labels, p = answers(3000, 1)
    fitted = np.bincount(answers(3000, 0)[0])
    above = p[np.arange(len(p)), labels] >= np.array(thresholds)[labels]
    covered = coverage(labels, p, thresholds)
    for c, n in enumerate(np.bincount(labels)):
        rank = math.ceil((fitted[c] + 1) * level)  # given the fit, coverage is Beta(rank, n + 1 - rank)
        low, high = betabinom.ppf([5e-4, 0.9995], n, rank, fitted[c] + 1 - rank)
        assert low <= above[labels == c].sum() <= high
        assert covered[c] >= above[labels == c].mean(), "the likeliest class is in every set"
    assert 1.0 < class_sets(p, thresholds).sum(1).mean() < 2.2, "and not by naming every class"


def test_the_guarantee_holds_for_small_samples_on_average():
    """Marginal over the draw of the calibration images: at least the level, at most 1 / (n + 1) more."""
    n, covered = 24, []
    rng = np.random.default_rng(4)
    for _ in range(4000):
        p = rng.random((n + 1, 1))
        p = np.hstack([p, 1 - p])
        thresholds = fit_thresholds(np.zeros(n, int), p[:-1], 0.9)
        covered.append(p[-1, 0] >= thresholds[0])
    assert 0.9 - 0.015 < np.mean(covered) < 0.9 + 1 / (n + 1) + 0.015


def test_too_few_images_of_a_class_put_it_into_every_set():
    labels, p = np.array([0] * 30 + [1] * 18), np.full((48, 3), [0.7, 0.2, 0.1])
    assert fit_thresholds(labels, p) == [0.7, 0.0, 0.0]
    assert class_sets([[0.9, 0.08, 0.02]], [0.7, 0.0, 0.0]).tolist() == [[True, True, True]]


def test_a_set_is_never_empty_and_the_edge_belongs_to_it():
    sets = class_sets([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], [0.9, 0.9, 0.4])
    assert sets.tolist() == [[True, False, False], [False, True, True]]


def test_refusals():
    with pytest.raises(UserError, match="between 0 and 1"):
        fit_thresholds([0, 1], [[0.5, 0.5], [0.5, 0.5]], 1.0)
    assert coverage([0, 0], [[0.9, 0.1], [0.8, 0.2]], [0.85, 0.5]) == [1.0, None]
