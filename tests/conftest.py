"""What all tests share: a workspace of their own, and the real images where they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two cores, several test processes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def workspace(tmp_path_factory, monkeypatch) -> Path:
    """A fresh workspace for each test: nothing of the user's is read or written."""
    home = tmp_path_factory.mktemp("workspace")
    monkeypatch.setenv("DEEPLENSE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def main_module(monkeypatch) -> None:
    """Streamlit puts the page it tests in place of ``__main__``; processes that a later test starts would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder of published and survey images beside the project; tests that need it skip without."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.exists():
        pytest.skip("no ../shared/data beside the project: the real images are not part of it")
    return folder
