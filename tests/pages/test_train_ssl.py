"""The train page for encoders: the form makes a run of the ssl task, and the run is drawn while it learns."""

import json
import shlex
import time

import numpy as np
from trained_run import CLASSES, ring_set, said

from deeplense_core import jobs
from deeplense_core.plots.live import live_options
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.samples import Samples, keep
from deeplense_core.spec import RunSpec
from pages.ui.samples import neighbour_captions


def encoder_run() -> Run:
    """A run of the ssl task as its folder is left, never trained."""
    run = Run.create(RunSpec("ssl", "sim:common-test", "resnet18", {}, {"epochs": 2}, {}, 0, "pool"))
    for epoch in (1, 2):
        run.log("train", epoch, loss=3 / epoch, effective_rank=20.0, lr=1e-3, images_per_s=9.0, eta_s=2.0, epoch=epoch)
        run.log("val", epoch, effective_rank=40.0, rank_share=0.2, knn_accuracy=0.5 + 0.1 * epoch)
    run.save_file("model.json", json.dumps({"task": "ssl", "classes": list(CLASSES)}).encode())
    keep(run, Samples(np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32),
                      np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]]), np.array([0, 1, -1]), None, 2))  # fmt: skip
    run.set_status(state="done", best=0.7, best_name="knn_accuracy", progress=1.0, started=time.time() - 9,
                   finished=time.time())  # fmt: skip
    return run


def test_the_form_makes_a_run_of_the_ssl_task(open_page, monkeypatch):
    launched = []
    monkeypatch.setitem(jobs.LAUNCHERS, "local", launched.append)
    ring_set()
    app = open_page("train")
    app.segmented_control(key="train_task").set_value("ssl").run()
    assert not app.exception
    app.selectbox(key="train_method").set_value("vicreg").run()
    app.number_input(key="train_noise").set_value(0.1).run()
    words = shlex.split(app.code[0].value)
    assert words[4] == "ssl"
    assert {"method=vicreg", "noise=0.1"} <= set(words)
    app.button(key="train_start").click().run()
    assert not app.exception
    assert not app.error
    (row,) = list_runs()
    spec = open_run(row.id).spec
    assert (spec.task, spec.train_settings["method"], spec.train_settings["pairs"]) == ("ssl", "vicreg", "augment")
    assert len(launched) == 1


def test_pairs_that_data_cannot_give_are_refused_in_words(open_page):
    ring_set()
    app = open_page("train")
    app.segmented_control(key="train_task").set_value("ssl").run()
    app.selectbox(key="train_pairs").set_value("source").run()
    app.button(key="train_start").click().run()
    assert not app.exception
    assert "needs the simulator" in app.error[0].value


def test_an_encoder_is_drawn_with_its_neighbours_and_rank(open_page):
    run = encoder_run()
    options = live_options(run.metrics())
    names = [line["name"] for line in options["series"]]
    assert "validation accuracy of neighbours" in names
    assert "validation effective rank, share of the most" in names
    app = open_page("train", run=run.id)
    assert not app.exception
    assert not app.error
    assert "pool" in said(app) or any(run.id in str(box.value) for box in app.selectbox)


def test_samples_say_which_image_is_nearest():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    found = Samples(np.zeros((3, 1, 4, 4)), vectors, np.array([0, 1, -1]), None, 1)
    first, second, third = neighbour_captions(found, CLASSES)
    assert first.startswith("1: nearest is 3\n")
    assert second.startswith("2: nearest is 3\n")
    assert third == "3: nearest is 1"
