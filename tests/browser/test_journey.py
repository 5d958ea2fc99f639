"""The main job in a real browser: make data, train, cancel, read the ROC page, ask about real images."""

import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from steps import PATIENCE_MS, settle

from deeplense_core.evaluations.predictions import read_predictions
from deeplense_core.workspace import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
REAL = ROOT.parent / "shared" / "data" / "deeplense"


def fill(page: Page, key: str, value: str) -> None:
    """Types into the field of a widget and leaves it."""
    field = page.locator(f".st-key-{key} input").first
    expect(field).to_be_visible(timeout=PATIENCE_MS)
    field.fill(value)
    field.press("Enter")
    settle(page)


def press(page: Page, key: str) -> None:
    button = page.locator(f".st-key-{key} button")
    expect(button).to_be_enabled(timeout=PATIENCE_MS)
    button.click()


def wait_for(path: Path, pattern: str, seconds: float = 180) -> Path:
    """The first file that fits a pattern below ``path``, once it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := sorted(path.glob(pattern)):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"{pattern} did not appear in {path}")


def state_badge(page: Page, state: str):
    return page.locator('[data-testid="stMarkdownBadge"], .stMarkdownBadge').filter(has_text=state).first


def make_data_set(page: Page, home: Path) -> None:
    fill(page, "make_count", "300")
    fill(page, "make_name", "journey")
    press(page, "make_start")
    wait_for(home, "datasets/journey/manifest.json")


def choose_small_model(page: Page) -> None:
    """The smallest backbone of timm, so that the journey is about the pages and not about waiting."""
    box = page.locator(".st-key-train_model input")
    expect(box).to_be_visible(timeout=PATIENCE_MS)
    box.fill("another backbone")
    box.press("Enter")
    settle(page)
    fill(page, "train_model_timm", "test_resnet")
    expect(page.locator(".st-key-train_data input")).to_have_value(re.compile("^journey"), timeout=PATIENCE_MS)


def start(page: Page, home: Path, name: str) -> str:
    """Starts a run by that name; returns its id."""
    fill(page, "train_name", name)
    press(page, "train_start")
    return wait_for(home, f"runs/*-{name}-*/spec.json").parent.name


def type_while_it_ticks(page: Page, text: str) -> None:
    """A key every half second: nothing typed gets lost, and the field keeps the focus."""
    field = page.locator(".st-key-train_name input")
    field.fill("")
    field.focus()
    for letter in text:
        page.keyboard.type(letter)
        page.wait_for_timeout(500)
        assert page.evaluate("document.activeElement === document.querySelector('.st-key-train_name input')")
    assert field.input_value() == text


def train_two_epochs(page: Page, home: Path) -> str:
    run = start(page, home, "first")
    type_while_it_ticks(page, "typed in peace")
    expect(state_badge(page, "done")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".st-key-live_chart canvas, .st-key-live_chart svg").first).to_be_visible()
    kinds = [json.loads(line)["kind"] for line in (home / "runs" / run / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("val") == 2
    return run


def cancel_another(page: Page, home: Path) -> None:
    fill(page, "train_epochs", "200")  # long enough to be cancelled, too short for torch.compile to pay
    run = start(page, home, "second")
    expect(state_badge(page, "running")).to_be_visible(timeout=PATIENCE_MS)
    wait_for(home, f"runs/{run}/metrics.jsonl")
    press(page, "live_cancel")
    expect(state_badge(page, "cancelled")).to_be_visible(timeout=PATIENCE_MS)
    status = json.loads((home / "runs" / run / "status.json").read_text())
    assert status["state"] == "cancelled"


def read_roc_page(page: Page, home: Path, run: str) -> None:
    report_file = wait_for(home, f"runs/{run}/evaluations/*/report.json")
    report = json.loads(report_file.read_text())
    title = page.locator(".st-key-evaluate_roc .gtitle")
    expect(title).to_contain_text(f"AUC {report['metrics']['auc_macro']['value']:.3f}", timeout=PATIENCE_MS)
    settle(page)
    known = read_predictions(report_file.parent, report["classes"])
    predicted = max(range(3), key=lambda k: ((known.labels == 0) & (known.predicted == k)).sum())
    count = int(((known.labels == 0) & (known.predicted == predicted)).sum())
    cell = page.locator("[class*='st-key-confusion_'] .scatterlayer .point").nth(predicted)
    box = cell.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    gallery = page.locator(".st-key-cell_images")
    heading = re.compile(rf"^\s*{count} images? of no substructure taken for")
    expect(gallery).to_contain_text(heading, timeout=PATIENCE_MS)
    expect(gallery.locator("img")).to_have_count(count, timeout=PATIENCE_MS)


def classify_real_images(page: Page) -> None:
    files = sorted(REAL.glob("*.npy"))
    page.locator(".st-key-analyse_upload input[type=file]").set_input_files([str(path) for path in files])
    expect(page.get_by_role("heading", name=re.compile(r"^3 images: "))).to_be_visible(timeout=PATIENCE_MS)
    settle(page)
    for name in ("lucas_axion.npy", "lucas_cdm.npy", "lucas_nosub.npy"):
        expect(page.locator("[data-testid=stDataFrame] td").filter(has_text=name)).to_have_count(1)
    expect(page.locator(".st-key-analyse_answer .gtitle")).to_be_visible()


def test_journey(server, visit):
    make_data_set(visit(f"{server.url}/data?recipe=model-2"), server.home)
    page = visit(f"{server.url}/train?data=journey")
    choose_small_model(page)
    run = train_two_epochs(page, server.home)
    cancel_another(page, server.home)
    read_roc_page(visit(f"{server.url}/evaluate?run={run}"), server.home, run)
    page = visit(f"{server.url}/analyse?run={run}")
    expect(page.locator(".st-key-analyse_answer .gtitle")).to_be_visible(timeout=PATIENCE_MS)
    if not REAL.exists():
        pytest.skip("no ../shared/data/deeplense beside the project: the step with the published images is left out")
    classify_real_images(page)
