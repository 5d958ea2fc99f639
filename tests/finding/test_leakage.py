"""Truth is no feature."""

import numpy as np
import pytest

from deeplense_core.errors import UserError
from deeplense_core.features import FeatureConfig, feature_matrix, is_leaky, wanted_names
from deeplense_core.photometry import measure, measured_names

COLUMNS = ("feature_mag_r", "truth_Einstein_area", "ra")
MEASURABLE = measured_names(("r",), 1)


def wanted(features: str, leaky: bool = False) -> list[str]:
    return wanted_names(FeatureConfig(features, leaky), COLUMNS, MEASURABLE, "the set")


def test_all_is_every_observable_column_or_what_can_be_measured():
    assert wanted("all") == ["feature_mag_r"]
    assert wanted_names(FeatureConfig(), ("ra",), MEASURABLE, "the set") == MEASURABLE


def test_columns_are_named_with_or_without_their_prefix():
    assert wanted("mag_r, ra, half_light_r") == ["feature_mag_r", "ra", "feature_half_light_r"]


@pytest.mark.parametrize("name", ["truth_Einstein_area", "Einstein_area", "truth_anything"])
def test_truth_is_refused_by_name(name):
    with pytest.raises(UserError, match=f"{name}.*gives the answer away.*leaky_ablation"):
        wanted(f"feature_mag_r, {name}")


@pytest.mark.parametrize("name", ["truth_Einstein_area", "Einstein_area"])
def test_the_switch_lets_truth_through_and_says_so(name):
    names = wanted(f"mag_r, {name}", leaky=True)
    assert names == ["feature_mag_r", "truth_Einstein_area"]
    assert is_leaky(names)
    assert not is_leaky(names[:1])


@pytest.mark.parametrize(("text", "words"), [("mag_x", "no column of numbers 'mag_x'.*feature_mag_r"),
                                             ("label", "no column of numbers 'label'"), (" , ", "names no column")])
def test_what_is_no_feature_is_said(text, words):
    for leaky in (False, True):
        with pytest.raises(UserError, match=words):
            wanted(text, leaky)


def test_a_matrix_takes_columns_first_then_measures_then_knows_nothing():
    images = np.random.default_rng(0).normal(size=(3, 1, 16, 16)).astype(np.float32)
    names = ["feature_mag_r", "feature_snr_r", "ra"]
    matrix = feature_matrix(names, {"feature_mag_r": np.array([1.0, np.nan, 3.0])}, images, ("r",))
    assert matrix.dtype == np.float32
    assert np.isnan(matrix[:, 2]).all()
    np.testing.assert_array_equal(matrix[:, 0], [1, np.nan, 3])
    np.testing.assert_array_equal(matrix[:, 1], measure(images, ("r",))["feature_snr_r"].astype(np.float32))


def test_measured_names_are_those_of_the_columns():
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    for bands in ((), ("g", "r", "i")):
        assert list(measure(images, bands)) == measured_names(bands, 3)
