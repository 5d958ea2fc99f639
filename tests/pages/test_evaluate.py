"""The evaluate page: its numbers against scikit-learn, its cells against the predictions, its files."""

import json
import sys
import time

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from trained_run import CLASSES, fake_run, said, trained, trained_home  # noqa: F401  (fixtures)

from deeplense_core.evaluations import scoring
from deeplense_core.evaluations.predictions import evaluations, read_predictions
from pages.ui.evaluation import Evaluation, as_html, chosen_cell, confusion, roc


def evaluation_of(run) -> Evaluation:
    (path,) = run.path.glob("evaluations/*/report.json")
    return Evaluation(path.parent, json.loads(path.read_text()))


def rewrite(run, labels) -> None:
    """The same run, as if its images had these labels."""
    from deeplense_core.metrics import baseline_rows, classification_metrics

    one = evaluation_of(run)
    known = one.predictions
    np.savez(one.folder / "predictions.npz", ids=known.ids, labels=labels, probabilities=known.probabilities)
    report = {**one.report, "metrics": classification_metrics(labels, known.probabilities, CLASSES),
              "rows": baseline_rows(labels, CLASSES), "time": one.report["time"] + 1}  # fmt: skip
    (one.folder / "report.json").write_text(json.dumps(report))


def test_an_empty_workspace_offers_what_ships(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(scoring, "start", lambda name, data, split="test": started.append((name, data, split)))
    app = open_page("evaluate")
    assert app.selectbox(key="evaluate_run").value == "common-test"
    app.button(key="evaluate_own").click().run()
    assert started == [("common-test", "sim:common-test", "test")]


def test_numbers_shown_equal_scikit_learn(open_page, trained):  # noqa: F811
    app = open_page("evaluate", run=trained.id)
    assert not app.error
    one = evaluation_of(trained)
    known = read_predictions(one.folder, CLASSES)
    shown = one.report["metrics"]
    expected = {
        "auc_macro": roc_auc_score(known.labels, known.probabilities, multi_class="ovr"),
        "accuracy": accuracy_score(known.labels, known.predicted),
        "f1_macro": f1_score(known.labels, known.predicted, average="macro"),
        "auc_vort": roc_auc_score(known.labels == 2, known.probabilities[:, 2]),
    }
    for name, value in expected.items():
        assert shown[name]["value"] == pytest.approx(value, abs=1e-9), name
    chart = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert chart["layout"]["title"]["text"] == one.finding
    assert f"AUC {expected['auc_macro']:.3f}" in one.finding


def test_cells_hold_exactly_their_images(trained):  # noqa: F811
    one = evaluation_of(trained)
    known = one.predictions
    points = confusion(one, "light").data[1]
    seen = []
    for place, (true, predicted, count) in enumerate(points.customdata):
        event = {"selection": {"points": [{"point_index": place, "customdata": [true, predicted, count]}]}}
        rows = known.cell(*chosen_cell(event))
        assert len(rows) == count
        assert (known.labels[rows] == CLASSES.index(true)).all()
        assert (known.probabilities[rows].argmax(axis=1) == CLASSES.index(predicted)).all()
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(known.labels)))
    assert chosen_cell({"selection": {"points": []}}) is None


def test_images_of_a_cell_are_those_of_the_data_set(trained):  # noqa: F811
    from deeplense_core.data import open_dataset
    from deeplense_core.lookup import images_of

    one = evaluation_of(trained)
    ids = [str(name) for name in one.predictions.ids[::-1]]
    dataset = open_dataset(trained.spec.data)
    rows = [list(dataset.catalog["id"]).index(name) for name in ids]
    np.testing.assert_array_equal(images_of(trained.spec.data, ids), dataset.images[rows])


def test_one_class_has_no_roc(open_page, trained):  # noqa: F811
    rewrite(trained, np.zeros_like(evaluation_of(trained).predictions.labels))
    app = open_page("evaluate", run=trained.id)
    assert not app.error
    title = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]["title"]["text"]
    assert title == "ROC undefined: only class no is present"
    assert title in as_html(evaluation_of(trained))


@pytest.mark.parametrize("view", ["Calibration", "Scores", "Threshold and recovery", "Numbers and report"])
def test_every_view_opens(open_page, trained, view):  # noqa: F811
    app = open_page("evaluate", run=trained.id)
    app.session_state["view"] = view
    app.run()
    assert not app.exception
    assert not app.error
    if view == "Numbers and report":
        table = app.dataframe[-1].value
        assert {"chance", "majority class", trained.id} <= set(table.columns)
        assert table.loc["AUC", "chance"] == "0.500"
    if view == "Threshold and recovery":
        assert "theta_E" in [box.value for box in app.selectbox]
        assert all("bump" not in box.options for box in app.selectbox)
        titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in app.get("plotly_chart")]
        known = evaluation_of(trained).predictions
        found = (known.probabilities[known.labels == 2, 2] >= 0.5).mean()
        assert any(f"Completeness {found:.3f}, purity" in title and "1 in 1,000" in title for title in titles)


def test_report_stands_alone_and_escapes(trained):  # noqa: F811
    one = evaluation_of(trained)
    text = as_html(Evaluation(one.folder, {**one.report, "run": "<script>alert(1)</script>"}))
    assert "<script>alert(1)" not in text
    assert one.finding in text
    assert "src=\"http" not in text
    assert text.count("class=\"plotly-graph-div\"") == 7


def test_logarithmic_axis_keeps_the_curve(trained):  # noqa: F811
    one = evaluation_of(trained)
    plain, log = (roc(one, log_x, "light") for log_x in (False, True))
    assert plain.layout.title.text == log.layout.title.text == one.finding
    assert log.layout.xaxis.type == "log"


def test_a_run_without_evaluation_offers_its_own_test_images(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(scoring, "start", lambda name, data, split="test": started.append((name, data, split)))
    run = fake_run()
    run.save_file("model.json", json.dumps({"data": run.spec.data}).encode())
    app = open_page("evaluate", run=run.id)
    app.button(key="evaluate_own").click().run()
    assert started == [(run.id, "sim:common-test", "test")]


STAND_IN = """
import json, os, sys, time
from pathlib import Path
_, run, flag, data, flag2, split, flag3 = sys.argv
assert (flag, flag2, flag3) == ("--data", "--split", "--json")
folder = Path(os.environ["DEEPLENSE_HOME"], "runs", run, "evaluations")
first = next(folder.glob("*/report.json"))
time.sleep(1)
(folder / "other").mkdir()
(folder / "other" / "predictions.npz").write_bytes((first.parent / "predictions.npz").read_bytes())
report = json.loads(first.read_text()) | {"split": split, "time": time.time(), "seen_in_training": True}
(folder / "other" / "report.json").write_text(json.dumps(report))
"""


def test_background_evaluation_arrives(open_page, trained, tmp_path, monkeypatch):  # noqa: F811
    """The command stands for ``evaluate``, whose own tests are elsewhere: importing torch again takes long."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(scoring, "COMMAND", [sys.executable, str(tmp_path / "stand_in.py")])
    scoring.start(trained.id, trained.spec.data, "val")
    assert "Evaluating on rings" in said(open_page("evaluate", run=trained.id))
    deadline = time.monotonic() + 60
    while (now := scoring.scoring(trained.id)) and now.running and time.monotonic() < deadline:
        time.sleep(0.1)
    assert now is None, now
    assert {report["split"] for _, report in evaluations(trained.id)} == {"test", "val"}
    assert "used in training: the numbers flatter" in said(open_page("evaluate", run=trained.id))


def test_a_failed_background_evaluation_says_why(open_page, trained):  # noqa: F811
    from deeplense_core.machine import identity

    folder = trained.path / "scoring"
    folder.mkdir()
    gone = {**identity(), "start_time": 1.0}
    job = {"facts": {"data": "gone", "split": "test"}, "worker": gone, "started": 1e12}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "log.txt").write_text("noise\nThere is no data set at 'gone'. Make one.\n")
    app = open_page("evaluate", run=trained.id)
    assert app.error[0].value == "**There is no data set at 'gone'.**  \nMake one."
    app.button(key="evaluate_dismiss").click().run()
    assert not app.error
