"""Cards of the models that ship: whole, told in Markdown, listed, and made of runs by one command."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from deeplense_core import cli
from deeplense_core.shelf import cards
from deeplense_core.shelf.card_text import card_markdown, interval_text, write_card
from deeplense_core.shelf.cards import find_card, shipped_models
from deeplense_core.sources import describe
from deeplense_core.workspace import ROOT

SHIPPED = shipped_models()
MOST_MB = 40


@pytest.mark.parametrize("name", SHIPPED)
def test_its_own_test_images_can_be_had_in_an_empty_workspace(name):
    data = cards.own_test_data(find_card(name).card)
    assert data.startswith("sim:")
    assert describe(data).shape == tuple(find_card(name).card["shape"])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_markdown_of_a_shipped_model_is_made_of_its_json(name):
    found = find_card(name)
    written = (found.folder / "README.md").read_text("utf-8")
    assert written == card_markdown(name, found.card), f"make it again with: python -m deeplense_core card {name}"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_says_what_one_asks_of_it(name):
    card = find_card(name).card
    about = card["about"]
    assert about["licence"] == "MIT"
    assert len(about["summary"]) > 20
    assert about["limits"]
    task = cli.parser().parse_args(about["command"].split())
    assert (task.task, task.data, task.seed) == (card["task"], card["data"], card["seed"])
    assert card["tests"], f"score it: python -m deeplense_core card {name} --data DIR"
    for test in card["tests"]:
        assert test["rows"], "no baseline beside it"
        assert test["commands"][-1].startswith(f"evaluate {name} --data ")
        for command in test["commands"]:
            cli.parser().parse_args(command.split())
        for metric in test["metrics"].values():
            if metric["value"] is not None and metric["low"] is not None:
                assert metric["low"] <= metric["value"] <= metric["high"]


def test_all_that_ships_is_small():
    size = sum(path.stat().st_size for path in (ROOT / "assets" / "models").rglob("*") if path.is_file())
    assert size < MOST_MB * 2**20


def test_the_page_holds_every_fact(workspace):
    text = card_markdown("common-test", find_card("common-test").card)
    for said in ("license: mit", "0.9908 (0.9887 to 0.9927)", "seed 1", "0.05 arcsec", "sim:common-test", "chance",
                 "majority class", "--set crop=100", "Temperature 0.912", "## Limits", "| Bands | gray |"):  # fmt: skip
        assert said in text


def test_numbers_with_their_intervals():
    assert interval_text({"value": 0.98765, "low": 0.9, "high": 0.995}) == "0.9877 (0.9 to 0.995)"
    assert interval_text({"value": 0.5, "low": 0.5, "high": 0.5}) == "0.5"
    assert interval_text({"value": 3e-17, "low": 0.0, "high": 4e-17}) == "0"
    assert interval_text({"value": None, "low": None, "high": None}) == "–"
    assert interval_text(None) == "–"


def test_models_lists_what_ships_with_its_facts(capsys):
    assert cli.main(["models", "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)["trained"]
    assert list(trained) == SHIPPED
    assert trained["common-test"]["tests"][0]["metrics"]["auc_macro"]["value"] > 0.985
    assert trained["edsr-x2"]["about"]["licence"] == "MIT"


def test_card_writes_the_page_without_torch(workspace, tmp_path, monkeypatch):
    made = tmp_path / "models" / "small"
    made.mkdir(parents=True)
    (made / "model.json").write_text(json.dumps({**find_card("common-test").card, "about": {"summary": "A test."}}))
    code = (
        "import sys, pathlib, deeplense_core.shelf.card_text as t, deeplense_core.shelf.cards as c\n"
        f"t.shipped_models_dir = c.shipped_models_dir = lambda: pathlib.Path({str(made.parent)!r})\n"
        "from deeplense_core.cli import main\n"
        "assert main(['card']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(made / "README.md")
    assert "A test." in (made / "README.md").read_text()


def test_a_run_ships_and_is_scored_on_data_that_others_can_make(trained, monkeypatch, tmp_path):
    """``ship``, then ``card --data``: the command, the test and the page are on the card."""
    from deeplense_core import shipping
    from deeplense_core.errors import UserError
    from deeplense_core.evaluate import evaluate
    from deeplense_core.evaluations import predictions
    from deeplense_core.shelf import card_text
    from deeplense_core.sim import simulate_dataset

    for module in (cards, card_text, shipping, predictions):
        monkeypatch.setattr(module, "shipped_models_dir", lambda: tmp_path / "models")
    assert cli.main(["ship", trained.id, "rings", "--summary", "Tells rings apart.", "--limit", "Rings alone."]) == 0
    card = find_card("rings").card
    assert card["about"]["limits"] == ["Rings alone."]
    assert card["about"]["command"].startswith("train classify --data ")
    assert "--set epochs=1" in card["about"]["command"]
    assert "lr=" not in card["about"]["command"], "defaults are not repeated"
    with pytest.raises(UserError, match="was not simulated"):
        shipping.add_test("rings", trained.spec.data)
    made = simulate_dataset("model-2", 60, tmp_path / "set", seed=3)
    write_card("rings", {**card, "classes": list(made.classes), "test_images": 60})
    shipping.add_test("rings", str(made.path))
    test = find_card("rings").card["tests"][0]
    assert test["commands"] == [
        "simulate model-2 --count 60 --seed 3 --out workspace/datasets/model-2-seed-3",
        "evaluate rings --data workspace/datasets/model-2-seed-3 --split all",
    ]
    assert (test["n"], test["data"], test["recipe"]) == (60, "model-2, seed 3", "model-2")
    assert "chance" in test["rows"]
    assert "60 images of model-2, seed 3" in (tmp_path / "models" / "rings" / "README.md").read_text()
    shipping.add_test("rings", str(made.path))
    assert len(find_card("rings").card["tests"]) == 1

    shipping.add_test("rings", "sim:model-2")
    (_, here), *_ = predictions.evaluations("rings")
    monkeypatch.setenv("DEEPLENSE_HOME", str(tmp_path / "another"))
    (folder, kept), = predictions.evaluations("rings")
    assert kept == here, "its answers to images that anybody can simulate are there without an evaluation"
    assert len(predictions.read_predictions(folder, kept["classes"]).ids) == kept["n"]
    evaluate("rings", "sim:model-2")
    (folder, again), = predictions.evaluations("rings")
    assert (folder.is_relative_to(tmp_path / "another"), again["metrics"]) == (True, here["metrics"])


def test_the_commands_of_a_run_begin_with_those_of_the_run_it_went_on_from(trained):
    from deeplense_core.runs import Run
    from deeplense_core.shipping import commands_of

    again = Run.create(replace(trained.spec, train_settings={**trained.spec.train_settings, "init": trained.id}))
    first, second = commands_of(again)
    assert first == f"{commands_of(trained)[-1]}  # its last line is the RUN of the next training"
    assert "--set init=RUN " in second
    shipped = Run.create(replace(trained.spec, train_settings={**trained.spec.train_settings, "init": "common-test"}))
    assert "--set init=common-test " in commands_of(shipped)[-1]
    *before, command = commands_of(shipped, "common-test")
    assert before == [f"{find_card('common-test').card['about']['command']}  # its last line is the RUN of the next "
                      "training"]  # fmt: skip
    assert "--set init=RUN " in command


def test_only_what_ships_is_scored_for_a_card(workspace):
    assert cli.main(["card", "nothing", "--data", "sim:common-test"]) == 2
    assert cli.main(["card", "--data", "sim:common-test"]) == 2


def test_the_command_of_a_set_has_the_settings_that_differ(tmp_path):
    from deeplense_core.shipping import _remake, _shared
    from deeplense_core.sim import simulate_dataset

    made = simulate_dataset("lens-finding-easy", 6, tmp_path / "mine", seed=9, settings={"bands": "i"})
    again = _remake(str(made.path))
    out = "workspace/datasets/lens-finding-easy-seed-9"
    assert (again.recipe, again.words) == ("lens-finding-easy", "lens-finding-easy, seed 9, bands i")
    assert again.commands == [f"simulate lens-finding-easy --count 6 --seed 9 --set bands=i --out {out}"]
    assert _shared(str(made.path)) == (out, again.commands)
    assert _shared("sim:common-test") == ("sim:common-test", [])
    assert _shared("/somebody/cutouts") == ("workspace/datasets/cutouts", [])
