"""Runs compared by settings and on the same images; predictions read back; tables that are safe to open."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from deeplense_core.command import changed, train_command
from deeplense_core.errors import UserError
from deeplense_core.evaluations.compare import difference, differing_settings, paired, verdict
from deeplense_core.evaluations.predictions import Predictions, read_predictions
from deeplense_core.evaluations.report import html_report, metric_table, prediction_table, to_csv, with_interval
from deeplense_core.spec import Knob, RunSpec

CLASSES = ("no", "sphere", "vort")


def answers(sharpness: float = 1.0, seed: int = 0, count: int = 90, order=None) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    logits = sharpness * np.eye(3)[labels] + rng.normal(size=(count, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    order = np.arange(count) if order is None else order
    ids = np.array([f"image-{i}" for i in range(count)])
    return Predictions(ids[order], labels[order], probabilities[order], CLASSES)


def test_differing_settings_leaves_out_what_is_alike():
    specs = {
        "a": RunSpec("classify", "d", "resnet18", {"dropout": 0.1}, {"lr": 0.1, "epochs": 2}, seed=1),
        "b": RunSpec("classify", "d", "d4net", {"width": 8}, {"lr": 0.1, "epochs": 3}, seed=1),
    }
    assert differing_settings(specs) == {
        "model": {"a": "resnet18", "b": "d4net"},
        "dropout": {"a": 0.1, "b": None},
        "epochs": {"a": 2, "b": 3},
        "width": {"a": None, "b": 8},
    }


ROLLED = Predictions(answers().ids, np.roll(answers().labels, 1), answers().probabilities, CLASSES)
RENAMED = Predictions(answers().ids, answers().labels, answers().probabilities, ("a", "b", "c"))


def test_settings_of_equal_value_and_other_type_differ():
    specs = {name: RunSpec("classify", "d", "m", {}, {"x": value}) for name, value in (("a", 1), ("b", True))}
    assert list(differing_settings(specs)) == ["x"]


def test_pairs_are_made_by_id_whatever_the_order():
    a, b = answers(seed=1), answers(seed=2)
    shuffled = answers(seed=2, order=np.random.default_rng(9).permutation(90))
    for one, other in zip(paired(a, b), paired(a, shuffled), strict=True):
        np.testing.assert_array_equal(one, other)
    assert difference(a, b) == difference(a, shuffled)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (answers(count=60), "scored on different images"),
        (ROLLED, "scored on different images"),
        (RENAMED, "cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, message):
    with pytest.raises(UserError, match=message):
        difference(answers(), other)


def test_verdict_names_the_better_one_and_the_interval():
    sharp, dull = answers(3.0, count=300), answers(0.2, seed=1, count=300)
    assert verdict(difference(dull, sharp), "dull", "sharp").startswith("sharp is better than dull (−")
    assert verdict(difference(sharp, dull), "sharp", "dull").startswith("sharp is better than dull (+")
    assert "are not distinguishable (+0.0000" in verdict(difference(sharp, sharp), "a", "b")
    assert difference(sharp, dull, "log_loss")["verdict"] == "A better"


def test_predictions_come_back_and_damage_is_told(tmp_path):
    known = answers()
    np.savez(tmp_path / "predictions.npz", ids=known.ids, labels=known.labels, probabilities=known.probabilities)
    back = read_predictions(tmp_path, CLASSES)
    np.testing.assert_array_equal(back.probabilities, known.probabilities)
    (tmp_path / "predictions.npz").write_bytes((tmp_path / "predictions.npz").read_bytes()[:200])
    with pytest.raises(UserError, match="Evaluate the run again"):
        read_predictions(tmp_path, CLASSES)
    with pytest.raises(UserError, match="Evaluate the run again"):
        read_predictions(tmp_path / "missing", CLASSES)


def test_a_pickled_prediction_file_is_not_run(tmp_path):
    np.savez(tmp_path / "predictions.npz", ids=np.array([{}], dtype=object), labels=[0], probabilities=[[1.0]])
    with pytest.raises(UserError):
        read_predictions(tmp_path, CLASSES)


def test_cells_divide_all_images_and_the_surest_come_first():
    known = answers()
    cells = [known.cell(true, taken) for true in CLASSES for taken in CLASSES]
    assert sorted(np.concatenate(cells)) == list(range(90))
    rows = known.cell("no", "no")
    assert (np.diff(known.probabilities[rows, 0]) <= 0).all()


def test_no_cell_of_a_csv_is_a_formula():
    table = pd.DataFrame({"name": ["=1+1", "+a", "-b", "@c", "\td", "plain, \"quoted\""], "score": [-1.0] * 6})
    rows = list(csv.DictReader(io.StringIO(to_csv(table).decode())))
    assert [row["name"] for row in rows] == ["'=1+1", "'+a", "'-b", "'@c", "'\td", "plain, \"quoted\""]
    assert {row["score"] for row in rows} == {"-1.0"}
    assert table["name"][0] == "=1+1"


def test_prediction_table_has_every_image():
    table = prediction_table(answers())
    assert list(table.columns) == ["id", "true", "class", "p_no", "p_sphere", "p_vort"]
    assert table["true"].tolist()[:3] == list(CLASSES)
    assert (table[["p_no", "p_sphere", "p_vort"]].to_numpy().argmax(axis=1) == answers().predicted).all()


def test_undefined_metric_is_a_dash_and_says_why_in_the_report():
    nothing = {"value": None, "low": None, "high": None, "undefined": "ROC undefined: only class <b> is present"}
    report = {"run": "r", "data": "d", "split": "test", "n": 3, "metrics": {"auc_macro": nothing}, "rows": {}}
    assert with_interval(nothing) == "–"
    assert metric_table(report)["value"].isna().all()
    text = html_report(report, [])
    assert "ROC undefined: only class &lt;b&gt; is present" in text
    assert "<b>" not in text


def test_command_is_quoted_and_short():
    knob = Knob("ema", float, 0.9, "", None, None, "", None, None, "")
    flag = Knob("flip", bool, True, "", None, None, "", None, None, "")
    settings = changed({"ema": 0.9, "flip": False}, {"ema": knob, "flip": flag})
    assert settings == {"flip": False}
    command = train_command("classify", "/data/my set", "d4net", settings, 3, "a; rm -rf /")
    assert command == (
        "python -m deeplense_core train classify --data '/data/my set' --model d4net --set flip=false "
        "--seed 3 --name 'a; rm -rf /' --where local"
    )
