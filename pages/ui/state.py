"""What a page remembers: values that survive a change of page, and deep links.

Widgets keep their value over pages with ``key=...`` and ``persist_state="session"``; :func:`remember` gives
such a key its first value. Never give the widget a ``value`` as well.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

EVALUATION = {"find": "find", "superres": "superres"}
"""Task -> the page that shows how good its networks are, where that is not "evaluate"."""


def remember(key: str, default: Any) -> Any:
    """The value under ``key`` in this session, ``default`` at first."""
    return st.session_state.setdefault(key, default)


def query(name: str) -> str | None:
    """A value of the address: ``?run=...`` -> ``query("run")``; None where absent or empty."""
    return st.query_params.get(name) or None


def set_query(**values: str | None) -> None:
    """Writes values into the address, so that it can be copied; None takes one out."""
    for name, value in values.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def go(page: str, **values: str) -> None:
    """Opens another page ("runs", "evaluate" ...) at its deep link."""
    st.switch_page(f"pages/{page}.py", query_params=values)
