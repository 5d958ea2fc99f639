"""Find lenses: how good finders are where the truth is known, and what they make of any number of cutouts."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui import finding_bulk as bulk
from pages.ui import finding_views as views
from pages.ui.adaptation import adaptations
from pages.ui.finding import Scored, scored_on, title_of
from pages.ui.messages import guard, plain
from pages.ui.picker import SIM, network_options
from pages.ui.scorings import another_data_set, offer_own_test, under_way
from pages.ui.state import go, query, remember, set_query
from pages.ui.theme import page

KEY = "find"
MOST = 4
VIEWS = ("Where the truth is known", "Score many images")
FIRST_DATA = f"{SIM}lens-finding-hard"


def no_finder() -> None:
    """What to do when there is none: two clicks lead to one."""
    with st.container(border=True):
        st.markdown("No lens finder yet. Train one on simulated survey cutouts: lenses, and what looks like them.")
        with st.container(horizontal=True):
            if st.button("Train a finder", type="primary", key="find_train"):
                st.session_state["train_task"] = "find"
                st.session_state["train_data"] = FIRST_DATA
                go("train")
            if st.button("Make a set of cutouts", key="find_make"):
                go("data")


def choose_finders(options: dict[str, str]) -> list[str]:
    """Up to four, the first one leads; follows, and writes, ``?run=`` in the address."""
    wanted = query("run")
    remember("find_runs", [wanted] if wanted in options else list(options)[:1])
    if wanted in options and st.session_state.get("find_seen") != wanted:
        st.session_state["find_runs"] = [wanted, *(n for n in st.session_state["find_runs"] if n != wanted)][:MOST]
    st.session_state["find_runs"] = [name for name in st.session_state["find_runs"] if name in options]
    chosen = st.multiselect("Finders; the first one leads", options, format_func=options.get, key="find_runs",
                            max_selections=MOST, persist_state="session", placeholder="choose one")  # fmt: skip
    first = chosen[0] if chosen else None
    st.session_state["find_seen"] = first
    set_query(run=first)
    return chosen


def choose_evaluation(names: Sequence[str], labels: dict[str, str]) -> list[Scored]:
    """The evaluations of all finders on one body of data; of those that have one."""
    found = {name: scored_on(name, labels[name]) for name in names}
    keys = {key: title_of(one) for of_run in found.values() for key, one in of_run.items()}
    if not keys:
        return []
    shared = sorted(keys, key=lambda key: -sum(key in of_run for of_run in found.values()))
    key = st.selectbox("Evaluated on", shared, format_func=keys.get, key=f"find_on_{hash(tuple(names))}")
    return [of_run[key] for of_run in found.values() if key in of_run]


def short_labels(names: Sequence[str], options: dict[str, str]) -> dict[str, str]:
    """The finders' names without their scores, and with the end of the id where two are alike."""
    first = {name: options[name].split(" · ")[0] for name in names}
    alike = list(first.values())
    return {name: text if alike.count(text) == 1 else f"{text} {name.rsplit('-', 1)[-1]}"
            for name, text in first.items()}  # fmt: skip


def quality() -> None:
    """Finders where the truth is known."""
    options = network_options({"find"})
    if not options:
        no_finder()
        return
    run_cell, evaluation_cell, more_cell = st.columns([5, 5, 3], vertical_alignment="bottom", gap="medium")
    with run_cell:
        names = choose_finders(options)
    if not names:
        return
    labels = short_labels(names, options)
    with evaluation_cell, guard():
        finders = choose_evaluation(names, labels)
    with more_cell:
        another_data_set(names, KEY)
    for name in names:
        under_way(name, f"{KEY}_{name}", labels[name])
    if not finders:
        offer_own_test(names[0], KEY, labels[names[0]])
        adaptations(names[0], labels[names[0]], None, None)
        return
    for name in names:
        if name not in [one.run for one in finders]:
            st.caption(f"{plain(labels[name])} has not been evaluated on this data: *Other data* does it.")
    cautions(finders)
    with guard():
        views.threshold_view(finders)
        views.differences(finders)
        for one in finders:
            adaptations(one.run, one.label, one.report, one.folder)


def cautions(finders: Sequence[Scored]) -> None:
    """What takes the worth from all numbers below."""
    for one in finders:
        if one.leaky:
            st.error(f"**Leaky.** {plain(one.label)} was given the simulator's truth among its features. None of its "
                     "numbers means anything for the sky.", icon=":material/water_drop:")  # fmt: skip
        if one.report.get("seen_in_training"):
            st.warning(f"{plain(one.label)} saw these images, or some of them, in training: its numbers flatter.",
                       icon=":material/warning:")  # fmt: skip


def scoring() -> None:
    """Any number of images without labels."""
    options = network_options({"find", "classify"})
    finders = network_options({"find"})
    options = dict(sorted(options.items(), key=lambda option: option[0] not in finders))
    bulk.score_form(options)
    bulk.scored_view()


page("Find lenses", "How many lenses a threshold finds, and how many objects have to be looked at for each.")
tabs = st.tabs(VIEWS, key="find_view", on_change="rerun")
for tab, show in zip(tabs, (quality, scoring), strict=True):
    if tab.open:
        with tab, guard():
            show()
