"""Settings into widgets: every form is made from the knobs of a registered config."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from deeplense_core.spec import Knob
from pages.ui.glossary import TERMS
from pages.ui.messages import guard, plain

PRESETS = ("quick", "full")
SYMBOLS = {
    "n_pix": "pixels along a side", "theta_E": "Einstein radius", "R_e": "half-light radius", "q": "axis ratio",
    "n": "Sersic index", "psf": "PSF", "lr": "learning rate", "ema": "EMA",
}  # fmt: skip
"""Names of settings, or parts of them, that say more in words."""
EXPLAINED = {"einstein radius": "Einstein radius", "shear": "External shear", "point-spread function": "PSF",
             "substructure": "Substructure"}  # fmt: skip
"""What a setting may be about -> the term of the glossary."""


def preset_values(knobs: Mapping[str, Knob], preset: str) -> dict[str, Any]:
    """Values of "quick" (each knob's quick value, where it has one) or "full" (the defaults)."""
    quick = preset == "quick"
    return {k.name: k.quick if quick and k.quick is not None else k.default for k in knobs.values()}


def knob_form(
    knobs: Mapping[str, Knob],
    key: str,
    values: Mapping[str, Any] | None = None,
    only_groups: Iterable[str] | None = None,
    columns: int = 2,
) -> dict[str, Any]:
    """One widget a knob, under the headings of their groups; values survive a change of page.

    Args:
        knobs: From :func:`deeplense_core.spec.knobs`.
        key: Prefix of the widgets' keys: the widget of ``epochs`` is ``{key}_epochs``.
        values: What the form starts from, instead of the defaults. When a page passes other values than
            the time before (another preset, a deep link), the widgets that differ take them.
        only_groups: Show these groups alone, ``""`` being the one without a heading.
        columns: Widgets side by side.

    Returns:
        Name -> checked value of every knob shown.
    """
    groups: dict[str, list[Knob]] = {}
    for knob in knobs.values():
        groups.setdefault(knob.group, []).append(knob)
    if only_groups is not None:
        groups = {name: groups[name] for name in only_groups if name in groups}
    shown = {knob.name: knob for members in groups.values() for knob in members}
    _take_values(shown, key, values or {})
    result: dict[str, Any] = {}
    for heading in sorted(groups, key=bool):
        box = st.expander(heading.capitalize()) if heading else st.container()
        with box:
            result |= _grid(groups[heading], key, columns)
    with guard():
        return {name: knob.parse(result[name]) for name, knob in shown.items()}


def settings_popover(
    knobs: Mapping[str, Knob], key: str, values: Mapping[str, Any] | None = None, ungrouped: str = "general"
) -> dict[str, Any]:
    """A button that opens every setting, in tabs by group; as :func:`knob_form`.

    Args:
        knobs, key, values: Of :func:`knob_form`.
        ungrouped: Tab of the settings without a group.
    """
    groups: dict[str, dict[str, Knob]] = {}
    for name, knob in knobs.items():
        groups.setdefault(knob.group or ungrouped, {})[name] = replace(knob, group="")
    result: dict[str, Any] = {}
    with st.popover("All settings", icon=":material/tune:", width="stretch"):
        for tab, members in zip(st.tabs([g.capitalize() for g in groups]), groups.values(), strict=True):
            with tab:
                result |= knob_form(members, key, values)
    return result


def command_expander(command: str) -> None:
    """What a form is about to do, as a command to copy."""
    with st.expander("The same from the command line", icon=":material/terminal:"):
        st.code(command, language="bash", wrap_lines=True)


def _take_values(knobs: Mapping[str, Knob], key: str, values: Mapping[str, Any]) -> None:
    """Puts ``values`` into the widgets' state where they are new; what was typed stays otherwise."""
    memory = f"{key}__start"
    before = st.session_state.get(memory, {})
    start = {name: values.get(name, knob.default) for name, knob in knobs.items()}
    for name, value in start.items():
        widget = f"{key}_{name}"
        if widget not in st.session_state or before.get(name, value) != value:
            st.session_state[widget] = value
    st.session_state[memory] = {**before, **start}


def _grid(knobs: list[Knob], key: str, columns: int) -> dict[str, Any]:
    result = {}
    for first in range(0, len(knobs), columns):
        cells = st.columns(columns, vertical_alignment="bottom")
        for cell, knob in zip(cells, knobs[first : first + columns], strict=False):
            with cell:
                result[knob.name] = _widget(knob, f"{key}_{knob.name}")
    return result


def label(knob: Knob) -> str:
    """A knob's name in words, with its unit: ``source_R_e`` -> "Source half-light radius (arcsec)"."""
    words = knob.name.removesuffix(f"_{knob.unit}") if knob.unit else knob.name
    for symbol, meaning in SYMBOLS.items():
        words = re.sub(rf"(?:^|(?<=_)){symbol}(?=_|$)", meaning, words)
    words = words.replace("_", " ")
    return plain(words[:1].upper() + words[1:] + (f" ({knob.unit})" if knob.unit else ""))


def help_text(knob: Knob) -> str:
    """A knob's help, and what the first term in it means that a visitor may not know."""
    about = f"{label(knob)} {knob.help}".lower()
    meant = next((TERMS[term] for words, term in EXPLAINED.items() if words in about), "")
    return plain(f"{knob.help}. {meant}" if meant else knob.help)


def _widget(knob: Knob, key: str) -> Any:
    common = {"label": label(knob), "key": key, "help": help_text(knob), "persist_state": "session"}
    if knob.choices is not None:
        return st.selectbox(options=knob.choices, format_func=str, **common)
    if knob.type is bool:
        return st.toggle(**common)
    if knob.type is int:
        limits = {"min_value": _bound(knob.ge, int), "max_value": _bound(knob.le, int)}
        return st.number_input(step=1, **limits, **common)
    if knob.type is float:
        limits = {"min_value": _bound(knob.ge, float), "max_value": _bound(knob.le, float)}
        return st.number_input(step=step(knob), format="%.6g", **limits, **common)
    return st.text_input(**common)


def _bound(limit: float | None, kind: type) -> Any:
    return None if limit is None else kind(limit)


def step(knob: Knob) -> float:
    """A step of a tenth of the default's leading digit: 0.001 -> 0.0001, 0.05 -> 0.001, 12 -> 1."""
    size = abs(knob.default) or (abs(knob.le) / 10 if knob.le else 0.1)
    return 10.0 ** (math.floor(math.log10(size)) - 1)
