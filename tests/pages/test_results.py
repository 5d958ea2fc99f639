"""The results page: what ships on an empty workspace, a task without networks, benches, and other people's numbers."""

import pytest
from trained_run import said, trained, trained_home  # noqa: F401  (fixtures)

from deeplense_core import background, results


def tables(app) -> str:
    return "\n".join(frame.value.to_string() for frame in app.dataframe)


def test_an_empty_workspace_shows_what_ships(open_page):
    app = open_page("results")
    assert not app.error
    assert "**common-test, seed 2**, 3,000 images" in said(app)
    shown = tables(app)
    assert "0.9908 (0.9887 to 0.9927)" in shown
    assert "chance" in shown
    assert "simulate common-test --count 3000 --seed 2" in said(app)
    assert "Published elsewhere: other data, not comparable" in said(app)
    assert "macro AUC 0.9975" in shown


def test_each_task_has_its_view_and_its_address(open_page):
    app = open_page("results", view="superres")
    assert "noise floor (dB)" in tables(app)
    assert "bicubic" in tables(app)
    assert "PSNR 34.27 dB" in tables(app)
    app.button_group(key="results_view").set_value("ssl").run()
    assert not app.exception
    assert app.query_params["view"] == "ssl"


def test_a_task_without_networks_says_what_to_do(open_page, monkeypatch):
    monkeypatch.setattr(results, "quality", list)
    app = open_page("results", view="find")
    app = app.run()
    assert not app.error
    assert "TPR10 0.45" in tables(app)


def test_a_run_of_this_workspace_stands_beside_its_baselines(trained, open_page):  # noqa: F811
    app = open_page("results")
    assert not app.error
    assert "**rings (test)**, 24 images" in said(app)
    assert "tiny" in tables(app)
    assert f"evaluate {trained.id} --data" in said(app)


def test_names_of_runs_and_data_are_plain_text(trained, open_page):  # noqa: F811
    import json

    path = next((trained.path / "evaluations").glob("*/report.json"))
    report = json.loads(path.read_bytes())
    path.write_text(json.dumps({**report, "data": "/x/<b>bold</b> [a](http://b)"}))
    app = open_page("results")
    assert not app.exception
    assert "<b>bold" not in "".join(part.value for part in app.markdown)


def test_benches_are_those_of_this_machine_once_they_are_measured(open_page):
    app = open_page("results", view="bench")
    assert "by the makers of this project" in said(app)
    row = {"ours": 10.0, "peer": 4.0, "ratio": 2.5, "limit": None, "unit": "images/s; more",
           "machine": {"cpu": "a", "cores": 2}}  # fmt: skip
    results.keep_bench("simulate", {"simulate_smooth": row}, 3.0, 0.5)
    results.keep_bench("train", {}, 1.0, 0.5, "g++ is <b>missing</b>")
    app = open_page("results", view="bench")
    assert not app.exception
    frame = app.dataframe[0].value
    measured = frame[frame["row"] == "simulate_smooth"].iloc[0]
    assert (measured["ratio"], measured["against"], measured["unit"]) == (2.5, "lenstronomy", "images/s")
    assert "simulate: here" in said(app)
    assert "train: gave no numbers" in said(app)


def test_measuring_starts_in_the_background(open_page, monkeypatch, workspace):
    asked = []
    monkeypatch.setattr(background, "launch", lambda folder, command, facts: asked.append((folder, command)))
    app = open_page("results", view="bench")
    app.button(key="bench_start").click().run()
    assert not app.exception
    (folder, command), = asked
    assert folder == workspace / "bench" / "running"
    assert command[-2:] == ["bench", "all"]


@pytest.mark.parametrize("view", ["classify", "bench"])
def test_half_a_file_is_passed_over(open_page, workspace, view):
    (workspace / "bench").mkdir()
    (workspace / "bench" / "torn.json").write_text('{"time": 1')
    assert not open_page("results", view=view).exception
