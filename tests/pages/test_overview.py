"""The first page: works with nothing there, loads nothing heavy, and leads to the newest result."""

import subprocess
import sys

from deeplense_core.runs import Run
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import ROOT


def texts(app) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader, *app.error])


def test_three_doors_on_an_empty_workspace(open_page):
    app = open_page("overview")
    assert not app.error
    assert [b.label for b in app.button] == ["Open the simulator", "Analyse images", "Start training"]
    assert "No run yet." in texts(app)
    assert "No data set yet." in texts(app)
    assert "cores" in app.caption[-1].value


def test_doors_lead_to_their_pages(open_page):
    app = open_page("overview")
    app.button(key="door_simulate").click().run()
    assert not app.exception
    assert app.title[0].value == "Simulate"


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
    code = "import pages.ui.warmup, pages.ui.theme, pages.ui.state, pages.ui.messages, deeplense_core.runs"
    assert not loaded(code, "torch pandas scipy deeplense_core.plots")
