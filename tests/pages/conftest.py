"""Pages run in Streamlit's own test harness, on a workspace of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from deeplense_core.workspace import ROOT


@pytest.fixture(autouse=True)
def site_of_app_py(monkeypatch) -> None:
    """Every run goes through app.py, as on a server that has seen a visitor.

    The harness forgets at each run that ``st.navigation`` rules, finds the folder ``pages``, and would run a
    page in place of app.py, which costs the click that the run was for.
    """
    start = PagesManager.__init__

    def without_folder(self, *args, **kwargs):
        start(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", without_folder)


@pytest.fixture
def open_page(workspace) -> Callable[..., AppTest]:
    """``open_page("data", run="...")``: the app at that page and deep link, run once without an exception."""
    st.cache_data.clear()

    def open_at(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
        assert not app.exception, app.exception
        app.switch_page(f"pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        return app

    return open_at
