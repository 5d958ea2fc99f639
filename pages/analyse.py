"""Analyse: ask a trained network about images of one's own, and see how far its answer can be trusted."""

from __future__ import annotations

import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.shelf.cards import find_card, pixel_scales
from pages.ui.analyse_input import (
    choose_images,
    choose_network,
    choose_reading,
    classifiers,
    known_reading,
    scale_input,
)
from pages.ui.answer_table import actions, answer_table, filters, finding, selected
from pages.ui.answer_view import Asked, asked, headline, one_image
from pages.ui.answers import Answered, ask_all
from pages.ui.embedding_query import similar_lenses
from pages.ui.messages import empty_state, guard, plain, show_error
from pages.ui.theme import page

MOST_ERRORS = 3  # messages that are shown at once; more of them wait behind a click


def failures(reasons: list[str]) -> None:
    """Why files could not be used, one message each."""
    for reason in reasons[:MOST_ERRORS]:
        show_error(UserError(reason))
    if rest := reasons[MOST_ERRORS:]:
        with st.expander(f"{len(rest)} more files could not be used"):
            for reason in rest:
                show_error(UserError(reason))


def results(answers: list[Answered], ask: Asked, reading_place) -> None:
    """The image on screen with its answer and, of several, the table below."""
    classes = ask.network.classes
    shown = answers
    if len(answers) > 1:
        st.subheader(plain(finding(answers, classes)), anchor=False)
        shown = filters(answers, classes)
        if not shown:
            st.info("No image fits this filter.", icon=":material/filter_list:")
            st.stop()
    one = shown[selected(shown)]
    with reading_place:
        choose_reading([each.upload for each in answers], one, ask.network.shape[0])
    st.subheader(plain(headline(one, classes)), anchor=False)
    one_image(one, ask)
    actions(one, shown, ask)
    similar_lenses(one, ask)
    if len(answers) > 1:
        answer_table(shown, classes)


def main() -> None:
    """What goes in, in the side bar; what comes out, on the page."""
    page("Analyse")
    options = classifiers()
    if not options:
        empty_state("No trained network yet. Train a first one: two epochs take a minute or two.", "Train", "train")
        st.stop()
    with st.sidebar, guard():
        model = choose_network(options)
        card = find_card(model).card
        uploads, refused = choose_images(card)
        reading_place = st.container()
        scale = scale_input(pixel_scales(card))
    if not uploads:
        failures([reason for _, reason in refused])
        st.info("Drop images into the side bar, or pick a sample to see an answer at once.",
                icon=":material/upload_file:")  # fmt: skip
        st.stop()
    with guard():
        ask = asked(model, known_reading(uploads, scale))
        answers = ask_all(uploads, model, ask.reading)
    failures([reason for _, reason in refused] + [one.refusal for one in answers if one.refusal])
    good = [one for one in answers if not one.refusal]
    if good:
        results(good, ask, reading_place)
    else:
        with reading_place:
            choose_reading(uploads, answers[0], ask.network.shape[0])


main()
