"""Bad input gets one message that names the trouble."""

import subprocess
import sys

import numpy as np
import pytest

from deeplense_core import metrics
from deeplense_core.errors import UserError

GOOD = np.array([[0.2, 0.8], [0.7, 0.3]])


@pytest.mark.parametrize(
    ("labels", "scores", "says"),
    [
        ([], [], "no images"),
        ([0, 1], [0.1, np.nan], "1 of 2 scores are NaN"),
        ([0, 1], [0.1, np.inf], "NaN or infinite"),
        ([0, 1], [0.1], "equally long"),
        ([[0, 1]], [[0.1, 0.2]], "one number per image"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([1, 1], [0.1, 0.2], "only positives"),
        ([0, 0], [0.1, 0.2], "only negatives"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        metrics.roc_curve,
        metrics.pr_curve,
        metrics.auc_binary,
        metrics.average_precision,
        metrics.threshold_table,
        metrics.find_metrics,
        metrics.roc_band,
        metrics.pr_band,
    ],
)
def test_binary(call, labels, scores, says):
    with pytest.raises(UserError, match=says):
        call(np.array(labels), np.array(scores))


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        (np.array([], int), np.empty((0, 3)), "no images"),
        ([0, 1], [[0.2, np.nan], [0.7, 0.3]], "1 of 2 images"),
        ([0, 1, 0], GOOD, "do not fit"),
        ([0, 1], [0.2, 0.8], "do not fit"),
        ([0, 1], [[1.0], [1.0]], "2 classes or more"),
        ([0, 2], GOOD, "Label 2 is outside 0..1"),
        ([0, -1], GOOD, "-1 means unlabelled"),
        ([0.0, 1.0], GOOD, "whole class numbers"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], "add up to 1"),
        ([0, 1], [[3.0, 1.0], [0.5, 0.5]], "Apply softmax"),
    ],
)
@pytest.mark.parametrize(
    "call", [metrics.classification_metrics, metrics.confusion, metrics.reliability, metrics.auc_macro]
)
def test_multiclass(call, labels, probabilities, says):
    with pytest.raises(UserError, match=says):
        call(labels, probabilities)


def test_names_must_fit_the_columns():
    with pytest.raises(UserError, match="3 class names for 2 columns"):
        metrics.classification_metrics([0, 1], GOOD, ["a", "b", "c"])


def test_macro_auc_needs_every_class():
    with pytest.raises(UserError, match="only class 1 is present"):
        metrics.auc_macro([1, 1], GOOD)


def test_comparison_names_the_nearest_metric():
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        metrics.paired_difference([0, 1], GOOD, GOOD, "acuracy")
    with pytest.raises(UserError, match="not comparable"):
        metrics.paired_difference([0, 1], GOOD, [[0.2, 0.2, 0.6]] * 2)
    with pytest.raises(UserError, match="only class 1 is present"):
        metrics.paired_difference([1, 1], GOOD, GOOD, "auc_macro")


def test_prevalence_bins_temperature_and_logits():
    with pytest.raises(UserError, match="Prevalence 0"):
        metrics.threshold_table([0, 1], [0.1, 0.9], prevalence=0)
    with pytest.raises(UserError, match="edges must rise"):
        metrics.recovery([0, 1], [0.1, 0.9], [1.0, 1.0], bins=[1, 0])
    with pytest.raises(UserError, match="one number per image"):
        metrics.recovery([0, 1], [0.1, 0.9], [1.0])
    with pytest.raises(UserError, match="finite value"):
        metrics.recovery([0, 1], [0.1, 0.9], [1.0, np.nan])
    with pytest.raises(UserError, match="Temperature 0"):
        metrics.apply_temperature([[0.0, 1.0]], 0)
    with pytest.raises(UserError, match="logits are NaN"):
        metrics.fit_temperature([[np.nan, 1.0]], [0])


def test_neither_metrics_nor_plots_load_torch_or_streamlit():
    code = (
        "import sys, deeplense_core.metrics, deeplense_core.plots;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'streamlit')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
