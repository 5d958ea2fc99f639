"""The ssl study: what each row is held against, gains on the same images, verdicts, and the few labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deeplense_core.bench import ssl as study
from deeplense_core.bench.ssl_table import PIXELS, SCRATCH, Row, lines, over_seeds, table_rows
from deeplense_core.errors import UserError
from deeplense_core.spec import make_config

LABELS = np.arange(300) % 3
METRIC = {"value": 0.5, "low": 0.4, "high": 0.6}
REPORT = dict.fromkeys(("probe_auc_macro_1_percent", "knn_accuracy", "rotation_error", "effective_rank"), METRIC)


def row(name: str, strength: float, seeds: int = 2) -> Row:
    """Probabilities that know the class the better, the larger ``strength`` is."""
    rng = np.random.default_rng(0)
    said = []
    for _ in range(seeds):
        raw = rng.random((300, 3))
        raw[np.arange(300), LABELS] += strength
        said.append(raw / raw.sum(1, keepdims=True))
    return Row(name, [f"run{i}" for i in range(seeds)], [], LABELS, said, [REPORT] * seeds)


@pytest.fixture(scope="module")
def found():
    rows = [row("simclr", 0.9), row("byol", 0.11), row(PIXELS, 0.1, 1), row(SCRATCH, 0.3), row(
        "1 % of labels, from simclr", 0.5), row("simclr, fresh", 0.5),
        row("simclr, fresh, pairs=source", 0.05)]  # fmt: skip
    return table_rows("common-test", rows)


def test_the_auc_is_that_of_scikit_learn_and_its_mean_over_seeds():
    one = row("x", 0.3)
    each = [roc_auc_score(LABELS, p, multi_class="ovr") for p in one.probabilities]
    assert over_seeds(LABELS, one.probabilities, 10)[0] == pytest.approx(np.mean(each), abs=1e-12)


def test_every_row_is_held_against_the_right_one(found):
    peers = {name.removeprefix("ssl common-test "): line["peer_name"] for name, line in found.items()}
    assert peers == {
        "simclr": PIXELS, "byol": PIXELS, PIXELS: PIXELS, SCRATCH: PIXELS, "1 % of labels, from simclr": SCRATCH,
        "simclr, fresh": PIXELS, "simclr, fresh, pairs=source": "simclr, fresh",
    }  # fmt: skip


def test_verdicts_name_what_helps_what_does_not_and_what_hurts(found):
    notes = {name.removeprefix("ssl common-test "): line["note"] for name, line in found.items()}
    assert notes["simclr"] == "helps: 10 points or half of 1 - AUC"
    assert notes["byol"] == "does not help"
    assert notes["simclr, fresh, pairs=source"] == "hurts"
    for line in found.values():
        gain = line["difference"]
        assert gain["low"] <= gain["value"] <= gain["high"]
        assert gain["value"] == pytest.approx(line["ours"] - line["peer"])


def test_the_table_holds_every_row(found):
    text = lines(found)
    assert len(text) == 1 + len(found) + 3
    assert sum("does not help" in line for line in text) == 1
    assert "2 seeds" in text[-3]


def test_few_labels_are_one_percent_of_the_training_labels(workspace, monkeypatch):
    monkeypatch.setattr(study, "PARTNER", {})
    cfg = make_config(study.SslBenchConfig, {"images": 100, "judged": 120, "seeds": 1})
    work = study.Study(cfg, "common-test", lambda _: None)
    few, whole = work.few(), work.judged
    assert (few.labels[few.rows("train")] >= 0).sum() == 3  # one of each class, more than 1 % of so few
    for split in ("val", "test"):
        np.testing.assert_array_equal(few.labels[few.rows(split)], whole.labels[whole.rows(split)])
    np.testing.assert_array_equal(np.asarray(few.images), np.asarray(whole.images))
    assert work.few().fingerprint == few.fingerprint  # taken up, not made again


def test_unknown_data_is_refused():
    with pytest.raises(UserError, match="not part of this study"):
        study.run({"data": "common"})


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """Runs are planned and neither trained nor scored: each is said to have the same numbers."""
    specs = []

    class Done:
        best, best_name = 0.6, "knn_accuracy"

        def __init__(self, spec):
            self.id, self.spec, self.status = f"run-{len(specs)}", spec, self

    def trained(spec, say):
        specs.append(spec)
        return Done(spec)

    def scored(run, data, say):
        folder = tmp_path / run.id
        folder.mkdir()
        said = row("x", 0.3, 1).probabilities[0]
        names = ("pixels (PCA)", "random encoder") if run.spec.task == "ssl" else ()
        np.savez(folder / "predictions.npz", labels=LABELS, probabilities=said,
                 **{f"{name}: probabilities": said for name in names})
        report = {"metrics": REPORT, "rows": dict.fromkeys(names, REPORT)}
        (folder / "report.json").write_text(json.dumps(report))
        return folder

    monkeypatch.setattr(study, "trained", trained)
    monkeypatch.setattr(study, "scored", scored)
    monkeypatch.setattr(study, "open_run", lambda run: Done(None))
    monkeypatch.setattr("deeplense_core.train.check_start", lambda name, model: None)
    return specs


@pytest.mark.parametrize("recipe", [study.RECIPES[0], pytest.param(study.RECIPES[1], marks=pytest.mark.long)])
def test_the_whole_study_is_planned(pretended, recipe):
    """Every run of a small study passes the checks that a real one must pass before it trains."""
    rows = study.run({"data": recipe, "images": 100, "judged": 120, "seeds": 2, "epochs": 1, "few_epochs": 1})
    named = [name.removeprefix(f"ssl {recipe} ") for name in rows]
    assert set(study.METHODS) <= set(named)
    assert {PIXELS, "random encoder", SCRATCH, "supervised, all labels", "1 % of labels, from simclr"} <= set(named)
    assert {"margin-labels, seed's encoder", "margin, seed's encoder"} <= set(named)
    pairs = study.PARTNER[recipe]
    plain = "simclr" if recipe in study.ALWAYS_FRESH else "simclr, fresh"
    assert {plain, f"{plain}, pairs={pairs}"} <= set(named)
    for spec in pretended:
        fresh = recipe in study.ALWAYS_FRESH or "fresh" in spec.name
        assert spec.data.startswith("sim:") == (spec.task == "ssl" and fresh), spec.name
    started = [spec.train_settings["init"] for spec in pretended if spec.task == "classify"]
    assert [bool(init) for init in started] == [False] * 4 + [True] * 2
    assert len(set(started[4:])) == 2  # each seed from the encoder of that seed
    assert len(lines(rows)) == len(rows) + 4
