"""The two surveys that all tests here share."""

from __future__ import annotations

import pytest
from two_surveys import write

from deeplense_core.data import Dataset


@pytest.fixture(scope="session")
def easy(tmp_path_factory) -> Dataset:
    return write(tmp_path_factory.mktemp("easy") / "easy")


@pytest.fixture(scope="session")
def hard(tmp_path_factory) -> Dataset:
    """Noisier, and with a label on some images only."""
    return write(tmp_path_factory.mktemp("hard") / "hard", 240, seed=5, labelled=0.5, noise=0.3)
