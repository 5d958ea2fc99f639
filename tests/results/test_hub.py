"""Models on the Hugging Face Hub, against a stand-in on this machine: no test asks the network for anything."""

import json

import numpy as np
import pytest

from deeplense_core import cli
from deeplense_core.errors import UserError
from deeplense_core.shelf import hub
from deeplense_core.shelf.cards import find_card
from deeplense_core.trained import load_model
from deeplense_core.workspace import home, shipped_models_dir
from tests.results.hub_stub import TOKEN, Hub, start

MODEL = shipped_models_dir() / "common-test"


@pytest.fixture
def stub(monkeypatch):
    """A hub without models, to which one is logged in; nobody remembers what was fetched before."""
    held = Hub()
    server = start(held)
    monkeypatch.setenv("HF_ENDPOINT", held.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    hub._fetched.cache_clear()
    yield held
    server.shutdown()
    server.server_close()
    hub._fetched.cache_clear()


def test_there_and_back(stub, capsys):
    assert cli.main(["push", "common-test", "hf:me/lenses"]) == 0
    assert capsys.readouterr().out.strip() == f"{stub.address}/me/lenses"
    assert set(stub.repos["me/lenses"]) == set(hub.FILES)
    model, ours = load_model("hf:me/lenses"), load_model("common-test")
    images = np.random.default_rng(0).random((2, 1, 150, 150), dtype=np.float32)
    np.testing.assert_array_equal(model.logits(images), ours.logits(images))
    assert model.folder.is_relative_to(home() / "hub")
    assert find_card("hf:me/lenses").card == ours.card


def test_the_hub_is_asked_once_and_not_at_all_for_what_it_does_not_need(stub):
    stub.repos["me/big"] = {path.name: path.read_bytes() for path in MODEL.iterdir()} | {"dataset.bin": b"0" * 10}
    folder = hub.fetch("hf:me/big")
    asked = len(stub.asked)
    assert hub.fetch("hf:me/big") == folder
    assert len(stub.asked) == asked
    assert not (folder / "dataset.bin").exists()


def test_what_was_fetched_once_works_without_a_network(stub, monkeypatch):
    stub.repos["me/kept"] = {path.name: path.read_bytes() for path in MODEL.iterdir()}
    folder = hub.fetch("hf:me/kept")
    hub._fetched.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert hub.fetch("hf:me/kept") == folder
    hub._fetched.cache_clear()
    with pytest.raises(UserError, match="cannot be reached for 'hf:me/other', and no copy of it is here"):
        hub.fetch("hf:me/other")
    with pytest.raises(UserError, match="cannot be reached"):
        hub.push(MODEL, "hf:me/other")


def test_a_model_that_is_not_there_or_not_ones_own(stub, monkeypatch):
    with pytest.raises(UserError, match="no model 'hf:me/nothing' that you may see"):
        hub.fetch("hf:me/nothing")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(UserError, match="log in with: hf auth login|Log in with: hf auth login"):
        hub.push(MODEL, "hf:me/lenses")


def test_a_private_model_needs_its_token(stub, monkeypatch):
    hub.push(MODEL, "hf:me/secret", private=True)
    assert stub.private == {"me/secret"}
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="that you may see"):
        hub.fetch("hf:me/secret")


@pytest.mark.parametrize("name", ["hf:", "hf:one", "hf:a/b/c", "hf:../x", "hf:a/..", "hf:a b/c", "hf:-a/b"])
def test_names_that_are_none(name):
    with pytest.raises(UserError, match="hf:OWNER/MODEL"):
        hub.fetch(name)


def test_a_repository_of_something_else(stub):
    stub.repos["me/other"] = {"README.md": b"hello"}
    with pytest.raises(UserError, match="has no model.json: it is no model of DeepLense"):
        hub.fetch("hf:me/other")


@pytest.mark.parametrize("card", [{}, [], {"task": 3}, {"task": "classify", "model": "d4net", "model_settings": "x"}])
def test_a_card_that_is_none(stub, card):
    stub.repos["me/odd"] = {"model.json": json.dumps(card).encode(), "model.safetensors": b""}
    with pytest.raises(UserError, match="has no usable"):
        find_card("hf:me/odd")


def test_nothing_is_pushed_without_a_card(stub, tmp_path):
    with pytest.raises(UserError, match="no model card"):
        hub.push(tmp_path, "hf:me/empty")
    assert not stub.asked
