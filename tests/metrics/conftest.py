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


def _contrast(one: str, other: str) -> float:
    """WCAG contrast of two colours, 1 to 21."""

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="session")
def contrast():
    return _contrast
