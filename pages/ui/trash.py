"""What was deleted: undone by one click, brought back later, or removed for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from deeplense_core.storage import readable_size
from deeplense_core.trash import Deleted, contents, empty, restore
from pages.ui.messages import guard, plain

LAST = "deleted_last"


def throw_away(names: Sequence[str], delete: Callable[[str], Deleted]) -> None:
    """Deletes all of them, and remembers them for one click on *Undo*; a UserError leaves the rest."""
    st.session_state[LAST] = []
    for name in names:
        st.session_state[LAST].append(delete(name))


def trash_bar(kind: str) -> None:
    """What was deleted last, with *Undo*, and the trash; nothing where the trash has nothing of this kind."""
    there = [one for one in contents() if one.kind == kind]
    last = [one for one in st.session_state.get(LAST, []) if one in there]
    if not there:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="trash_bar"):
        if last:
            what = plain(last[0].name) if len(last) == 1 else f"{len(last)} {kind}s"
            st.markdown(f"Deleted {what}.", width="content")
            if st.button("Undo", icon=":material/undo:", key="trash_undo"):
                _bring_back(last)
        with st.popover(f"Trash ({len(there)})", icon=":material/delete:", key="trash_open"):
            _trash(there, kind)


def _trash(there: Sequence[Deleted], kind: str) -> None:
    names = {one.name: one for one in there}
    chosen = st.multiselect(f"Deleted {kind}s", list(names), key="trash_chosen", placeholder="Bring back ...")
    if st.button("Bring back", icon=":material/undo:", key="trash_restore", disabled=not chosen, width="stretch"):
        _bring_back([names[name] for name in chosen])
    size = sum(_size(one, one.path.stat().st_ctime) for one in there)
    label = f"Delete all for good, {readable_size(size)}"
    if st.button(label, icon=":material/delete_forever:", key="trash_empty", width="stretch"):
        empty(there)
        st.rerun()


def _bring_back(those: Sequence[Deleted]) -> None:
    with guard():
        for one in those:
            restore(one.name)
    st.session_state[LAST] = []
    st.rerun()


@st.cache_data(show_spinner=False, max_entries=1000)
def _size(one: Deleted, since: float) -> int:
    """Bytes of what was deleted at a time; nothing changes in the trash."""
    return one.size_bytes()
