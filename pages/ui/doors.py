"""The doors of the first page: three things that can be done at once, offline, with nothing in the workspace."""

from __future__ import annotations

import streamlit as st

from deeplense_core.shelf.examples import example_runs, open_example
from deeplense_core.workspace import ROOT
from pages.ui.messages import guard
from pages.ui.state import go


def doors(finished: str | None) -> None:
    """Three doors; the last leads to the newest finished run, or to the one that ships.

    Args:
        finished: Id of the newest run that is done; None where there is none.
    """
    play, analyse, result = st.columns(3)
    with play:
        if _door("lens", "A simulated gravitational lens: a smooth ring of light", "Play with a lens",
                 "Move its mass, its source and its substructure, and watch the ring change.",
                 "Open the simulator", "simulate", first=True):  # fmt: skip
            go("simulate")
    with analyse:
        if _door("evidence", "The same lens with subhalos, warm where the network finds what speaks for them",
                 "Analyse a sample",
                 "Calibrated probabilities for an image, and the map of what speaks for them. Then drop your own.",
                 "Analyse images", "analyse"):  # fmt: skip
            st.session_state["analyse_view"] = "Evidence"
            go("analyse")
    with result:
        text = ("ROC, confusion and calibration of the newest finished run, each with its interval." if finished else
                "A classifier that ships: how it learnt, and ROC, confusion and calibration, each with its interval.")
        if _door("roc", "ROC curves of the three classes of the run that ships", "See a trained run", text,
                 "Open the evaluation", "evaluate"):  # fmt: skip
            open_run_page(finished)


def open_run_page(finished: str | None) -> None:
    """The evaluation of a run; of the one that ships where there is none."""
    with guard():
        run = finished or open_example(example_runs()[0]).id
    go("evaluate", run=run)


def _door(picture: str, alt: str, title: str, text: str, button: str, name: str, first: bool = False) -> bool:
    """A card with a picture, what can be done behind it, and the button that goes there."""
    with st.container(border=True, height="stretch"):
        st.image(ROOT / "assets" / "samples" / f"{picture}.png", alt=alt, width="stretch", output_format="PNG")
        st.subheader(title, anchor=False)
        st.write(text)
        return st.button(button, key=f"door_{name}", type="primary" if first else "secondary")
