"""The page of lens finders: one threshold moves everything, leaky is said, catalogues of scored images."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
from finders_home import CLASSES, cutout_set, finder
from sklearn.metrics import confusion_matrix
from trained_run import said

from deeplense_core import background, metrics
from deeplense_core.answers import predicted_row
from deeplense_core.bulk import jobs
from deeplense_core.bulk.table import Wanted, images_behind, read_table, rows_of
from deeplense_core.catalog import write_catalog
from deeplense_core.inspection import marked
from deeplense_core.machine import identity
from deeplense_core.shelf.cards import find_card
from deeplense_core.trained import Prediction
from deeplense_core.workspace import home
from pages.ui import finding

SCORING = "Score many images"


def charts(app) -> dict[str, dict]:
    """Layout of each Plotly chart by the end of its key."""
    return {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


@pytest.fixture
def two_finders(workspace):
    dataset = cutout_set()
    return dataset, finder(dataset, "good", 2.0), finder(dataset, "leaking", 4.0, seed=1, leaky=True)


@pytest.mark.parametrize("name", ["finder-gri", "finder-i"])
def test_an_empty_workspace_shows_what_the_finders_that_ship_are_worth(open_page, name):
    app = open_page("find", run=name)
    assert "of the lenses, " in app.subheader[0].value
    card = find_card(name).card
    auroc = next(test for test in card["tests"] if test["split"] == "test")["metrics"]["auroc"]["value"]
    assert charts(app)["find_roc"]["layout"]["title"]["text"].startswith(f"AUROC {auroc:.3f}")


def test_a_finder_that_was_not_evaluated_can_be(open_page, two_finders):
    _, good, _ = two_finders
    shutil.rmtree(good.path / "evaluations")
    app = open_page("find", run=good.id)
    assert "good has not been evaluated here yet" in said(app)
    assert app.button(key="find_own")


def test_without_any_finder_the_page_leads_to_one(open_page, monkeypatch, tmp_path):
    monkeypatch.setattr("deeplense_core.shelf.cards.shipped_models_dir", lambda: tmp_path)
    app = open_page("find")
    assert "No lens finder yet" in said(app)
    app.button(key="find_train").click().run()
    assert not app.exception
    assert app.segmented_control(key="train_task").value == "find"
    assert app.selectbox(key="train_data").value == "sim:lens-finding-hard"


def test_one_threshold_moves_everything(open_page, two_finders):
    dataset, good, _ = two_finders
    app = open_page("find", run=good.id)
    (one,) = finding.scored_on(good.id, "good").values()
    for threshold in (0.5, 0.1, 0.9):
        app.select_slider(key="find_threshold_value").set_value(threshold).run()
        assert not app.exception
        assert not app.error
        (_, false), (_, hits) = confusion_matrix(one.is_lens, one.scores >= threshold)
        layouts = charts(app)
        cells = layouts["find_confusion"]["data"][1]["customdata"]
        assert [cell[2] for cell in cells] == [hits, 60 - hits, false, 540 - false]
        title = layouts["find_threshold"]["layout"]["title"]["text"]
        assert f"Completeness {hits / 60:.3f}" in title
        assert layouts["find_roc"]["layout"]["title"]["text"].startswith("AUROC 0.")
        recovered = next(trace for trace in layouts["find_recovery"]["data"] if trace["type"] == "scatter")
        assert sum(found for found, _ in recovered["customdata"]) == hits
        assert f"{hits / 60:.0%}".replace("%", " %") in said(app)
        assert (f"{false:,} non-lenses kept" if false else "0 non-lenses kept") in said(app)
        assert "Leaky" not in json.dumps(layouts)
    purity = metrics.rank(one.is_lens, one.scores).point(0.9, 1 / 10)["purity"]["value"]
    app.select_slider(key="find_odds").set_value(10).run()
    assert f"purity {purity:.3g}" in said(app)
    app.segmented_control(key="find_gallery").set_value("Missed lenses").run()
    assert f"{(one.scores[one.is_lens] < 0.9).sum()} lenses missed" in said(app)


def test_tpr0_and_tpr10_are_stops_of_the_slider(two_finders):
    (one,) = finding.scored_on(two_finders[1].id, "good").values()
    stops = finding.thresholds(one.curve.ranking)
    assert list(stops) == sorted(stops)
    (at,) = (value for value, text in stops.items() if "no false positive" in text)
    assert not (one.scores[~one.is_lens] >= at).any()
    assert (one.scores[one.is_lens] >= at).mean() == metrics.tpr_at_zero_fp(one.is_lens, one.scores)


def test_leaky_is_said_on_every_figure(open_page, two_finders):
    app = open_page("find", run=two_finders[2].id)
    assert "Leaky" in app.error[0].value
    layouts = charts(app)
    assert set(layouts) == {"find_roc", "find_threshold", "find_confusion", "find_recovery"}
    for key, figure in layouts.items():
        assert figure["layout"]["title"]["text"].startswith("Leaky."), key
        assert any("simulator's truth" in note["text"] for note in figure["layout"]["annotations"]), key
    assert app.subheader[0].value.startswith("Leaky: ")


def test_finders_side_by_side(open_page, two_finders):
    app = open_page("find", run=two_finders[1].id)
    app.multiselect(key="find_runs").set_value([two_finders[1].id, two_finders[2].id]).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table.index) == ["good", "leaking (leaky)", "chance"]
    assert "leaking is better than good" in said(app)
    assert "Leaky. AUROC" in charts(app)["find_roc"]["layout"]["title"]["text"]
    (one,) = finding.scored_on(two_finders[1].id, "good").values()
    assert table.loc["good", "auroc"].startswith(f"{metrics.auc_binary(one.is_lens, one.scores):.3f} [")


def scored(dataset, bad: int = 1) -> np.ndarray:
    """A scoring that is done; the scores of its rows."""
    folder = home() / "scored" / "abc"
    folder.mkdir(parents=True)
    scores = np.random.default_rng(0).random(len(dataset))
    names = [str(name) for name in dataset.catalog["id"]]
    rows = [predicted_row(name, None, None, Prediction(np.array([p, 1 - p]), ("odd",) if p > 0.5 else ()), CLASSES)
            for name, p in zip(names, scores, strict=True)]  # fmt: skip
    write_catalog(rows, folder / jobs.TABLE)
    (folder / "scores.failed.csv").write_text("name,reason,message\n" + "x,y,z\n" * bad)
    facts = {"model": "<img src=x>", "source": str(dataset.path), "pixel_scale": None, "total": len(dataset)}
    job = {"facts": facts, "worker": {**identity(), "start_time": 1.0}, "started": time.time()}
    (folder / "job.json").write_text(json.dumps(job))
    return scores


def test_a_catalogue_is_sorted_filtered_marked_and_only_its_page_has_pictures(open_page, workspace):
    dataset = cutout_set(200)
    scores = scored(dataset)
    app = open_page("find")
    app.session_state["find_view"] = SCORING
    app.run()
    assert not app.exception
    assert "200 of 200 images; 1 could not be used" in said(app)
    table = app.dataframe[0].value
    assert len(table) == 24
    np.testing.assert_allclose(table["score"], np.sort(scores)[::-1][:24])
    assert table["image"].str.startswith("data:image/png;base64,").all()
    app.toggle(key="score_falling").set_value(False).run()
    app.number_input[-1].set_value(2).run()
    np.testing.assert_allclose(app.dataframe[0].value["score"], np.sort(scores)[24:48])
    app.segmented_control(key="score_warned").set_value("without").run()
    app.slider(key="score_range").set_value((0.2, 0.4)).run()
    assert f"{((scores >= 0.2) & (scores <= 0.4)).sum()} of 200 images" in said(app)
    app.text_input(key="score_text").set_value("no such name").run()
    assert "No image fits this filter" in said(app)
    app.text_input(key="score_text").set_value("").run()
    key = f"score_rows_abc_{hash(tuple(app.dataframe[0].value['name']))}"
    app.session_state[key] = {"selection": {"rows": [0, 2], "columns": [], "cells": []}}
    app.run()
    app.button(key="score_mark").click().run()
    names = [one.name for one in marked()]
    assert names == list(app.dataframe[0].value["name"].iloc[[0, 2]])


def test_rows_and_their_images(workspace):
    dataset = cutout_set(50)
    scores = scored(dataset)
    table = read_table([home() / "scored" / "abc" / jobs.TABLE])
    rows = rows_of(table, Wanted(low=0.5, warnings="with", falling=False))
    assert rows.tolist() == [i for i in np.argsort(scores) if scores[i] > 0.5]
    assert rows_of(table, Wanted(classes=("lens",))).tolist() == rows[::-1].tolist()
    assert len(rows_of(table, Wanted(by="name", falling=False))) == 50
    names = [str(dataset.catalog["id"][row]) for row in (7, 3)]
    seven, three, gone = images_behind(dataset.path, [*names, "gone"])
    np.testing.assert_array_equal(seven.pixels, dataset.images[7])
    np.testing.assert_array_equal(three.pixels, dataset.images[3])
    assert gone is None


def test_a_scoring_starts_stops_and_goes_on(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(background, "launch", lambda folder, *rest: asked.append((folder.name, *rest)))
    dataset = cutout_set(30)
    name = jobs.start("some-run", str(dataset.path), 0.2)
    folder = home() / "scored" / name
    assert asked[0][1][-6:] == ["some-run", str(dataset.path), "--out", str(folder / jobs.TABLE), "--pixel-scale",
                                "0.2"]  # fmt: skip
    assert asked[0][2]["total"] == 30
    folder.mkdir(parents=True)
    job = {"facts": asked[0][2], "worker": {**identity(), "start_time": 1.0}, "started": 1.0}
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "log.txt").write_text("predicting: 4 of 30\nThe disk is full. Free some space.\n")
    lines = ['{"model": "x"}', *(f'{{"key": "{i}"}}' for i in range(9))]
    (folder / f"{jobs.TABLE}.part").write_text("\n".join(lines) + "\n")
    (one,) = jobs.list_scored()
    assert (one.state, one.done, one.error) == ("stopped", 9, "The disk is full. Free some space.")
    jobs.resume(one)
    assert asked[1] == asked[0]
    jobs.forget(one)
    assert jobs.list_scored() == []
