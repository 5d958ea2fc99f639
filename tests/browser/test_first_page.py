"""The first page in a real browser, on a machine that is offline and a workspace that is empty."""

import io
import os
import time
import urllib.request
from urllib.parse import urljoin

import numpy as np
import pytest

from deeplense_core.workspace import ROOT
from tests.browser.conftest import start_server

pytestmark = pytest.mark.browser

FIRST_CONTENT_S = 3.0
PAGES = ("simulate", "data", "analyse", "train", "runs", "evaluate", "superres")
TITLES = {"superres": "Super-resolution"}


def test_first_content_comes_within_three_seconds(server, visit):
    """From the request to heading and doors, the best of up to five visits with nothing cached."""
    # Other work on the machine lengthens it: the limit grows with the load beyond one process a core.
    limit = FIRST_CONTENT_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    seconds = []
    while len(seconds) < 5 and min(seconds, default=limit) >= limit:
        start = time.perf_counter()
        tab = visit(server.url)
        tab.get_by_role("button", name="Open the simulator").wait_for(timeout=120_000)
        seconds.append(time.perf_counter() - start)
        tab.context.close()
    print(f"first content after {', '.join(f'{s:.2f}' for s in seconds)} s, limit {limit:.1f} s")
    assert min(seconds) < limit


def test_pictures_of_the_doors_are_drawn_and_described(server, visit):
    tab = visit(server.url)
    pictures = tab.locator("[data-testid=stImage] img")
    pictures.nth(2).wait_for(timeout=60_000)
    for picture in pictures.all():
        tab.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
        assert picture.get_attribute("alt")


@pytest.fixture
def new_server(tmp_path):
    """The address of a server that nobody has visited yet."""
    process, url = start_server(tmp_path / "home", tmp_path / "server.log")
    yield url
    process.terminate()
    process.wait(timeout=20)


# The server is asked for before the tab, so that it ends after it: a tab without its server logs errors.
def test_the_first_visit_of_a_server_may_be_a_deep_link(new_server, visit):
    """Streamlit by itself would run the page's file without app.py, as it finds a folder named pages."""
    tab = visit(f"{new_server}/runs")
    tab.get_by_role("heading", level=1, name="Runs").wait_for(timeout=60_000)
    tab.get_by_role("link", name="Overview").wait_for(timeout=30_000)
    assert tab.get_by_role("link", name="app", exact=True).count() == 0


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_at_its_own_address(page, server, visit):
    tab = visit(f"{server.url}/{page}")
    tab.get_by_role("heading", level=1, name=TITLES.get(page, page.capitalize())).wait_for(timeout=90_000)
    assert tab.locator("[data-testid=stException]").count() == 0


def test_thumbnails_show_the_image_of_their_id(server, visit):
    from PIL import Image

    from deeplense_core.data import DatasetWriter
    from deeplense_core.display import to_rgb

    pixels = np.random.default_rng(3).random((20, 1, 24, 24), dtype=np.float32)
    labels = ["no", "sphere"] * 10
    with DatasetWriter(server.home / "datasets" / "seen", classes=("no", "sphere"), shape=(1, 24, 24),
                       source={"recipe": "common-test"}) as writer:  # fmt: skip
        writer.append(pixels, {"label": labels})
        dataset = writer.finish()
    tab = visit(f"{server.url}/data?data=seen")
    pictures = tab.locator("[data-testid=stImage] img")
    pictures.nth(11).wait_for(timeout=90_000)
    seen = {}
    for picture in pictures.all():
        with urllib.request.urlopen(urljoin(server.url, picture.get_attribute("src"))) as file:
            shown = np.asarray(Image.open(io.BytesIO(file.read())))
        seen[picture.get_attribute("alt").removeprefix("Image ")] = shown[4:-4, 4:-4]
    assert list(seen) == list(dataset.catalog["id"][:12])
    for row, shown in enumerate(seen.values()):
        np.testing.assert_array_equal(shown, to_rgb(pixels[row]))


def test_theme_of_the_reader_is_taken(server, visit):
    grounds = {}
    for dark in (False, True):
        tab = visit(server.url, dark=dark)
        tab.get_by_role("heading", level=1).wait_for(timeout=60_000)
        grounds[dark] = tab.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert grounds == {False: "rgb(251, 250, 247)", True: "rgb(14, 17, 22)"}


def test_icon_of_the_browser_tab_is_a_file_of_ours(server, visit):
    tab = visit(server.url)
    tab.get_by_role("heading", level=1).wait_for(timeout=60_000)
    icons = tab.evaluate("[...document.querySelectorAll('link[rel*=icon]')].map(link => link.href)")
    assert icons
    assert all(icon.startswith(server.url) for icon in icons)
    assert (ROOT / "assets" / "samples" / "icon.png").exists()
