"""The map of points in a real Chromium: lasso, hover, zoom that stays, linked maps; and words that stay text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import served
from tests.browser.scatter_app import PLANTED, positions

pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000
COUNT = 2000


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Address of the page of tests/browser/scatter_app.py."""
    yield from served(tmp_path_factory, "scatter_app.py")


@pytest.fixture
def show(app, visit):
    """``show(count, maps)``: the tab with all maps drawn."""

    def open_app(count: int = COUNT, maps: int = 1, **settings) -> Page:
        tab = visit(f"{app}/?count={count}&maps={maps}", **settings)
        for number in range(maps):
            drawn = tab.locator(f".scatter[data-key=map{number}]")
            expect(drawn).to_have_attribute("data-drawn", str(count), timeout=PATIENCE_MS)
        return tab

    return open_app


def settle(tab: Page) -> None:
    """Waits until what was done has been drawn."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def view(tab: Page, number: int = 0) -> tuple[str | None, ...]:
    settle(tab)
    return tuple(tab.locator(f".scatter[data-key=map{number}]").get_attribute(f"data-{name}")
                 for name in ("zoom", "x", "y"))  # fmt: skip


def on_screen(tab: Page, places: np.ndarray, count: int = COUNT, number: int = 0) -> np.ndarray:
    """Where places of the map are in the window, worked out as scatter.js does at its present zoom."""
    zoom, x, y = (float(value or "nan") for value in view(tab, number))
    all_points = positions(count, number).astype(float)
    low, high = all_points.min(0), all_points.max(0)
    box = tab.locator(f".scatter[data-key=map{number}] canvas.above").bounding_box()
    assert box
    scale = 0.92 * min(box["width"] / (high - low)[0], box["height"] / (high - low)[1]) * zoom
    middle = (low + high) / 2 + np.array([x, y]) * (high - low).max()
    away = (places - middle) * scale
    return np.stack([box["x"] + box["width"] / 2 + away[:, 0], box["y"] + box["height"] / 2 - away[:, 1]], 1)


def draw_round_planted(tab: Page, count: int = COUNT) -> None:
    """A lasso, with Shift held, round the planted points."""
    corners = on_screen(tab, np.array([[7.6, 7.6], [9.4, 7.6], [9.4, 9.1], [7.6, 9.1]]), count)
    tab.keyboard.down("Shift")
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        tab.mouse.move(*corner, steps=4)
    tab.mouse.up()
    tab.keyboard.up("Shift")


def test_a_lasso_round_planted_points_gives_exactly_these(show):
    tab = show()
    draw_round_planted(tab)
    expect(tab.locator(".scatter")).to_have_attribute("data-chosen", str(PLANTED))
    rows = list(range(COUNT - PLANTED, COUNT))
    expect(tab.get_by_text(f"map 0: {PLANTED} chosen {json.dumps(rows)}")).to_be_visible(timeout=PATIENCE_MS)
    tab.locator("canvas.above").dblclick(position={"x": 5, "y": 5})
    expect(tab.get_by_text("map 0: 0 chosen")).to_be_visible(timeout=PATIENCE_MS)


def test_a_lasso_lets_go_of_the_point_that_was_clicked(show):
    """The page shows the neighbours of a point that is clicked, and the chosen ones once some are chosen."""
    tab = show()
    (place,) = on_screen(tab, positions(COUNT)[-1:].astype(float))
    tab.mouse.click(*place)
    expect(tab.get_by_text(f"0 chosen [], picked {COUNT - 1}")).to_be_visible(timeout=PATIENCE_MS)
    draw_round_planted(tab)
    expect(tab.get_by_text("picked None")).to_be_visible(timeout=PATIENCE_MS)
    expect(tab.locator(".scatter")).to_have_attribute("data-picked", "-1")
    expect(tab.locator(".scatter")).to_have_attribute("data-chosen", str(PLANTED))


def test_hover_shows_the_nearest_point_with_its_picture(show):
    tab = show()
    all_points = on_screen(tab, positions(COUNT).astype(float))
    for row in (COUNT - 1, COUNT - 8, COUNT - 20):
        tab.mouse.move(*(all_points[row] + (1.5, -1)))
        nearest = int(np.hypot(*(all_points - all_points[row] - (1.5, -1)).T).argmin())
        assert nearest == row
        expect(tab.locator(".scatter")).to_have_attribute("data-hover", str(nearest))
        card = tab.locator(".card")
        expect(card.locator(".name")).to_have_text(f"image {row}", timeout=PATIENCE_MS)
        expect(card.locator(".line").nth(1)).to_have_text("<i>words</i>")
        colour = card.locator("canvas").evaluate("c => c.getContext('2d').getImageData(9, 9, 1, 1).data[0]")
        assert colour == row % 256
    expect(tab.locator(".legend .item").first).to_contain_text("class <b>0</b>")


def test_zoom_and_choice_stay_when_colours_change(show):
    tab = show()
    draw_round_planted(tab)
    expect(tab.get_by_text(f"map 0: {PLANTED} chosen")).to_be_visible(timeout=PATIENCE_MS)
    (place,) = on_screen(tab, np.array([[8.5, 8.4]]))
    tab.mouse.move(*place)
    for _ in range(3):
        tab.mouse.wheel(0, -200)
    expect(tab.locator(".scatter")).not_to_have_attribute("data-zoom", "1.0000")
    zoomed = view(tab)
    assert float(zoomed[0] or 0) == pytest.approx(np.exp(3 * 200 / 500), rel=1e-3)
    after = on_screen(tab, np.array([[8.5, 8.4]]))[0]
    assert after == pytest.approx(place, abs=1.0)  # the place under the cursor stays
    before = tab.locator(".scatter").get_attribute("data-looks")
    tab.get_by_text("Other colours").click()
    expect(tab.locator(".scatter")).not_to_have_attribute("data-looks", before or "", timeout=PATIENCE_MS)
    assert view(tab) == zoomed
    expect(tab.locator(".scatter")).to_have_attribute("data-chosen", str(PLANTED))


def test_maps_side_by_side_share_what_is_chosen(show):
    tab = show(maps=2)
    draw_round_planted(tab)
    for number in (0, 1):
        one = tab.locator(f".scatter[data-key=map{number}]")
        expect(one).to_have_attribute("data-chosen", str(PLANTED), timeout=PATIENCE_MS)
    tab.locator(".scatter[data-key=map1] canvas.above").press("Escape")
    for number in (0, 1):
        one = tab.locator(f".scatter[data-key=map{number}]")
        expect(one).to_have_attribute("data-chosen", "0", timeout=PATIENCE_MS)


def test_keys_choose_and_move(show):
    tab = show()
    above = tab.locator("canvas.above")
    above.press("v")
    expect(tab.get_by_text(f"map 0: {COUNT} chosen")).to_be_visible(timeout=PATIENCE_MS)
    above.press("Escape")
    above.press("+")
    above.press("ArrowLeft")
    assert float(view(tab)[0] or 0) == pytest.approx(1.4, rel=1e-3)
    assert view(tab)[1] != "0.00000"
    above.press("0")
    assert view(tab) == ("1.0000", "0.00000", "0.00000")
    above.press("l")
    expect(tab.locator("button[name=tool-lasso]")).to_have_attribute("aria-pressed", "true")


@pytest.mark.long
def test_100_000_points_are_drawn_in_time_and_chosen_at_once(show):
    tab = show(100_000)
    first = int(tab.locator(".scatter").get_attribute("data-first") or 0)
    print(f"first picture {first} ms after the component began")
    assert first < 3000
    tab.evaluate("""() => {
        const texts = () => [...document.querySelectorAll('[data-testid=stText]')];
        const shown = () => texts().some((p) => p.innerText.includes('20 chosen'));
        addEventListener('pointerup', () => {
            const start = performance.now();
            const look = () => shown() ? window.took = performance.now() - start : setTimeout(look, 10);
            look();
        }, true);
    }""")
    draw_round_planted(tab, 100_000)
    expect(tab.get_by_text("map 0: 20 chosen")).to_be_visible(timeout=PATIENCE_MS)
    took = tab.evaluate("() => window.took")
    print(f"lasso to page {took:.0f} ms")
    assert took < 1000
