"""A seeded three-class prediction shared by the metric and figure tests."""

import numpy as np
import pytest

from deeplense_core import metrics

CLASSES = ("no", "sphere", "vort")


@pytest.fixture(scope="session")
def predicted():
    """Labels (600,) and probabilities (600, 3): unbalanced, imperfect, overconfident."""
    rng = np.random.default_rng(7)
    labels = rng.choice(3, size=600, p=(0.5, 0.3, 0.2))
    logits = rng.normal(size=(600, 3))
    logits[np.arange(600), labels] += 1.5
    return labels, metrics.softmax(2.5 * logits)
