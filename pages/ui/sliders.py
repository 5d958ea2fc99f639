"""Settings as sliders whose values live in the address: the link is the whole state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st

from deeplense_core.errors import UserError
from deeplense_core.spec import Knob
from pages.ui.forms import help_text, label
from pages.ui.messages import show_error
from pages.ui.state import set_query


def slider_form(knobs: Mapping[str, Knob], key: str, opened: Collection[str] = ()) -> dict[str, Any]:
    """A slider for every number with two bounds, a box or toggle for the rest, and all of it in the address.

    Args:
        knobs: From :func:`deeplense_core.spec.knobs`; their names are the names in the address.
        key: Prefix of the widgets' keys.
        opened: Groups that are open at first.

    Returns:
        Name -> checked value. The same address gives the same values, to the last bit.
    """
    _take_link(knobs, key)
    groups: dict[str, list[Knob]] = {}
    for knob in knobs.values():
        groups.setdefault(knob.group, []).append(knob)
    values = {}
    for heading, members in groups.items():
        with st.expander(heading, expanded=heading in opened) if heading else st.container():
            for knob in members:
                values[knob.name] = knob.parse(as_text(_widget(knob, f"{key}_{knob.name}")))
    written = link(values, knobs)
    set_query(**{name: written.get(name) for name in knobs})
    st.session_state[f"{key}__link"] = written
    return {name: values[name] for name in knobs}


def apply(key: str, knobs: Mapping[str, Knob], values: Mapping[str, Any]) -> None:
    """Moves every slider to ``values``, the others to their defaults. For callbacks."""
    for name, knob in knobs.items():
        st.session_state[f"{key}_{name}"] = values.get(name, knob.default)


def link(values: Mapping[str, Any], knobs: Mapping[str, Knob]) -> dict[str, str]:
    """What the address says: the values that are not at their default."""
    return {name: as_text(value) for name, value in values.items() if value != knobs[name].default}


def as_text(value: Any) -> str:
    """A value as the address has it; six digits, so that 0.1 + 0.2 is 0.3."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _take_link(knobs: Mapping[str, Knob], key: str) -> None:
    """Moves the sliders to what a link says, when it is not the one this page wrote itself."""
    given = {name: st.query_params[name] for name in knobs if name in st.query_params}
    try:
        asked = {name: knobs[name].parse(text) for name, text in given.items()}
    except UserError as err:
        show_error(err)
        asked = {}
    if asked and given != st.session_state.get(f"{key}__link"):
        apply(key, knobs, asked)
    for name, knob in knobs.items():
        st.session_state.setdefault(f"{key}_{name}", knob.default)


def _widget(knob: Knob, key: str) -> Any:
    common = {"label": label(knob), "key": key, "help": help_text(knob), "persist_state": "session"}
    if knob.choices is not None:
        return st.selectbox(options=knob.choices, **common)
    if knob.type is bool:
        return st.toggle(**common)
    if knob.ge is None or knob.le is None or knob.le - knob.ge > 10_000:
        low, high = (None if limit is None else knob.type(limit) for limit in (knob.ge, knob.le))
        return st.number_input(min_value=low, max_value=high, step=knob.type(1), **common)
    if knob.type is int:
        return st.slider(min_value=int(knob.ge), max_value=int(knob.le), step=1, **common)
    step = _step(knob.le - knob.ge)
    return st.slider(min_value=float(knob.ge), max_value=float(knob.le), step=step, format="%.4g", **common)


def _step(span: float) -> float:
    """The largest round step that leaves at least 100 positions."""
    return next(step for step in (10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 1e-4) if span / step >= 100)
