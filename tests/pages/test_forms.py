"""Forms made from knobs: each type's widget, presets, bounds, and every registered config."""

from dataclasses import dataclass, replace

import pytest
from streamlit.testing.v1 import AppTest

from deeplense_core.spec import knob, knobs
from pages.ui.forms import help_text, label, preset_values, step
from pages.ui.glossary import TERMS
from pages.ui.messages import plain


@dataclass(frozen=True)
class Config:
    """One knob of each kind."""

    lr: float = knob(1e-3, "Rate", ge=0, le=1)
    free: float = knob(0.5, "No bounds")
    epochs: int = knob(10, "Passes", ge=1, le=100, quick=2, group="length")
    ema: bool = knob(True, "Average the weights")
    mode: str = knob("a", "Choice", choices=("a", "b"))
    text: str = knob("hi", "Text")
    width_arcsec: float = knob(0.05, "Width", ge=0.01, le=1, unit="arcsec")


def form_script():
    import streamlit as st

    from deeplense_core.spec import knobs
    from pages.ui.forms import knob_form, preset_values
    from tests.pages.test_forms import Config

    preset = st.radio("Preset", ["quick", "full"], key="preset")
    groups = st.session_state.get("groups")
    found = knobs(Config)
    st.session_state["out"] = knob_form(found, "form", preset_values(found, preset), only_groups=groups)


@pytest.fixture
def form() -> AppTest:
    app = AppTest.from_function(form_script).run()
    assert not app.exception
    return app


DEFAULTS = {"lr": 1e-3, "free": 0.5, "epochs": 10, "ema": True, "mode": "a", "text": "hi", "width_arcsec": 0.05}


def test_starts_from_the_preset(form):
    assert form.session_state["out"] == DEFAULTS | {"epochs": 2}
    assert not form.warning


def test_types_survive(form):
    kinds = {name: type(value) for name, value in form.session_state["out"].items()}
    assert kinds == {name: type(value) for name, value in DEFAULTS.items()}


def test_another_preset_changes_only_what_differs_between_them(form):
    form.number_input(key="form_lr").set_value(0.01).run()
    form.number_input(key="form_epochs").set_value(7).run()
    form.radio(key="preset").set_value("full").run()
    assert form.session_state["out"] == DEFAULTS | {"lr": 0.01}
    form.toggle(key="form_ema").set_value(False).run()
    form.selectbox(key="form_mode").set_value("b").run()
    form.text_input(key="form_text").set_value("x").run()
    assert form.session_state["out"] == DEFAULTS | {"lr": 0.01, "ema": False, "mode": "b", "text": "x"}


def test_bounds_reach_the_widget(form):
    widget = form.number_input(key="form_epochs")
    assert (widget.min, widget.max, widget.step) == (1, 100, 1)
    assert form.number_input(key="form_lr").max == 1.0


def test_only_the_groups_asked_for():
    app = AppTest.from_function(form_script)
    app.session_state["groups"] = ["length"]
    app.run()
    assert app.session_state["out"] == {"epochs": 2}


@pytest.mark.parametrize(
    ("name", "expected"), [("lr", 1e-4), ("free", 0.01), ("width_arcsec", 1e-3)]
)
def test_steps_fit_the_size_of_the_value(name, expected):
    assert step(knobs(Config)[name]) == pytest.approx(expected)


def test_labels_are_words_with_units():
    assert label(knobs(Config)["width_arcsec"]) == "Width (arcsec)"
    assert label(knobs(Config)["lr"]) == "Learning rate"
    assert label(replace(knobs(Config)["lr"], name="source_q_min")) == "Source axis ratio min"
    assert label(replace(knobs(Config)["lr"], name="queue")) == "Queue"


def registered():
    from deeplense_core.models import MODELS
    from deeplense_core.sim import RECIPES
    from deeplense_core.tasks import TASKS
    from deeplense_core.train import TrainConfig

    found = {f"{r.kind} {name}": e.config for r in (MODELS, RECIPES, TASKS) for name, e in r.items() if e.config}
    return found | {"train": TrainConfig}


def any_form_script():
    import streamlit as st

    from deeplense_core.spec import knobs
    from pages.ui.forms import knob_form

    for name, config in st.session_state["configs"].items():
        st.session_state[f"out {name}"] = knob_form(knobs(config), name)


def test_every_registered_config_makes_a_form_with_its_defaults():
    app = AppTest.from_function(any_form_script, default_timeout=60)
    app.session_state["configs"] = configs = registered()
    app.run()
    assert not app.exception
    assert not app.error
    for name, config in configs.items():
        assert app.session_state[f"out {name}"] == preset_values(knobs(config), "full")


@dataclass(frozen=True)
class Lens:
    theta_E_max: float = knob(1.65, "Largest one", ge=0.1, le=3)  # noqa: N815
    psf: float = knob(0.1, "Width (sigma) of the point-spread function", ge=0, le=1)
    seed: int = knob(0, "Chooses the noise", ge=0, le=9)


def test_help_says_what_a_term_means():
    """By the name in words or by the help itself; a setting without such a term keeps its own words."""
    shown = {name: help_text(k) for name, k in knobs(Lens).items()}
    assert shown == {"theta_E_max": plain(f"Largest one. {TERMS['Einstein radius']}"), "seed": "Chooses the noise",
                     "psf": plain(f"Width (sigma) of the point-spread function. {TERMS['PSF']}")}  # fmt: skip


@pytest.mark.parametrize(
    "hostile",
    ["<img src=x onerror=alert(1)>", "[click](http://evil)", "![](http://evil/x.png)", "$x^2$", "a_b_c *d*",
     ":material/home:", ":red[x]", "`code`", "back\\slash"],
)  # fmt: skip
def test_plain_text_is_shown_letter_by_letter(hostile):
    import re

    from markdown_it import MarkdownIt

    shown = MarkdownIt("commonmark").renderInline(plain(hostile))
    assert not re.search(r"<(img|a|em|code)", shown)
    assert not re.search(r"(?<!\\)[$\[]", plain(hostile))
    assert not re.search(r"(?<!\\):[\w+/-]+:", plain(hostile))


def test_pixels_along_a_side_are_no_sersic_index():
    from deeplense_core.sim import RECIPES

    known = knobs(RECIPES["lens-finding-hard"].config)
    assert label(known["n_pix"]) == "Pixels along a side"
    assert label(knobs(RECIPES["common-test"].config)["source_n"]) == "Source Sersic index"
