"""Images found again by the ids of an evaluation."""

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.lookup import images_of, truths_of
from deeplense_core.sources import simulated_images


@pytest.fixture
def stored(tmp_path):
    images = np.random.default_rng(0).normal(size=(12, 1, 8, 8)).astype(np.float32)
    with DatasetWriter(tmp_path / "set", classes=("a", "b"), shape=(1, 8, 8), source={"kind": "test"}) as writer:
        names = [f"x{i}" for i in range(12)]
        writer.append(images, {"label": ["a", "b"] * 6, "id": names, "truth_radius": np.arange(12.0)})
        return writer.finish(), images


def test_stored_images_in_the_order_asked(stored):
    dataset, images = stored
    np.testing.assert_array_equal(images_of(str(dataset.path), ["x7", "x0", "x7"]), images[[7, 0, 7]])
    assert truths_of(str(dataset.path), ["x3", "x1"])["radius"].tolist() == [3.0, 1.0]


def test_an_id_that_is_gone_is_named(stored):
    with pytest.raises(UserError, match="'gone'"):
        images_of(str(stored[0].path), ["x1", "gone"])


def test_simulated_images_are_simulated_again_to_the_byte():
    part = simulated_images("model-2", 300, 5, 1 << 41)
    pick = [299, 3, 256]
    again = images_of("sim:model-2", [str(part.ids[i]) for i in pick])
    blocks = np.concatenate(list(part.blocks(512)))
    np.testing.assert_array_equal(again, blocks[pick])
    truths = truths_of("sim:model-2", [str(part.ids[i]) for i in pick])
    np.testing.assert_allclose(truths["source_x"], part.columns["truth_source_x"][pick], rtol=1e-6)
    np.testing.assert_allclose(truths["mass_fraction"], part.columns["truth_mass_fraction"][pick], rtol=1e-6)
