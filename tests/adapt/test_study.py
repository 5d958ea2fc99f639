"""The table of the adaptation study, from scores to text."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deeplense_core.bench.adapt import lines, table_rows


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    is_lens = np.arange(400) % 4 == 0

    def scores(apart):
        return [rng.normal(size=400) + apart * is_lens for _ in range(2)]

    return is_lens, {"none": scores(0.5), "dann": scores(2.0), "mmd": scores(0.5), "adda": scores(-0.5)}


def test_rows_are_means_over_seeds_beside_the_source_alone(drawn):
    is_lens, scores = drawn
    rows = table_rows(is_lens, scores)
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
    text = lines(table_rows(*drawn))
    assert [line.split()[0] for line in text[1:5]] == ["none", "dann", "mmd", "adda"]
    assert text[1].endswith("source only")
    assert any(line.startswith("Means over 2 seeds") for line in text)
    assert text[-1] == "Do not help here: mmd, adda."
