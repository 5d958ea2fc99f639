"""The simulate page: the link is the lens, to the last byte; and the lens is right."""

import io
import math

import numpy as np
import pytest
import streamlit as st

from deeplense_core.images import read_image
from deeplense_core.plots.sky import Curve, sky_svg
from deeplense_core.sim import lens
from deeplense_core.sim.lens import LensConfig, render_lens
from pages.ui.lens import PRESETS, fits_bytes, frozen
from tests.pages.packed import panels_of

LINK = {"theta_E": "1.1", "q": "0.65", "substructure": "subhalos", "mass_fraction": "0.04", "seed": "7"}
SETTINGS = {"theta_E": 1.1, "q": 0.65, "substructure": "subhalos", "mass_fraction": 0.04, "seed": 7}


@pytest.fixture
def rendered(monkeypatch) -> list:
    """Every lens that a page renders, in order."""
    views = []

    def record(config):
        views.append(render_lens(config))
        return views[-1]

    monkeypatch.setattr(lens, "render_lens", record)
    return views


def test_the_same_link_gives_the_same_bytes(open_page, rendered):
    shown = [panels_of(open_page("simulate", **LINK))]
    st.cache_data.clear()
    shown.append(panels_of(open_page("simulate", **LINK)))
    first, second = rendered
    assert first.image.tobytes() == second.image.tobytes() == render_lens(LensConfig(**SETTINGS)).image.tobytes()
    for expected, *drawn in zip((first.image, first.kappa, first.source), *shown, strict=True):
        for panel in drawn:
            np.testing.assert_array_equal(panel["values"][0], expected)


def test_a_moved_slider_is_in_the_link_which_gives_the_same_lens(open_page, rendered):
    app = open_page("simulate")
    app.slider(key="lens_theta_E").set_value(1.7).run()
    app.slider(key="lens_source_x").set_value(-0.35000000000000003).run()
    link = dict(app.query_params)
    assert link == {"theta_E": "1.7", "source_x": "-0.35"}
    moved = rendered[-1]
    st.cache_data.clear()
    open_page("simulate", **link)
    assert rendered[-1] is not moved
    assert rendered[-1].image.tobytes() == moved.image.tobytes()


def test_a_slider_moved_back_leaves_the_link(open_page):
    app = open_page("simulate", theta_E="1.7")
    app.slider(key="lens_theta_E").set_value(1.3).run()
    assert not app.query_params


def test_a_wrong_link_is_said_in_one_message(open_page):
    app = open_page("simulate", theta_E="99")
    assert [error.value for error in app.error] == ["**theta\\_E = '99' must be at most 2.5 arcsec.**"]
    assert app.slider(key="lens_theta_E").value == 1.3


def test_values_survive_a_change_of_page(open_page):
    app = open_page("simulate")
    app.slider(key="lens_q").set_value(0.5).run()
    app.switch_page("pages/overview.py").run()
    app.query_params.clear()
    app.switch_page("pages/simulate.py").run()
    assert app.slider(key="lens_q").value == 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_lenses(preset):
    view = render_lens(LensConfig(**PRESETS[preset]))
    assert np.isfinite(view.image).all()
    assert view.critical


def test_a_preset_moves_the_sliders(open_page, rendered):
    app = open_page("simulate", theta_E="2")
    app.selectbox(key="lens_preset").set_value("Four images").run()
    assert not app.exception
    assert app.slider(key="lens_q").value == PRESETS["Four images"]["q"]
    assert app.slider(key="lens_theta_E").value == 1.3
    expected = render_lens(LensConfig(**PRESETS["Four images"])).image
    assert rendered[-1].image.tobytes() == expected.tobytes()


def test_classify_hands_the_lens_over(open_page, rendered):
    app = open_page("simulate")
    app.button(key="lens_classify").click().run()
    assert not app.exception
    name, data = app.session_state["handed_over"]
    assert name.endswith(".fits")
    assert data.startswith(b"SIMPLE")


def test_make_a_data_set_leads_to_its_form(open_page):
    app = open_page("simulate")
    app.button(key="lens_data").click().run()
    assert not app.exception
    assert app.radio(key="make_recipe").value == "common-test"


def test_saved_file_keeps_pixels_scale_and_unit(tmp_path):
    settings = frozen(LensConfig(**SETTINGS).__dict__)
    path = tmp_path / "lens.fits"
    path.write_bytes(fits_bytes(settings))
    read = read_image(path)
    assert read.pixel_scale_arcsec == pytest.approx(0.05)
    np.testing.assert_array_equal(read.pixels[0], render_lens(LensConfig(**SETTINGS)).image)
    from astropy.io import fits

    header = fits.getheader(io.BytesIO(path.read_bytes()))
    assert header["BUNIT"] == "count"
    assert header["LENS theta_E"] == 1.1


def test_a_round_lens_has_its_einstein_radius():
    view = render_lens(LensConfig(theta_E=1.2, q=1.0, shear=0.0, source_x=0.0, source_y=0.0, noise=False, sky=0.1))
    assert len(view.critical) == 1
    np.testing.assert_allclose(np.hypot(*view.critical[0].T), 1.2, rtol=2e-3)
    assert np.hypot(*view.caustics[0].T).max() < 5e-3
    x = (np.arange(150) - 74.5) * 0.05
    r = np.hypot(x, x[:, None])
    assert r.flat[view.image.argmax()] == pytest.approx(1.2, abs=0.06)
    assert view.kappa[r < 1.2].mean() == pytest.approx(1.0, rel=0.02)


def test_substructure_has_its_part_of_the_mass():
    def mass(**settings):
        return render_lens(LensConfig(theta_E=1.0, noise=False, **settings)).kappa.sum() * 0.05**2

    halo = mass()
    for kind in ("subhalos", "vortex"):
        share = (mass(substructure=kind, mass_fraction=0.1) - halo) / math.pi
        assert share == pytest.approx(0.1, rel=1e-3), kind


def test_picture_is_right_way_up_and_shows_names_as_text():
    image = np.zeros((40, 40), np.float32)
    svg = sky_svg(image, 0.1, "<script>x</script>", curves=[Curve(np.array([0.0]), np.array([1.0]), "#fff")])
    assert "<script>" not in svg
    height = 480
    assert f'points="240.0,{height / 2 - height / 4:.1f}"' in svg  # 1 arcsec up in a field of 4
