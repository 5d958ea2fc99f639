"""A new visitor walks through every page on an empty workspace, offline: nothing breaks, and everyone can follow.

The pages are those of app.py, so a new one is walked through as well. ``visit`` sees to it that no page logs an error
or asks anything but this machine.
"""

from __future__ import annotations

import ast
import contextlib
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, TimeoutError, expect

from deeplense_core.workspace import ROOT
from pages.ui.tour import STEPS
from tests.browser.conftest import start_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(2_400)]
PATIENCE_MS = 600_000  # nothing here is about speed: on a busy machine the first import of torch alone takes minutes
GRAVE = ("critical", "serious")
NARROW = 900
REST_MS = 20_000
GROUND = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
NOT_OURS = (".stDataFrameGlideDataEditor", ".stDataFrame", ".js-plotly-plot", "[data-testid=stToolbar]")
"""Parts that Streamlit draws by itself and that a page cannot change."""


def site() -> dict[str, str]:
    """Pages of app.py: name -> title, without running it."""
    for node in ast.parse((ROOT / "app.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PAGES":
            pages = ast.literal_eval(node.value)
            return {name: title for name, (title, _) in pages.items() if (ROOT / "pages" / f"{name}.py").exists()}
    raise AssertionError("app.py has no PAGES")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> tuple[str, Path]:
    """A server on an empty workspace that nobody else visits."""
    folder = tmp_path_factory.mktemp("walk")
    process, url = start_server(folder / "home", folder / "server.log")
    yield url, folder / "home"
    process.kill()
    process.wait()


def settle(tab: Page) -> None:
    """Waits until the server has answered and nothing is a placeholder any more."""
    ready = '[data-testid="stApp"][data-test-script-state="notRunning"]'
    expect(tab.locator(ready)).to_be_attached(timeout=PATIENCE_MS)
    expect(tab.locator('[data-testid="stSkeleton"]')).to_have_count(0, timeout=PATIENCE_MS)


def is_sound(tab: Page, title: str) -> None:
    """The page has its heading, no exception and no error message, and fits a narrow window."""
    heading = "DeepLense" if title == "Overview" else title
    expect(tab.get_by_role("heading", level=1)).to_have_text(re.compile(f"^{heading}"), timeout=PATIENCE_MS)
    settle(tab)
    expect(tab.locator("[data-testid=stException]")).to_have_count(0)
    expect(tab.locator("[data-testid=stAlertContentError]")).to_have_count(0)


def too_wide(tab: Page) -> list[str]:
    """By how much the page is wider than its window once it has come to rest: charts follow a moment later."""
    over = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('[data-testid=stMain]'))"
    with contextlib.suppress(TimeoutError):
        tab.wait_for_function(f"{over} <= 1", timeout=REST_MS)
    pixels = tab.evaluate(over)
    return [f"{pixels} pixels too wide for a window of {NARROW}"] * (pixels > 1)


def findings(tab: Page) -> list[str]:
    """What axe holds against the page: critical and serious findings, with the elements."""
    options = {"resultTypes": ["violations"]}
    context = {"exclude": [[part] for part in NOT_OURS]}
    report = Axe().run(tab, context=context, options=options).response
    return [f"{found['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for found in report["violations"] if found["impact"] in GRAVE for node in found["nodes"]]  # fmt: skip


def test_every_page_is_sound_and_open_to_everyone(fresh, visit):
    """One visit through the navigation, in both themes, at both widths."""
    url, _ = fresh
    tab = visit(url)
    tab.set_default_timeout(PATIENCE_MS)
    wrong = []
    for title in site().values():
        tab.get_by_role("link", name=title, exact=True).first.click()
        is_sound(tab, title)
        wrong += [f"{title}, light: {said}" for said in findings(tab)]
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function(f"{GROUND} === 'rgb(14, 17, 22)'")
        settle(tab)
        wrong += [f"{title}, dark: {said}" for said in findings(tab)]
        tab.emulate_media(color_scheme="light")
        tab.set_viewport_size({"width": NARROW, "height": 900})
        settle(tab)
        wrong += [f"{title}: {said}" for said in too_wide(tab)]
        tab.set_viewport_size({"width": 1440, "height": 900})
    assert not wrong, "\n".join(wrong)


def test_the_tour_shows_true_results_with_nothing_in_the_workspace(fresh, visit):
    """An analysed sample with its evidence map, a super-resolved pair, a trained run: offline, by clicks alone."""
    url, home = fresh
    titles = site()
    tab = visit(url)
    tab.set_default_timeout(PATIENCE_MS)
    tab.locator(".st-key-tour_start button").click()
    for place, step in enumerate(STEPS):
        expect(tab.locator(".st-key-tour_bar")).to_contain_text(f"{place + 1} of {len(STEPS)}", timeout=PATIENCE_MS)
        is_sound(tab, titles[step.page])
        SHOWN.get(step.page, lambda tab: None)(tab)
        if place + 1 < len(STEPS):
            tab.locator(".st-key-tour_next button").click()
    tab.locator(".st-key-tour_end button").click()
    expect(tab.locator(".st-key-tour_bar")).to_have_count(0, timeout=PATIENCE_MS)
    assert (home / "tour.json").exists()


def evidence_is_shown(tab: Page) -> None:
    expect(tab.locator("[class*=st-key-analyse_viewer_Evidence] canvas").first).to_be_visible(timeout=PATIENCE_MS)
    expect(tab.get_by_role("heading", level=3)).to_contain_text("probability")


def pair_is_shown(tab: Page) -> None:
    expect(tab.locator(".st-key-superres_viewer canvas").first).to_be_visible(timeout=PATIENCE_MS)
    expect(tab.locator(".st-key-superres_viewer")).to_contain_text("edsr-x2", timeout=PATIENCE_MS)


def run_is_shown(tab: Page) -> None:
    expect(tab.locator(".st-key-evaluate_roc .gtitle")).to_contain_text("AUC 0.990", timeout=PATIENCE_MS)


def lens_is_shown(tab: Page) -> None:
    expect(tab.locator(".st-key-lens_viewer canvas").first).to_be_visible(timeout=PATIENCE_MS)


SHOWN = {"simulate": lens_is_shown, "analyse": evidence_is_shown, "superres": pair_is_shown, "evaluate": run_is_shown}
"""Page -> what a visitor must see there."""
