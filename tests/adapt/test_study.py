"""The table of the adaptation study, from scores to text."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deeplense_core.adapt import ADAPTATIONS
from deeplense_core.adapt.report import VERDICTS
from deeplense_core.bench.adapt import AdaptBenchConfig, data_sets, lines, spec_of, start_of
from deeplense_core.bench.finder_table import table_rows

ADAPT = ("adapt", "none", "source only", VERDICTS)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    is_lens = np.arange(400) % 4 == 0

    def scores(apart):
        return [rng.normal(size=400) + apart * is_lens for _ in range(2)]

    return is_lens, {"none": scores(0.5), "dann": scores(2.0), "mmd": scores(0.5), "adda": scores(-0.5)}


def test_rows_are_means_over_seeds_beside_the_source_alone(drawn):
    is_lens, scores = drawn
    rows = table_rows(is_lens, scores, *ADAPT)
    for method, found in scores.items():
        each = [roc_auc_score(is_lens, one) for one in found]
        row = rows[f"adapt_{method}"]
        assert row["auroc"]["seeds"] == pytest.approx(each, abs=1e-12)
        assert row["ours"] == pytest.approx(np.mean(each), abs=1e-12)
        assert row["auroc"]["low"] < row["ours"] < row["auroc"]["high"]
        assert row["peer"] == rows["adapt_none"]["ours"]
    gain = rows["adapt_dann"]["difference"]
    assert gain["value"] == pytest.approx(rows["adapt_dann"]["ours"] - rows["adapt_none"]["ours"], abs=1e-12)
    assert [rows[f"adapt_{name}"]["note"] for name in ("dann", "mmd", "adda")] == [
        "helps", "no difference shown", "harms"]  # fmt: skip


def test_the_table_says_who_does_not_help(drawn):
    text = lines(table_rows(*drawn, *ADAPT))
    assert [line.split()[0] for line in text[1:5]] == ["none", "dann", "mmd", "adda"]
    assert text[1].endswith("source only")
    assert any(line.startswith("Means over 2 seeds") for line in text)
    assert text[-1] == "Do not help here: mmd, adda."


def test_every_method_goes_on_from_the_same_network_for_equally_long():
    cfg = AdaptBenchConfig(source=100, target=200, test=200, first=2, epochs=3, model="d4net")
    source, target, test = data_sets(cfg, lambda text: None)
    assert test.catalog["label"].eq("lens").mean() == pytest.approx(0.01, abs=0.01)
    start = start_of(cfg, 1, source, target)
    specs = {name: spec_of(cfg, name, 1, source, target, "common-test") for name in ADAPTATIONS}
    assert start.train_settings["init"] == ""
    assert start.train_settings["epochs"] == 2
    assert len({spec.name for spec in specs.values()}) == len(ADAPTATIONS)
    for name, spec in specs.items():
        wanted = {"init": "common-test", "epochs": 3, "adapt": name, "target": str(target.path), "lr": 0.001}
        assert wanted.items() <= spec.train_settings.items()
    assert specs["finetune"].train_settings["finetune_from"] == 0  # the source was learnt by the run before
