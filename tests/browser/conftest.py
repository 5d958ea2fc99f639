"""A real server on a free port and a real Chromium in front of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import pytest

from deeplense_core.workspace import ROOT
from tests.browser.find_chromium import find_chromium

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]  # fmt: skip
START_S = 240.0
"""For a server to answer: seconds on a free machine, minutes where all tests start at once on a slow one."""


@dataclass(frozen=True)
class Server:
    """The app under test."""

    url: str
    home: Path
    """Its workspace."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(home: Path, log: Path, script: str = "app.py", **environment: str) -> tuple[subprocess.Popen, str]:
    """Starts the app, or another script, with ``home`` as workspace; returns process and address once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
            env={**os.environ, "DEEPLENSE_HOME": str(home), **environment},
        )  # fmt: skip
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return process, url
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    raise RuntimeError(f"the app did not start:\n{log.read_text()}")


def served(tmp_path_factory: pytest.TempPathFactory, script: str) -> Iterator[str]:
    """Address of a script of this folder, on a workspace of its own, while a fixture lasts."""
    folder = tmp_path_factory.mktemp("browser")
    path = str(Path("tests", "browser", script))
    process, url = start_server(folder / "home", folder / "server.log", path, PYTHONPATH=str(ROOT))
    yield url
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on an empty workspace, shared by the tests of a worker."""
    folder = tmp_path_factory.mktemp("browser")
    process, url = start_server(folder / "home", folder / "server.log")
    yield Server(url, folder / "home")
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium: ``$CHROMIUM``, the system's, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Opens addresses in fresh tabs; no page may log an error or ask anything but this machine.

    ``visit(url, width=1440, height=900, dark=False)`` returns the Playwright page.
    """
    contexts, problems = [], []

    def open_tab(url: str, width: int = 1440, height: int = 900, dark: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: _check_host(request.url, problems))
        tab.on("console", lambda message: _check_console(message, problems))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(url, wait_until="commit")
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert not problems, problems


def _check_console(message, problems: list[str]) -> None:
    # At a deep link the page looks for its server below the link first, and then where it is.
    if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
        problems.append(f"{message.text} {message.location}")


def _check_host(url: str, problems: list[str]) -> None:
    parts = urlparse(url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
        problems.append(f"request to {url}")
