"""Truth is no feature."""

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.features import feature_columns, feature_names


@pytest.fixture
def dataset(tmp_path):
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
    rows = {"label": ["lens", "nonlens", "lens", ""], "feature_mag_r": [1.0, 2.0, np.nan, 4.0],
            "feature_note": ["a", "b", "c", "d"], "truth_Einstein_area": [1.0, 0.0, 2.0, 0.0], "ra": [1.0] * 4}
    with DatasetWriter(tmp_path / "set", classes=("lens", "nonlens"), shape=(1, 8, 8), source={}) as writer:
        writer.append(images, rows)
        return writer.finish()


def test_features_come_as_a_matrix(dataset):
    matrix, names = feature_columns(dataset)
    assert names == feature_names(dataset) == ["feature_mag_r"]
    np.testing.assert_array_equal(matrix, np.array([[1], [2], [np.nan], [4]], np.float32))
    assert feature_columns(dataset, ["mag_r", "ra"])[1] == ["feature_mag_r", "ra"]


@pytest.mark.parametrize("name", ["truth_Einstein_area", "Einstein_area", "truth_anything"])
def test_truth_is_refused_by_name(dataset, name):
    with pytest.raises(UserError, match=f"{name}.*gives the answer away.*leaky_ablation"):
        feature_columns(dataset, ["feature_mag_r", name])


def test_the_switch_lets_truth_through(dataset):
    for name in ("truth_Einstein_area", "Einstein_area"):
        matrix, names = feature_columns(dataset, ["mag_r", name], leaky_ablation=True)
        assert names == ["feature_mag_r", "truth_Einstein_area"]
        assert matrix[:, 1].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(("name", "words"), [("mag_x", "no feature 'mag_x'"), ("label", "no feature 'label'"),
                                             ("feature_note", "holds text")])
def test_what_is_no_feature_is_said(dataset, name, words):
    for leaky in (False, True):
        with pytest.raises(UserError, match=words):
            feature_columns(dataset, [name], leaky_ablation=leaky)


def test_a_set_without_features_says_so(dataset):
    dataset.__dict__["catalog"] = dataset.catalog.drop(columns="feature_mag_r")
    with pytest.raises(UserError, match="no features"):
        feature_columns(dataset)
