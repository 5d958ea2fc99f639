"""Labels that are hidden stay hidden from training, and serve the test alone."""

import numpy as np
import pytest
import torch

from deeplense_core.calibrate import SIMULATED
from deeplense_core.evaluate import held_out
from deeplense_core.sim import simulate_dataset
from deeplense_core.sources import OnlineConfig, SimulatedSource, open_source, simulated_validation

CPU = torch.device("cpu")
HARD = "sim:lens-finding-hard"


def test_online_batches_hide_the_labels_that_a_stored_set_hides(tmp_path):
    stored = simulate_dataset("lens-finding-hard", 240, tmp_path / "hard", seed=5)
    source = open_source(HARD, OnlineConfig(images_per_epoch=240, matched=False), 5, CPU, False)
    batch = source.batch(0, 0, 240, 1)
    np.testing.assert_array_equal(batch.labels.numpy() >= 0, stored.labels >= 0)
    assert 0.1 < float((batch.labels >= 0).float().mean()) < 0.3
    known = batch.labels >= 0
    np.testing.assert_array_equal(batch.labels.numpy()[known], stored.labels[known.numpy()])


def test_a_stored_test_split_is_scored_whole_and_the_others_by_their_labels(tmp_path):
    stored = simulate_dataset("lens-finding-hard", 240, tmp_path / "hard", seed=5, splits={"test": 0.5, "train": 0.5})
    part, _ = held_out(str(stored.path), "test", 0, 0, True)
    assert len(part) == len(stored.rows("test")) > (stored.labels[stored.rows("test")] >= 0).sum()
    truth = stored.catalog["truth_label"].to_numpy()[part.rows]
    assert [stored.classes[i] for i in part.labels] == truth.tolist()
    train, _ = held_out(str(stored.path), "train", 0, 0, True)
    assert len(train) == (stored.labels[stored.rows("train")] >= 0).sum()


@pytest.mark.parametrize(("name", "part"), [("lens-finding-hard", 0.2), ("lens-finding-easy", 1.0)])
def test_online_validation_has_as_many_images_as_carry_labels(name, part, monkeypatch):
    counts = []
    monkeypatch.setattr("deeplense_core.sources.simulated_images", lambda _name, count, *_: counts.append(count))
    simulated_validation(name, SIMULATED, 0)
    SimulatedSource(name, OnlineConfig(), 0, CPU, False).part("val")
    assert counts == [round(part * SIMULATED), round(part * OnlineConfig().val_images)]
