"""The analyse page in a real browser: drop files, read answers, look at the evidence, export, mark for inspection."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from playwright.sync_api import Page, expect
from steps import PATIENCE_MS, heading, settle

from deeplense_core.inspection import marked
from pages.ui.answers import samples

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
SCRIPT = "<img src=x onerror=window.hacked=1>"


def drop(page: Page, files: list[tuple[str, bytes]]) -> None:
    page.locator(".st-key-analyse_upload input[type=file]").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files]
    )
    settle(page)


def hostile(pixels: np.ndarray) -> bytes:
    """A good image whose cards hold a script."""
    header = fits.Header({"BUNIT": SCRIPT, "FILTER": SCRIPT, "CDELT1": 0.05, "CDELT2": 0.05, "CUNIT1": "arcsec",
                          "CUNIT2": "arcsec"})  # fmt: skip
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(pixels, header), fits.ImageHDU(pixels, name=SCRIPT)]).writeto(file)
    return file.getvalue()


def open_export(page: Page, label: str) -> bytes:
    page.locator(".st-key-analyse_export button").first.click()
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name=label, exact=True).click()
    page.keyboard.press("Escape")
    return download.value.path().read_bytes()


def test_analyse_journey(server, visit, monkeypatch):
    monkeypatch.setenv("DEEPLENSE_HOME", str(server.home))
    page = visit(f"{server.url}/analyse")
    heading(page, r"^Subhalo \(CDM\): probability")
    lenses = samples("common-test")
    pixels = fits.getdata(io.BytesIO(lenses["vort"]))
    noise = npy(np.random.default_rng(0).normal(size=(150, 150)))
    drop(page, [("one.fits", lenses["no"]), ("two.fits", lenses["sphere"]), (f"{SCRIPT}.fits", hostile(pixels)),
                ("noise.npy", noise), ("bad.fits", b"SIMPLE  =")])  # fmt: skip
    heading(page, r"^4 images: .*1 unlike the training images")
    errors = page.locator("[data-testid=stAlert]").filter(has_text="bad.fits")
    expect(errors).to_have_count(1)
    for view in ("Evidence", "Preprocessing", "Image"):
        page.locator(".st-key-analyse_view").get_by_text(view, exact=True).click()
        settle(page)
        expect(page.locator(f"[class*=st-key-analyse_viewer_{view}] canvas").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    page.locator(".st-key-analyse_classes").get_by_text("unlike the training images").click()
    settle(page)
    heading(page, "^Unlike the training images: no class can be trusted")
    table = Table.read(io.BytesIO(open_export(page, "ECSV")), format="ascii.ecsv")
    assert list(table["name"]) == ["noise.npy"]
    assert {"ra", "dec", "score", "p_calibrated", "class", "model_id", "time"} <= set(table.colnames)
    page.locator(".st-key-analyse_mark button").click()
    expect(page.locator(".st-key-analyse_mark")).to_contain_text("Marked", timeout=PATIENCE_MS)
    assert [one.name for one in marked()] == ["noise.npy"]
    page.reload()
    heading(page, r"^Subhalo \(CDM\): probability")
    expect(page.get_by_text("1 marked for inspection")).to_be_visible(timeout=PATIENCE_MS)
    assert page.evaluate("window.hacked") is None


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
