"""A tour of five steps: a bar above every page while it lasts. Who has seen it, or said no, is not asked again.

That is remembered in the workspace; the step is the visitor's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import streamlit as st

from deeplense_core.shelf.examples import example_runs, open_example
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import home
from pages.ui.messages import guard
from pages.ui.state import go


@dataclass(frozen=True)
class Step:
    """One page of the tour, and what to try there."""

    page: str
    title: str
    text: str


STEPS = (
    Step("simulate", "A lens of your own", "Move the Einstein radius and watch the ring grow. Then add a vortex, under "
         "Substructure: can you see what it does?"),
    Step("analyse", "What a network says of it", "The dented ring, its class, and the map of what speaks for it. Add a "
         "sample of another telescope: the network says that it has never seen such an image."),
    Step("superres", "Finer than the camera", "A coarse image, what a network makes of it, and what a finer camera "
         "saw. Zoom in: all panels follow."),
    Step("evaluate", "Judge a trained run", "Click a cell of the confusion matrix and see the images behind it."),
    Step("embeddings", "What looks alike", "Every point is an image, placed by what a network sees in it. Draw a loop "
         "around some, and see them."),
)  # fmt: skip
STEP = "tour_step"


def invitation() -> None:
    """Offers the tour, until somebody in this workspace has taken it or said no."""
    if STEP in st.session_state or _file().exists():
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key="tour_offer"):
        st.markdown("**New here?** Five steps, about two minutes.", width="content")
        if st.button("Take the tour", icon=":material/tour:", key="tour_start"):
            _to(0)
        if st.button("No, thanks", type="tertiary", key="tour_no"):
            _remember()
            st.rerun()


def bar(where: str) -> None:
    """The step that the visitor is at, above the page; nothing when no tour is on.

    Args:
        where: Name of the page on screen: a visitor may have left the path, and is shown the way back.
    """
    place = st.session_state.get(STEP)
    if place is None:
        return
    step = STEPS[place]
    with st.container(border=True, key="tour_bar"):
        st.markdown(f"**{place + 1} of {len(STEPS)} · {step.title}.** {step.text}")
        with st.container(horizontal=True, gap="small"):
            if where != step.page and st.button("Show me", icon=":material/undo:", key="tour_here"):
                _to(place)
            if place and st.button("Back", icon=":material/arrow_back:", key="tour_back"):
                _to(place - 1)
            if place + 1 < len(STEPS) and st.button(f"Next: {STEPS[place + 1].title}", key="tour_next",
                                                    icon=":material/arrow_forward:"):  # fmt: skip
                _to(place + 1)
            if st.button("End the tour", type="tertiary", key="tour_end"):
                _remember()
                del st.session_state[STEP]
                st.rerun()


def _to(place: int) -> None:
    st.session_state[STEP] = place
    page = STEPS[place].page
    if page == "analyse":
        st.session_state["analyse_view"] = "Evidence"
    if page == "evaluate" and example_runs():
        with guard():
            run = open_example(example_runs()[0])
        go("evaluate", run=run.id)
    go(page)


def _remember() -> None:
    with guard():
        atomic_write(_file(), json.dumps({"seen": True}).encode(), durable=False)


def _file():
    return home() / "tour.json"
