"""The first page: works with nothing there, loads nothing heavy, and leads to the newest result."""

import subprocess
import sys

import pytest

from deeplense_core.runs import Run, list_runs
from deeplense_core.shelf.examples import example_runs
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import ROOT
from pages.ui.tour import STEPS


def texts(app) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader, *app.error])


def test_three_doors_on_an_empty_workspace(open_page):
    app = open_page("overview")
    assert not app.error
    doors = [b.label for b in app.button if b.key.startswith("door_")]
    assert doors == ["Open the simulator", "Analyse images", "Open the evaluation"]
    assert "No run yet." in texts(app)
    assert "No data set yet." in texts(app)
    assert any("cores" in caption.value for caption in app.caption)
    assert "**Einstein radius.**" in texts(app)


def test_doors_lead_to_their_pages(open_page):
    app = open_page("overview")
    app.button(key="door_simulate").click().run()
    assert not app.exception
    assert app.title[0].value == "Simulate"


def test_the_door_to_a_sample_opens_its_evidence(open_page):
    app = open_page("overview")
    app.button(key="door_analyse").click().run()
    assert not app.exception
    assert app.title[0].value == "Analyse"
    assert app.button_group(key="analyse_view").value == "Evidence"
    assert any("where the network's last features raise the odds" in caption.value for caption in app.caption)


def test_without_a_run_the_one_that_ships_is_shown(open_page):
    app = open_page("overview")
    assert list_runs() == []
    app.button(key="door_evaluate").click().run()
    assert not app.exception
    assert not app.error
    assert app.title[0].value == "Evaluate"
    assert [row.id for row in list_runs()] == example_runs()
    assert app.query_params["run"] == example_runs()[0]
    assert list_runs()[0].best == pytest.approx(0.9908, abs=1e-4)


def test_newest_finished_run_is_the_third_door(open_page):
    for name, state in (("first", "done"), ("<b>second</b>", "running")):
        run = Run.create(RunSpec("classify", "sim:common-test", "resnet18", name=name))
        run.set_status(state=state, best=0.9712, best_name="auc_macro", progress=0.5)
        if state == "done":
            finished = run.id
    app = open_page("overview")
    assert not app.error
    assert "auc macro 0.971" in texts(app)
    app.button(key="door_evaluate").click().run()
    assert app.query_params["run"] == finished
    assert app.title[0].value == "Evaluate"


def test_the_tour_goes_through_its_five_pages_and_is_not_offered_again(open_page, workspace):
    from streamlit.testing.v1 import AppTest

    app = open_page("overview")
    app.button(key="tour_start").click().run()
    for place, step in enumerate(STEPS):
        assert not app.exception
        assert f"**{place + 1} of 5 · {step.title}.**" in texts(app)
        assert not any(b.key == "tour_here" for b in app.button), "already there"
        last = place + 1 == len(STEPS)
        assert [b.key for b in app.button if b.key == "tour_next"] == [] if last else ["tour_next"]
        if not last:
            app.button(key="tour_next").click().run()
    app.button(key="tour_back").click().run()
    assert f"**4 of 5 · {STEPS[3].title}.**" in texts(app)
    app.switch_page("pages/overview.py").run()
    app.button(key="tour_here").click().run()
    assert app.title[0].value == "Evaluate"
    app.button(key="tour_end").click().run()
    assert not app.exception
    assert "of 5 ·" not in texts(app)
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not any(b.key == "tour_start" for b in again.button)


def test_who_wants_no_tour_is_not_asked_again(open_page):
    app = open_page("overview")
    app.button(key="tour_no").click().run()
    assert not app.exception
    assert not any(b.key.startswith("tour_") for b in app.button)
    assert not any(b.key.startswith("tour_") for b in open_page("overview").button)


def loaded(code: str, heavy: str) -> str:
    """Which of the ``heavy`` modules are loaded after ``code``, in a process of its own."""
    code += f"\nimport sys\nprint(*(set({heavy!r}.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_draws_without_torch():
    code = (
        "import pages.ui.warmup as w; w.warm_up = lambda: None\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=60).run()\n"
        "assert not app.exception and app.title[0].value == 'DeepLense'"
    )
    assert not loaded(code, "torch astropy caustics")


def test_doors_need_neither_tables_nor_figures():
    code = "import pages.ui.warmup, pages.ui.theme, pages.ui.state, pages.ui.messages, pages.ui.doors, pages.ui.tour"
    assert not loaded(code, "torch pandas scipy deeplense_core.plots huggingface_hub")
