"""The train page: from choices to a run, and a run in view."""

import shlex
import time

from trained_run import CLASSES, fake_run, ring_set, said, trained, trained_home  # noqa: F401

from deeplense_core import jobs
from deeplense_core.errors import UserError
from deeplense_core.runs import list_runs, open_run


def pretend_to_launch(monkeypatch) -> list:
    """Runs are made, and no process is started for them."""
    launched = []
    monkeypatch.setitem(jobs.LAUNCHERS, "local", launched.append)
    return launched


def test_an_empty_workspace_offers_fresh_simulations(open_page):
    app = open_page("train")
    assert not app.error
    assert app.selectbox(key="train_data").value == "sim:common-test"
    assert "No run yet" in said(app)


def test_command_holds_what_differs_from_the_defaults_and_nothing_else(open_page):
    data = ring_set()
    app = open_page("train")
    app.segmented_control(key="train_preset").set_value("full").run()
    app.selectbox(key="train_model").set_value("resnet18").run()
    app.number_input(key="train_batch_size").set_value(32).run()
    app.text_input(key="train_name").set_value("it's mine").run()
    words = shlex.split(app.code[0].value)
    assert words[:5] == ["python", "-m", "deeplense_core", "train", "classify"]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["batch_size=32"]
    assert words[words.index("--data") + 1] == str(data.path)
    assert words[words.index("--name") + 1] == "it's mine"
    assert "--seed" not in words


def test_quick_preset_is_spelled_out_in_the_command(open_page):
    ring_set()
    app = open_page("train")
    assert "--set epochs=2" in app.code[0].value
    app.segmented_control(key="train_preset").set_value("full").run()
    assert "epochs=" not in app.code[0].value


def test_a_launched_run_has_the_settings_of_the_form_and_comes_into_view(open_page, monkeypatch):
    launched = pretend_to_launch(monkeypatch)
    ring_set()
    app = open_page("train")
    app.selectbox(key="train_model").set_value("resnet18").run()
    app.number_input(key="train_seed").set_value(5)
    app.text_input(key="train_name").set_value("<b>mine</b>")
    app.number_input(key="train_epochs").set_value(3)
    app.button(key="train_start").click().run()
    assert not app.exception
    (row,) = list_runs()
    spec = open_run(row.id).spec
    assert (spec.model, spec.seed, spec.name, spec.train_settings["epochs"]) == ("resnet18", 5, "<b>mine</b>", 3)
    assert [run.id for run in launched] == [row.id]
    assert app.query_params["run"] in (row.id, [row.id])
    assert r"\<b\>mine\</b\>" in said(app)


def test_a_user_error_is_shown_word_for_word(open_page, monkeypatch):
    from deeplense_core import train

    def refuse(*_, **__):
        raise UserError("This data has one class. A classifier needs two. Add another.")

    ring_set()
    fake_run()
    monkeypatch.setattr(train, "plan", refuse)
    app = open_page("train")
    app.button(key="train_start").click().run()
    assert not app.exception
    assert app.error[0].value == "**This data has one class.**  \nA classifier needs two. Add another."
    assert app.selectbox(key="train_run")  # the run in view stays


def test_any_backbone_of_timm_can_be_named(open_page, monkeypatch):
    launched = pretend_to_launch(monkeypatch)
    ring_set()
    app = open_page("train")
    app.selectbox(key="train_model").set_value("timm:").run()
    app.text_input(key="train_model_timm").set_value(" test_resnet ").run()
    assert "--model timm:test_resnet" in app.code[0].value
    app.button(key="train_start").click().run()
    assert not app.exception
    assert [run.spec.model for run in launched] == ["timm:test_resnet"]


def test_deep_link_shows_that_run(open_page):
    old = fake_run("the old one")
    time.sleep(1.1)
    fake_run("the new one")
    app = open_page("train", run=old.id)
    assert app.selectbox(key="train_run").value == old.id
    assert "**the old one**" in said(app)
    assert {m.label: m.value for m in app.metric}["Training loss"] == "0.5000"


def test_a_deep_link_to_a_run_that_is_gone_shows_the_newest(open_page):
    run = fake_run()
    app = open_page("train", run="20200101-000000-gone-0000")
    assert app.selectbox(key="train_run").value == run.id


def test_cancel_asks_the_active_run_to_stop(open_page):
    run = fake_run(state="running")
    run.set_worker(jobs.identity(), role="submitter")
    app = open_page("train", run=run.id)
    app.button(key="live_cancel").click().run()
    assert not app.exception
    assert run.should_stop()
    assert app.button(key="live_cancel").disabled


def test_resume_is_offered_for_what_ended_without_a_result(open_page, monkeypatch):
    launched = pretend_to_launch(monkeypatch)
    run = fake_run(state="failed")
    run.set_status(cause="out of memory: <img src=x>")
    app = open_page("train", run=run.id)
    assert r"out of memory: \<img src=x\>" in said(app)
    app.button(key="live_resume").click().run()
    assert not app.exception
    assert [one.id for one in launched] == [run.id]
    assert run.status.state == "queued"


def test_a_run_whose_worker_died_is_shown_as_lost(open_page):
    run = fake_run(state="running")
    run.set_worker({**jobs.identity(), "start_time": 1.0})
    open_page("train", run=run.id)
    assert run.status.state == "lost"


def test_a_trained_run_shows_what_it_says_of_validation_images(open_page, trained):  # noqa: F811
    from deeplense_core.samples import read
    from pages.ui.samples import captions

    found = read(trained)
    assert found is not None
    assert len(found.images) == len(found.outputs) == 8
    assert f"8 validation images after epoch {found.epoch}" in [box.label for box in open_page("train").expander]
    best = found.outputs.argmax(1)
    said = captions(found, CLASSES)
    assert [("✓" in text) for text in said] == (best == found.labels).tolist()
