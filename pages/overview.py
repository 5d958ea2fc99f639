"""The first page: three doors that open offline with no data, then what is in the workspace."""

import streamlit as st

from deeplense_core.errors import UserError
from pages.ui.doors import doors
from pages.ui.glossary import glossary
from pages.ui.messages import plain, show_error
from pages.ui.theme import page
from pages.ui.tour import invitation

RECENT = 5


def nothing(text: str, link: str, target: str) -> None:
    """A quiet empty state: the doors above carry the buttons."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(text, width="content")
        st.page_link(f"pages/{target}.py", label=link, icon=":material/arrow_forward:")


def recent_runs(rows: list) -> None:
    """The newest runs, each a link to its page."""
    st.subheader("Recent runs", anchor=False)
    if not rows:
        nothing("No run yet.", "Train a model", "train")
    for row in rows[:RECENT]:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.page_link("pages/runs.py", label=plain(row.name or row.id), query_params={"run": row.id})
            best = f", {row.best_name.replace('_', ' ')} {row.best:.3f}" if row.best is not None else ""
            state = f"{row.state} {row.progress:.0%}" if row.state == "running" else row.state
            st.caption(plain(f"{row.model}, {state}{best}"), width="content")


def recent_data() -> None:
    """The newest data sets, each a link to its pictures."""
    from deeplense_core.data import list_datasets

    st.subheader("Data sets", anchor=False)
    datasets = list_datasets()
    if not datasets:
        nothing("No data set yet.", "Make one", "data")
    for dataset in datasets[:RECENT]:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.page_link("pages/data.py", label=plain(dataset.name), query_params={"data": dataset.path.name})
            c, h, w = dataset.shape
            st.caption(f"{len(dataset):,} images, {len(dataset.classes)} classes, {c} × {h} × {w}", width="content")


@st.cache_data(show_spinner=False)
def machine_line() -> str:
    """Processor, cores, memory and GPUs of this machine in one line."""
    from deeplense_core.machine import describe

    facts = describe()
    gpus = ", ".join(facts["gpus"]) or "no GPU: everything runs on the processor"
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']:.0f} GB memory, {gpus}"


def main() -> None:
    """Draws the doors first, then what takes longer to find out."""
    from deeplense_core.runs import list_runs

    page("DeepLense", "Strong gravitational lenses: simulate them, train a network on them, judge the result.")
    try:
        rows = list_runs()
    except UserError as err:
        show_error(err)
        rows = []
    invitation()
    doors(next((row.id for row in rows if row.state == "done"), None))
    left, right = st.columns(2, gap="large")
    with left:
        recent_runs(rows)
    with right:
        recent_data()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(plain(machine_line()), width="content")
        glossary()


main()
