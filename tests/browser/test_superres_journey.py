"""The super-resolution page in a real browser: one zoom, the slider by keys, an own file and a FITS to keep."""

import io
import re

import numpy as np
import pytest
from astropy.io import fits
from playwright.sync_api import Page, expect
from steps import settle

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
PATIENCE_MS = 240_000


def drawn(page: Page):
    viewer = page.locator(".st-key-superres_viewer .viewer[data-mode]")
    expect(viewer).to_be_visible(timeout=PATIENCE_MS)
    return viewer


def choose(page: Page, key: str, name: str) -> None:
    """Adds an option to a box of several."""
    box = page.locator(f".st-key-{key} input").first
    box.fill(name)
    box.press("Enter")
    page.keyboard.press("Escape")
    settle(page)


def zoom_of(page: Page) -> tuple[str | None, ...]:
    viewer = drawn(page)
    return tuple(viewer.get_attribute(f"data-{name}") for name in ("zoom", "x", "y"))


def ring() -> bytes:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40] - 19.5
    pixels = 0.01 * (300 * np.exp(-((np.hypot(x, y) - 9) ** 2) / 6) + rng.normal(0, 1.6, (40, 40))) + 3
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 20.5,
                          "CRPIX2": 20.5, "CDELT1": -0.1 / 3600, "CDELT2": 0.1 / 3600, "CUNIT1": "deg",
                          "CUNIT2": "deg", "BUNIT": "nJy"})  # fmt: skip
    file = io.BytesIO()
    fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(file)
    return file.getvalue()


def test_one_zoom_for_all_models_and_a_slider_by_keys(server, visit):
    page = visit(f"{server.url}/superres")
    viewer = drawn(page)
    settle(page)
    canvases = page.locator(".st-key-superres_viewer canvas.sky")
    expect(canvases).to_have_count(4)  # coarse, bicubic, network, observed
    box = canvases.nth(0).bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    for _ in range(3):
        page.mouse.wheel(0, -200)
    expect(viewer).to_have_attribute("data-zoom", re.compile(r"^3\.3"))
    before = zoom_of(page)
    places = set()  # the same sky under the mouse in every panel
    for number in range(4):
        box = canvases.nth(number).bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_timeout(200)
        text = page.locator(".st-key-superres_viewer .readout .xy").nth(number).text_content()
        x, y = (int(word) for word in re.findall(r"\d+", text or ""))
        scale = 1 if number == 0 else 2
        places.add((x // scale, y // scale))
    assert len(places) == 1, places
    choose(page, "superres_kernels", "lanczos")
    expect(canvases).to_have_count(5, timeout=PATIENCE_MS)
    assert zoom_of(page) == before, "another model has moved the view"
    page.locator(".st-key-superres_viewer").get_by_role("button", name="Slider", exact=True).click()
    expect(drawn(page)).to_have_attribute("data-mode", "slider")
    handle = page.get_by_role("slider", name="Border between both images")
    handle.focus()
    page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "51")
    assert zoom_of(page) == before


def test_an_own_file_comes_back_finer_with_its_coordinates(server, visit):
    page = visit(f"{server.url}/superres", width=900)
    drawn(page)
    settle(page)
    toggle = page.locator(".st-key-superres_averaged label").first
    words = toggle.evaluate("e => [...e.querySelectorAll('p')].map(p => [p.scrollWidth, p.clientWidth])")
    assert all(needed <= there + 1 for needed, there in words), f"the label of the toggle is cut: {words}"
    data = page.locator(".st-key-superres_data input")
    data.fill("your own")
    data.press("Enter")
    settle(page)
    original = ring()
    page.locator(".st-key-superres_own_coarse input[type=file]").set_input_files(
        [{"name": "mine.fits", "mimeType": "application/fits", "buffer": original}]
    )
    settle(page)
    expect(page.locator(".st-key-superres_viewer canvas.sky")).to_have_count(3, timeout=PATIENCE_MS)
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.locator(".st-key-superres_fits button").click()
    assert download.value.suggested_filename == "mine_edsr-x2.fits"
    with fits.open(download.value.path()) as hdus:
        header, fine = hdus[0].header, np.array(hdus[0].data, np.float64)
    coarse = np.asarray(fits.getdata(io.BytesIO(original)), np.float64)
    assert fine.shape == (80, 80)
    assert fine.sum() == pytest.approx(coarse.sum(), rel=1e-2)  # nJy are amounts per pixel
    assert header["CRPIX1"] == 40.5
    assert abs(header.get("CDELT1", header.get("PC1_1", 0.0) or header.get("CD1_1", 0.0))) == pytest.approx(
        0.05 / 3600)
    assert header["PIXSCALE"] == pytest.approx(0.05)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
