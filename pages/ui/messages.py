"""What pages say in words: errors, and pages that have nothing to show yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from deeplense_core.errors import UserError


def plain(text: object) -> str:
    """Any text so that Streamlit's Markdown shows it letter by letter: no links, images, HTML or formulas."""
    escaped = re.sub(r"([\\`*_\[\]<>$~|])", r"\\\1", str(text))
    return re.sub(r":(?=[\w+/-]+:)", r"\:", escaped)


def show_error(err: UserError) -> None:
    """The error as what, why and what next: its first sentence in bold, the rest below. No traceback."""
    what, _, rest = str(err).partition(". ")
    lines = [f"**{plain(what.rstrip('.'))}.**"]
    if rest:
        lines.append(plain(rest))
    st.error("  \n".join(lines), icon=":material/error:")


@contextmanager
def guard() -> Iterator[None]:
    """Shows a :class:`UserError` raised inside and ends the page (in a fragment: the fragment) there."""
    try:
        yield
    except UserError as err:
        show_error(err)
        st.stop()


def empty_state(text: str, button: str, page: str, **query: str) -> None:
    """One sentence and one button that leads to where something can be done about it.

    Args:
        text: Why there is nothing to see yet.
        button: Label of the button.
        page: Name of the page it opens: "data", "train" ...
        **query: Its deep link: ``run="..."``.
    """
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(text, width="content")
        if st.button(button, type="primary", key=f"empty_{page}_{button}"):
            st.switch_page(f"pages/{page}.py", query_params=query)
