"""Pictures of every page for the README: ``python -m assets.screenshots.make [PAGE ...]``.

Starts the app on a workspace of its own, in which the run that ships has been opened and samples are embedded, and
visits the pages of app.py in Chromium, in both themes; ``euclid`` and ``hsc`` are the analyse page with images that are
not part of the project, left out where they do not lie beside it. The pictures are quantised to 256 colours.
"""

from __future__ import annotations

import io
import os
import subprocess
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
REAL = HERE.parents[2] / "shared" / "data"
SHOWN = {"results": "results?view=superres", "train": "train?run={run}", "runs": "runs?run={run}", "overview": "",
         "evaluate": "evaluate?run={run}", "euclid": "analyse?run=finder-i",
         "hsc": "analyse?run=finder-i"}  # fmt: skip
"""Page -> the address at which its picture is taken; for all others, its own."""
DROPPED = {"euclid": REAL / "euclid_q1" / "102020532_NEG589257492489565961.fits",
           "hsc": REAL / "hsc_hst" / "Cut_HSC.fits"}  # fmt: skip
"""Page -> the file that is dropped on it."""
CLICKED = dict.fromkeys(("analyse", "euclid"), ".st-key-analyse_view button:has-text('Evidence')")
"""Page -> what is clicked before."""
EMBED = ("embed", "common-test", "--data", "sim:common-test", "--count", "600", "--project", "umap")


def main(wanted: list[str]) -> None:
    """Takes a picture of each page in both themes."""
    wanted = wanted or [*site(), *(page for page, file in DROPPED.items() if file.exists())]
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        os.environ["DEEPLENSE_HOME"] = str(home)
        run = open_example(example_runs()[0])
        if "embeddings" in wanted:
            out = home / "embeddings" / "common-test.npz"
            subprocess.run([sys.executable, "-m", "deeplense_core", *EMBED, "--out", str(out)], check=True)
        process, url = start_server(home, Path(name, "server.log"))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
                for page in wanted:
                    for theme in ("light", "dark"):
                        address = f"{url}/{SHOWN.get(page, page).format(run=run.id)}"
                        take(browser, address, HERE / f"{page}-{theme}.png", theme, CLICKED.get(page, ""),
                             DROPPED.get(page))  # fmt: skip
        finally:
            process.terminate()
            process.wait(timeout=20)


def take(browser, url: str, path: Path, theme: str, clicked: str, dropped: Path | None) -> None:
    """One picture, once the page has come to rest; a file is dropped first, and then a button clicked, if any."""
    context = browser.new_context(viewport=SIZE, color_scheme=theme)
    tab: Page = context.new_page()
    tab.goto(url, wait_until="commit")
    tab.get_by_role("heading", level=1).wait_for(timeout=240_000)
    settle(tab)
    if dropped:
        tab.set_input_files("input[type=file]", str(dropped))
        tab.wait_for_timeout(3_000)
        settle(tab)
    if clicked:
        tab.locator(clicked).click()
        tab.wait_for_timeout(1_000)
        settle(tab)
    tab.wait_for_timeout(2_500)  # curves and canvases are drawn after the page is ready
    shown = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    context.close()
    file = io.BytesIO()
    shown.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    path.write_bytes(file.getvalue())
    print(f"{path.name}: {file.tell() / 1000:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
