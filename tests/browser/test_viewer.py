"""The viewer in a real Chromium: zoom, readout, slider, difference, keys; and names that stay text."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from astropy.wcs import WCS
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import served
from tests.browser.viewer_app import REAL, TAN, XSS, panels, real

pytestmark = pytest.mark.browser
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Address of the page of tests/browser/viewer_app.py."""
    yield from served(tmp_path_factory, "viewer_app.py")


@pytest.fixture
def show(app, visit):
    """``show("case", mode)``: the tab with the viewer drawn."""

    def open_case(case: str = "", mode: str = "side", **settings) -> Page:
        tab = visit(f"{app}/?case={case}&mode={mode}", **settings)
        drawn = tab.locator(".viewer[data-mode]")
        expect(drawn).to_have_attribute("data-mode", mode, timeout=PATIENCE_MS)
        return tab

    return open_case


def canvas(tab: Page, number: int = 0) -> Locator:
    return tab.locator("canvas.sky").nth(number)


def point(tab: Page, number: int, x: float, y: float) -> None:
    """Moves the mouse to a share of the picture's width and height, from its lower left corner."""
    box = canvas(tab, number).bounding_box()
    left, right, top, bottom = 34, 6, 6, 20  # MARGIN in viewer_draw.js
    tab.mouse.move(
        box["x"] + left + x * (box["width"] - left - right), box["y"] + top + (1 - y) * (box["height"] - top - bottom)
    )


def read(tab: Page, number: int = 0) -> dict:
    """The readout of a pane: x, y, value, and where there is one ra and dec in degrees."""
    settle(tab)
    place = tab.locator(".readout").nth(number)
    expect(place.locator(".xy")).to_be_visible()
    found = re.fullmatch(r"x (\d+)  y (\d+)", place.locator(".xy").text_content())
    said = {"x": int(found[1]), "y": int(found[2]), "value": place.locator(".value").first.text_content()}
    if place.locator(".sky-position").count():
        text = place.locator(".sky-position").text_content().replace("−", "-")
        said["ra"], said["dec"] = (float(number) for number in re.findall(r"[-+]?\d+\.\d+", text))
    return said


def settle(tab: Page) -> None:
    """Waits until what was done has been drawn."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def zoom_of(tab: Page) -> tuple[str, ...]:
    settle(tab)
    viewer = tab.locator(".viewer")
    return tuple(viewer.get_attribute(f"data-{name}") for name in ("zoom", "x", "y"))


def pixels(tab: Page, number: int = 0) -> np.ndarray:
    """The colours of a canvas, (h, w, 4)."""
    settle(tab)
    text = canvas(tab, number).evaluate("canvas => canvas.toDataURL('image/png')").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_wheel_zooms_all_panels_alike_at_the_cursor(show):
    tab = show()
    point(tab, 0, 0.7, 0.61)
    before = read(tab)
    assert (before["x"], before["y"]) == (52, 45)
    for _ in range(4):
        tab.mouse.wheel(0, -200)
    expect(tab.locator(".viewer")).to_have_attribute("data-zoom", re.compile(r"^4\.95"))
    assert float(zoom_of(tab)[0]) == pytest.approx(np.exp(4 * 200 / 500), rel=1e-3)
    point(tab, 1, 0.5, 0.5)
    point(tab, 0, 0.7, 0.61)
    assert read(tab) == before
    seen = []
    for number in (0, 1):
        point(tab, number, 0.1, 0.2)
        seen.append({(said["x"], said["y"]) for said in (read(tab, 0), read(tab, 1))})
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1
    assert seen[0] != {(7, 15)}  # without zoom it would be that
    (pixel,) = seen[0]
    tab.mouse.down()
    point(tab, 1, 0.3, 0.5)
    tab.mouse.up()
    said = read(tab, 0)
    assert (said["x"], said["y"]) == pixel  # dragged along
    canvas(tab).dblclick()
    expect(tab.locator(".viewer")).to_have_attribute("data-zoom", "1.0000")
    assert zoom_of(tab)[1:] == ("0.00000", "0.00000")


def test_zoom_and_stretch_survive_new_data(show):
    tab = show()
    canvas(tab).focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "s"):
        tab.keyboard.press(key)
    expect(tab.locator(".said").first).to_contain_text("log, ")
    point(tab, 1, 0.4, 0.4)
    before, view = read(tab, 1), zoom_of(tab)
    tab.get_by_role("button", name="New data").click()
    expect(tab.locator(".title").first).to_have_text("seed 10", timeout=PATIENCE_MS)
    expect(tab.locator(".said").first).to_contain_text("log, ")
    point(tab, 1, 0.4, 0.4)
    after = read(tab, 1)
    assert zoom_of(tab) == view
    assert view[0] == "2.2500"
    assert (after["x"], after["y"]) == (before["x"], before["y"])
    assert after["value"] != before["value"]
    assert np.float32(after["value"]) == panels("", 10)[1].pixels[0, after["y"], after["x"]]


def test_readout_is_the_arrays_value_and_astropys_sky(show):
    tab = show("wcs")
    panel = panels("wcs")[0]
    for x, y in ((0.02, 0.03), (0.5, 0.5), (0.97, 0.31)):
        point(tab, 0, x, y)
        said = read(tab)
        value, unit = said["value"].split(" ")
        assert np.float32(value) == panel.pixels[0, said["y"], said["x"]]
        assert unit == "nJy"
        # The cursor is somewhere on that pixel: its corners bound the position.
        around = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]])
        corners = WCS(TAN).all_pix2world(said["x"] + around[0], said["y"] + around[1], 0)
        assert corners[0].min() <= said["ra"] <= corners[0].max()
        assert corners[1].min() <= said["dec"] <= corners[1].max()


def test_keys_put_the_crosshair_on_a_pixels_centre(show):
    tab = show("wcs")
    canvas(tab).focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"):
        tab.keyboard.press(key)
    said = read(tab)
    assert (said["x"], said["y"]) in ((31, 30), (32, 31))  # from the middle, between two pixels
    ra, dec = WCS(TAN).all_pix2world(said["x"], said["y"], 0)
    assert 3600 * abs(said["ra"] - ra) * np.cos(np.radians(dec)) < 0.01
    assert 3600 * abs(said["dec"] - dec) < 0.01
    tab.keyboard.press("Enter")
    picked = f"picked Picked(panel=0, x={said['x']}, y={said['y']})"
    expect(tab.locator("[data-testid=stText]")).to_contain_text(picked, timeout=PATIENCE_MS)
    tab.keyboard.press("Escape")
    expect(tab.locator(".readout").first).to_contain_text("60 × 60 pixels of 0.1 arcsec, ICRS")
    expect(tab.locator(".readout").nth(1)).to_contain_text("60 × 40 pixels of 0.1 arcsec, no WCS")


@pytest.mark.skipif(not REAL.exists(), reason="no ../shared/data beside the project")
@pytest.mark.parametrize("case", ["euclid", "hsc"])
def test_real_images_tell_astropys_position(show, case):
    from astropy.io import fits

    tab = show(case)
    canvas(tab).focus()
    tab.keyboard.press("Shift+ArrowUp")
    for number, panel in enumerate(real(case)):
        said = read(tab, number)
        text = panel.wcs if "\n" not in panel.wcs else panel.wcs.replace("\n", "")
        wcs = WCS(fits.Header.fromstring(text), naxis=2)
        # On a pixel of the first image; of the second only the pixel is known.
        ra, dec = wcs.all_pix2world(said["x"], said["y"], 0)
        near = 0.01 if number == 0 else panel.pixel_scale_arcsec
        assert 3600 * abs(said["ra"] - ra) * np.cos(np.radians(dec)) < near
        assert 3600 * abs(said["dec"] - dec) < near


def test_panels_of_two_scales_show_the_same_sky(show):
    tab = show("scales")
    for x, y in ((0.2, 0.7), (0.81, 0.12)):
        point(tab, 0, x, y)
        coarse, fine = read(tab, 0), read(tab, 1)
        assert (fine["x"] // 2, fine["y"] // 2) == (coarse["x"], coarse["y"])
        assert read(tab, 2)["x"] == fine["x"]
    limits = tab.locator(".said").all_text_contents()
    assert limits[1] == limits[2] != ""  # locked together


def test_panels_with_a_sky_are_put_together_by_it(show):
    tab = show("shifted")
    point(tab, 0, 0.41, 0.52)
    one, other = read(tab, 0), read(tab, 1)
    assert (other["x"] - one["x"], other["y"] - one["y"]) == (7, -3)


def test_stretching_needs_no_rerun(show):
    tab = show("bands")
    said = tab.locator(".said")
    expect(said).to_contain_text("Lupton RGB, Q")
    tab.locator("select[name=band]").select_option("1")
    expect(said).to_contain_text("asinh, ")
    before = pixels(tab)
    tab.locator("select[name=curve]").select_option("linear")
    tab.locator("select[name=limits]").select_option("zscale")
    tab.locator("select[name=colormap]").select_option("gray")
    expect(said).to_contain_text("linear, ")
    expect(said).to_contain_text("uJy (zscale)")
    after = pixels(tab)
    assert (after != before).any()
    picture = after[60:-60, 60:-60, :3]
    assert (picture == picture[..., :1]).mean() > 0.95  # gray
    tab.locator("select[name=limits]").select_option("hand")
    tab.locator("input[name=low]").fill("-1")
    tab.locator("input[name=low]").press("Enter")
    expect(said).to_contain_text("linear, −1.00 to")
    assert tab.locator("[data-testid=stText]").text_content() == "run 1, picked None"


def test_the_slider_moves_by_drag_and_arrow_keys(show):
    tab = show(mode="slider")
    handle = tab.get_by_role("slider", name="Border between both images")
    expect(handle).to_have_attribute("aria-valuenow", "50")
    handle.focus()
    tab.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "51")
    tab.keyboard.press("Shift+ArrowLeft")
    expect(handle).to_have_attribute("aria-valuenow", "41")
    pictures = {}
    for key, value in (("Home", "0"), ("End", "100")):
        tab.keyboard.press(key)
        expect(handle).to_have_attribute("aria-valuenow", value)
        pictures[value] = pixels(tab)
    assert (pictures["0"] != pictures["100"])[50:-50, 50:-50].mean() > 0.2  # all of one and all of the other
    tab.keyboard.press("PageDown")
    expect(handle).to_have_attribute("aria-valuenow", "90")
    middle = pixels(tab).shape[1] // 2
    np.testing.assert_array_equal(pixels(tab)[50:-50, 50:middle], pictures["100"][50:-50, 50:middle])
    box = handle.bounding_box()
    tab.mouse.move(box["x"] + 9, box["y"] + 40)
    tab.mouse.down()
    point(tab, 0, 0.25, 0.5)
    tab.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", "25")


def test_the_difference_of_equal_images_is_exactly_0(show):
    tab = show("same", "difference")
    expect(tab.locator(".title")).to_have_text("one − other")
    expect(tab.locator(".said")).to_contain_text("linear, −1.00 to 1.00")
    for x, y in ((0.1, 0.1), (0.5, 0.5), (0.7, 0.9)):
        point(tab, 0, x, y)
        assert read(tab)["value"] == "0"
    tab.mouse.move(0, 0)
    expect(tab.locator(".readout .xy")).to_have_count(0)
    inner = pixels(tab)[60:-90, 120:-60, :3]  # of the picture alone
    assert len(np.unique(inner.reshape(-1, 3), axis=0)) == 1
    assert np.abs(inner.reshape(-1, 3)[0].astype(int) - 247).max() <= 2  # the middle of RdBu


def test_the_difference_is_that_of_the_arrays(show):
    tab = show(mode="difference")
    first, second = (panel.pixels[0] for panel in panels(""))
    for x, y in ((0.13, 0.4), (0.61, 0.77)):
        point(tab, 0, x, y)
        said = read(tab)
        assert np.float32(said["value"]) == first[said["y"], said["x"]] - second[said["y"], said["x"]]


def test_blink_shows_one_panel_after_the_other(show):
    tab = show(mode="blink")
    seen = {tab.locator(".title").text_content()}
    other = "seed 1" if seen == {"seed 0"} else "seed 0"
    expect(tab.locator(".title")).to_have_text(other, timeout=PATIENCE_MS)  # by itself
    tab.get_by_role("button", name="Pause").click()
    tab.get_by_role("button", name="Run", exact=True).wait_for()
    shown = tab.locator(".title").text_content()
    canvas(tab).focus()
    tab.keyboard.press("n")
    expect(tab.locator(".title")).not_to_have_text(shown)
    tab.keyboard.press("n")
    expect(tab.locator(".title")).to_have_text(shown)


def test_names_are_shown_as_text(show):
    tab = show("names")
    expect(tab.locator(".title")).to_have_text(XSS)
    expect(tab.locator(".said")).to_contain_text(XSS)
    expect(tab.locator("button[name=overlay]")).to_have_text(XSS)
    assert tab.locator(".viewer img").count() == 0
    assert tab.title() != "hacked"


def test_where_it_cannot_run_it_leads_to_plain_pictures(app, browser):
    context = browser.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    tab = context.new_page()
    tab.goto(f"{app}/?case=same")
    tab.get_by_text("could not start here: this browser draws no canvas").wait_for(timeout=PATIENCE_MS)
    tab.get_by_role("link", name="Show plain pictures").click()
    expect(tab.locator("[data-testid=stImage] img")).to_have_count(2, timeout=PATIENCE_MS)
    assert "case=same" in tab.url
    context.close()


def test_overlay_and_curves_switch_off(show):
    tab = show("overlay")
    with_both = pixels(tab)
    tab.locator("button[name=overlay]").click()
    expect(tab.locator("button[name=overlay]")).to_have_attribute("aria-pressed", "false")
    expect(tab.locator("input[name=opacity]")).to_have_count(0)
    without_map = pixels(tab)
    tab.locator("button[name=curves]").click()
    expect(tab.locator("button[name=curves]")).to_have_attribute("aria-pressed", "false")
    bare = pixels(tab)
    assert (with_both != without_map).mean() > 0.1
    assert 0 < (without_map != bare).mean() < 0.1


def test_everything_is_reached_by_tab(show):
    tab = show("scales", "slider")
    reached = set()
    tab.locator("button[name=mode-side]").focus()
    for _ in range(30):
        reached.add(tab.evaluate(
            "() => { let a = document.activeElement; while (a?.shadowRoot) a = a.shadowRoot.activeElement;"
            " return a && (a.getAttribute('name') || a.getAttribute('role') || a.tagName); }"
        ))  # fmt: skip
        tab.keyboard.press("Tab")
    assert {"mode-side", "mode-difference", "first", "second", "swap", "in", "out", "fit", "keys", "target", "curve",
            "limits", "colormap", "invert", "application", "slider"} <= reached  # fmt: skip


@pytest.mark.parametrize(("case", "width"), [("bands", 900), ("scales", 900)])
def test_nothing_runs_over_the_edge(show, case, width):
    tab = show(case, width=width)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    frame = tab.locator(".viewer").bounding_box()
    for part in tab.locator(".viewer button, .viewer select, canvas.sky").all():
        box = part.bounding_box()
        assert frame["x"] - 1 <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1


