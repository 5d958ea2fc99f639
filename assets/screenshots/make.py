"""Pictures of every page for the README: ``python -m assets.screenshots.make [PAGE ...]``.

Starts the app on a workspace of its own, in which the run that ships has been opened, and visits the pages of app.py
in Chromium, in both themes. The pictures are quantised to 256 colours: each stays under 120 KB.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from deeplense_core.shelf.examples import example_runs, open_example
from tests.browser.conftest import FLAGS, start_server
from tests.browser.find_chromium import find_chromium
from tests.browser.test_walk import settle, site

HERE = Path(__file__).parent
SIZE = {"width": 1440, "height": 900}
LARGEST = 120_000
SHOWN = {"results": "?view=superres", "train": "?run={run}", "runs": "?run={run}",
         "evaluate": "?run={run}"}  # fmt: skip
"""Page -> the deep link at which its picture is taken."""
CLICKED = {"analyse": ".st-key-analyse_view button:has-text('Evidence')"}
"""Page -> what is clicked before."""


def main(wanted: list[str]) -> None:
    """Takes a picture of each page in both themes."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        os.environ["DEEPLENSE_HOME"] = str(home)
        run = open_example(example_runs()[0])
        process, url = start_server(home, Path(name, "server.log"))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
                for page in wanted or site():
                    for theme in ("light", "dark"):
                        link = SHOWN.get(page, "").format(run=run.id)
                        address = f"{url}/{link}" if page == "overview" else f"{url}/{page}{link}"
                        take(browser, address, HERE / f"{page}-{theme}.png", theme, CLICKED.get(page, ""))
        finally:
            process.terminate()
            process.wait(timeout=20)


def take(browser, url: str, path: Path, theme: str, clicked: str) -> None:
    """One picture, once the page has come to rest; ``clicked`` names what is clicked first, if anything."""
    context = browser.new_context(viewport=SIZE, color_scheme=theme)
    tab: Page = context.new_page()
    tab.goto(url, wait_until="commit")
    tab.get_by_role("heading", level=1).wait_for(timeout=240_000)
    settle(tab)
    if clicked:
        tab.locator(clicked).click()
        tab.wait_for_timeout(1_000)
        settle(tab)
    tab.wait_for_timeout(2_500)  # curves and canvases are drawn after the page is ready
    shown = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    context.close()
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        shown.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() < LARGEST:
            break
    path.write_bytes(file.getvalue())
    print(f"{path.name}: {file.tell() / 1000:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
