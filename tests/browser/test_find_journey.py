"""The page of finders in a real browser: what ships is shown at once; a folder is scored, filtered, taken home."""

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from playwright.sync_api import Page, expect
from steps import PATIENCE_MS, heading, settle

from deeplense_core.sim import simulate

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
IMAGES = 6


def pick(page: Page, key: str, name: str) -> None:
    box = page.locator(f".st-key-{key} input").first
    box.fill(name)
    box.press("Enter")
    settle(page)


@pytest.fixture
def cutouts(tmp_path):
    """FITS cutouts of one band with a place on the sky, and a file that is none."""
    batch = simulate("lens-finding-hard-i", IMAGES, seed=8, settings={"faults": 0.0, "scaling": "counts"})
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for number, image in enumerate(batch.images.numpy()):
        step = float(batch.truth["pixel_scale_arcsec"][number]) / 3600
        header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0 + number, "CRVAL2": 2.0,
                              "CRPIX1": 32.5, "CRPIX2": 32.5, "CDELT1": -step, "CDELT2": step, "CUNIT1": "deg",
                              "CUNIT2": "deg"})  # fmt: skip
        fits.PrimaryHDU(image[0].astype(np.float32), header).writeto(folder / f"cutout-{number}.fits")
    (folder / "broken.fits").write_bytes(b"SIMPLE  =")
    return folder


def test_a_folder_becomes_a_catalogue_to_take_home(server, visit, cutouts):
    page = visit(f"{server.url}/find?run=finder-i")
    heading(page, r"of the lenses, .* to inspect per true lens")
    settle(page)  # pictures that a page has left are not served any more
    page.wait_for_function("document.images.length && [...document.images].every(image => image.complete)")
    page.get_by_role("tab", name="Score many images").click()
    settle(page)
    pick(page, "score_model", "finder-i")
    box = page.locator(".st-key-score_path input")
    box.fill(str(cutouts))
    box.press("Enter")
    settle(page)
    page.locator(".st-key-score_start button").click()
    heading(page, rf"^{IMAGES} of {IMAGES} images; 1 could not be used")
    page.locator(".st-key-score_export button").first.click()
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="ECSV", exact=True).click()
    table = Table.read(io.BytesIO(download.value.path().read_bytes()), format="ascii.ecsv")
    assert sorted(table["name"]) == [f"cutout-{number}.fits" for number in range(IMAGES)]
    assert list(table["score"]) == sorted(table["score"], reverse=True), "the highest come first"
    where = {name: round(ra) for name, ra in zip(table["name"], table["ra"], strict=True)}
    assert where == {f"cutout-{number}.fits": 150 + number for number in range(IMAGES)}
    page.keyboard.press("Escape")
    box = page.locator(".st-key-score_text input")
    box.fill("cutout-3")
    box.press("Enter")
    heading(page, rf"^1 of {IMAGES} images")
    page.reload()
    heading(page, r"of the lenses, .* to inspect per true lens")
    settle(page)
    page.wait_for_function("document.images.length && [...document.images].every(image => image.complete)")
    page.get_by_role("tab", name="Score many images").click()
    heading(page, rf"^{IMAGES} of {IMAGES} images; 1 could not be used")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing scored yet.")).to_be_visible(timeout=PATIENCE_MS)
    assert (cutouts / "cutout-0.fits").exists()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
