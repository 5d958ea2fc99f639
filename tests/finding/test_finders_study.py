"""The study of networks with and without features: equal work for each, one table, taken up where it was left."""

import pytest

from deeplense_core.bench import finders
from deeplense_core.errors import UserError
from deeplense_core.runs import list_runs

TINY = {"images": 100, "test": 200, "epochs": 1, "seeds": 1, "networks": finders.IMAGE_ONLY}


def test_every_network_gets_the_same_images_and_passes():
    cfg = finders.FindersBenchConfig(images=100, test=200)
    known, test = finders.data_sets(cfg, lambda text: None)
    assert (known.labels >= 0).all()
    assert any(name.startswith("feature_") for name in known.catalog)
    assert test.catalog["label"].eq("lens").mean() == pytest.approx(0.01, abs=0.01)
    specs = [finders.spec_of(cfg, way, 2, known) for way in finders.WAYS]
    assert len({(spec.data, spec.seed, spec.train_settings["epochs"], spec.train_settings["lr"])
                for spec in specs}) == 1  # fmt: skip
    assert specs[1].model_settings["backbone"] == specs[0].model == finders.IMAGE_ONLY


def test_a_second_call_trains_and_scores_nothing_again(monkeypatch):
    monkeypatch.setitem(finders.WAYS, finders.IMAGE_ONLY, ("cutout-resnet", {"width": 8, "blocks": 1}))
    said = []
    rows = finders.run(TINY, said.append)
    assert list(rows) == ["finders_cutout-resnet"]
    assert len(list_runs()) == 1
    assert finders.lines(rows)[1].endswith("images alone")
    first = list(said)
    assert finders.run(TINY, said.append) == rows
    assert said == first


def test_an_unknown_network_is_named():
    with pytest.raises(UserError, match="networks = 'fusion-resnt' is not part of this study. .*fusion-resnet"):
        finders.run({"networks": "fusion-resnt"})
