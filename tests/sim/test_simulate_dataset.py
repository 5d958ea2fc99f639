"""Data sets from a recipe: complete, the same for the same seed, and a shorter one begins a longer one."""

import numpy as np
import pytest

from deeplense_core.errors import UserError
from deeplense_core.sim import simulate_dataset
from deeplense_core.sim.dataset import CHUNK


def test_a_shorter_data_set_is_the_beginning_of_a_longer_one(tmp_path):
    steps = []
    longer = simulate_dataset("model-2", CHUNK + 30, tmp_path / "long", seed=3,
                              progress=lambda done, total: steps.append((done, total)))
    shorter = simulate_dataset("model-2", 50, tmp_path / "short", seed=3)
    assert steps == [(CHUNK, CHUNK + 30), (CHUNK + 30, CHUNK + 30)]
    assert len(longer.images) == CHUNK + 30
    assert np.array_equal(longer.images[:50], shorter.images)
    assert np.array_equal(longer.labels[:50], shorter.labels)
    assert longer.catalog["truth_source_x"][:50].tolist() == shorter.catalog["truth_source_x"].tolist()
    again = simulate_dataset("model-2", 50, tmp_path / "again", seed=3)
    assert again.fingerprint == shorter.fingerprint
    assert simulate_dataset("model-2", 50, tmp_path / "other", seed=4).fingerprint != shorter.fingerprint


def test_the_manifest_says_how_it_was_made(tmp_path):
    made = simulate_dataset("common-test", 12, tmp_path / "set", seed=1, as_published=True, settings={"sky": 20})
    source = made.manifest["source"]
    assert source["recipe"] == "common-test"
    assert source["as_published"] is True
    assert source["settings"]["sky"] == 20
    assert source["compiled"] is False
    assert source["differences"]
    assert made.classes == ("no", "sphere", "vort")
    assert made.pixel_scale_arcsec == 0.05
    assert {"truth_theta_E", "truth_mass_fraction", "truth_image_max"} <= set(made.catalog.columns)
    assert sorted(np.bincount(made.labels)) != [12]


@pytest.mark.parametrize(("name", "count", "words"), [("model-9", 5, "Did you mean"), ("model-1", 0, "at least 1")])
def test_nothing_is_left_where_it_cannot_be_made(tmp_path, name, count, words):
    with pytest.raises(UserError, match=words):
        simulate_dataset(name, count, tmp_path / "set")
    assert not list(tmp_path.iterdir())
