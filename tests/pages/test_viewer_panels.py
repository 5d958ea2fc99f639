"""The viewer's Python side: what goes to the browser, what is refused, and plain pictures in its place."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from deeplense_core.errors import UserError
from deeplense_core.plots.sky import Curve
from pages.ui.viewer import MAX_VALUES, Panel, pack, viewer, wcs_cards
from tests.pages.packed import panels_of, unpacked

START = {"key": "v", "mode": "side", "height": 480, "lead": False, "stretch": "asinh", "colormap": "inferno"}


@pytest.fixture
def cube(rng) -> np.ndarray:
    return rng.normal(0, 1, (4, 6, 5)).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def page_of_viewer() -> None:
    import numpy as np

    from pages.ui.viewer import Panel, viewer

    scaled = Panel(np.arange(20.0).reshape(4, 5), "<img src=x> [a](b)", 0.1, unit="nJy")
    state = viewer([scaled, Panel(np.arange(60.0).reshape(3, 4, 5), "cube", colormap="RdBu")], key="v", mode="blink")
    assert (state.mode, state.picked) == ("blink", None)


def open_viewer(**query: str) -> AppTest:
    app = AppTest.from_function(page_of_viewer, default_timeout=120)
    app.query_params.update(query)
    app.run()
    assert not app.exception, app.exception
    return app


def test_arrays_arrive_to_the_last_bit(cube):
    cube[2, 3, 4] = np.nan
    ring = Curve(np.array([0.0, 1.0]), np.array([2.0, -0.5]), "#fff", "5 4")
    panels = [Panel(cube, "a", 0.05, unit="nJy", bands=("g", "r", "i", "z"), overlay=cube[0], overlay_title="map",
                    curves=(ring,), lock="x"), Panel(cube[1].astype(float), origin="upper")]  # fmt: skip
    header = unpacked(pack(panels, START))
    assert {name: header[name] for name in START} == START
    first, second = header["panels"]
    np.testing.assert_array_equal(first["values"], cube)
    np.testing.assert_array_equal(first["overlay"]["values"], cube[0])
    np.testing.assert_array_equal(second["values"], cube[1][None])
    assert first["curves"] == [{"points": [[0.0, 2.0], [1.0, -0.5]], "color": "#fff", "dash": "5 4"}]
    assert (first["scale"], first["unit"], first["bands"], first["lock"]) == (0.05, "nJy", ["g", "r", "i", "z"], "x")
    assert (second["origin"], second["scale"], second["wcs"], second["overlay"]) == ("upper", None, {}, None)


def test_a_hash_names_the_content(cube):
    def name(pixels: np.ndarray) -> str:
        return unpacked(pack([Panel(pixels)], START))["panels"][0]["pixels"]["hash"]

    changed = cube.copy()
    changed[3, 5, 4] = np.nextafter(changed[3, 5, 4], 1)
    assert name(cube) == name(cube.astype(float)) == name(np.asfortranarray(cube))
    assert len({name(cube), name(changed), name(cube.reshape(4, 5, 6))}) == 3


@pytest.mark.parametrize("separator", ["", "\n"])
def test_the_cards_of_a_header_are_read_without_running_it(separator):
    from astropy.io import fits

    header = fits.Header([("CTYPE1", "RA---TAN-SIP"), ("CRVAL1", 150.25), ("CD1_1", -4.6e-5), ("A_2_0", 1e-7),
                          ("RADESYS", "FK5"), ("PV2_1", 3.0), ("OBJECT", "<img onerror='x'>"), ("COMMENT", "CRPIX1"),
                          ("CUNIT1", "deg", "O'Neill / unit")])  # fmt: skip
    cards = wcs_cards(header.tostring(separator))
    assert cards == {"CTYPE1": "RA---TAN-SIP", "CRVAL1": 150.25, "CD1_1": -4.6e-5, "A_2_0": 1e-7, "RADESYS": "FK5",
                     "PV2_1": 3.0, "CUNIT1": "deg"}  # fmt: skip
    assert wcs_cards(dict(header)) == cards


def test_odd_cards_do_no_harm():
    assert wcs_cards(None) == wcs_cards("") == wcs_cards("x" * 300) == {}
    text = "CRVAL1  =            1.5D+02 / Fortran\nCRPIX1  = nan\nCTYPE1  = 'it''s\nCD1_1   =\nCRPIX2  = 1e999"
    assert wcs_cards(text) == {"CRVAL1": 150.0, "CRPIX1": "nan", "CTYPE1": "it", "CRPIX2": "1e999"}


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        (Panel(np.zeros(4), "a"), "a has shape"),
        (Panel(np.zeros((0, 4))), "An image has shape"),
        (Panel(np.zeros((4, 4)), "a", overlay=np.zeros((3, 4))), "The map over a has shape"),
        (Panel(np.zeros((4, 4)), "a", -0.1), "pixel scale of a"),
        (Panel(np.zeros((4, 4)), origin="uper"), "Did you mean 'upper'"),
        (Panel(np.zeros((4, 4)), stretch="asin"), "Did you mean 'asinh'"),
        (Panel(np.zeros((4, 4)), colormap="grey"), "Did you mean 'gray'"),
        (Panel(np.broadcast_to(np.float32(0), (1, MAX_VALUES + 1)), "a"), "more than the viewer's"),
    ],
)
def test_what_cannot_be_shown_is_said(panel, said):
    with pytest.raises(UserError, match=said):
        viewer([panel], key="v")


def test_wrong_words_are_refused():
    panel = Panel(np.zeros((4, 4)))
    with pytest.raises(UserError, match="Did you mean 'slider'"):
        viewer([panel], key="v", mode="slide")
    with pytest.raises(UserError, match="no image"):
        viewer([], key="v")


def test_the_component_gets_the_panels():
    app = open_viewer()
    panels = panels_of(app)
    assert [panel["title"] for panel in panels] == ["<img src=x> [a](b)", "cube"]
    np.testing.assert_array_equal(panels[1]["values"], np.arange(60.0).reshape(3, 4, 5))
    assert not app.image


@pytest.mark.parametrize("by", ["address", "environment"])
def test_plain_pictures_where_they_are_asked_for(by, monkeypatch):
    if by == "environment":
        monkeypatch.setenv("DEEPLENSE_VIEWER", "plain")
    app = open_viewer(**({"viewer": "plain"} if by == "address" else {}))
    assert not app.get("bidi_component")
    assert len(app.image) == 2
    assert app.image[0].proto.imgs[0].alt == "<img src=x> [a](b)"
    assert app.image[1].proto.imgs[0].caption == "cube · asinh stretch, no WCS, pixels"


def test_plain_pictures_stay_for_all_pages(open_page):
    app = open_page("simulate", viewer="plain")
    assert len(app.image) == 3
    app.query_params.clear()
    app.slider(key="lens_q").set_value(0.5).run()
    assert len(app.image) == 3
    app.query_params["viewer"] = "live"
    app.run()
    assert len(panels_of(app)) == 3
    assert not app.image


def test_plain_pictures_are_the_right_way_up():
    import io

    from PIL import Image

    from pages.ui.viewer import plain_picture

    rows = np.zeros((4, 4), np.float32)
    rows[0, 0] = 1
    for origin, corner in (("lower", (3, 0)), ("upper", (0, 0))):
        picture = np.asarray(Image.open(io.BytesIO(plain_picture(Panel(rows, origin=origin), "linear", "gray"))))
        assert picture[corner].sum() > 0
        assert (picture.sum() - picture[corner].sum()) == 0


def test_images_of_a_data_set_open_large(open_page):
    from tests.pages.test_data import write_dataset

    dataset = write_dataset()
    app = open_page("data", data="lenses")
    assert not app.get("bidi_component")
    chosen = [str(dataset.catalog["id"][row]) for row in (3, 1)]
    app.multiselect[0].set_value(chosen).run()
    assert not app.exception
    for panel, name, row in zip(panels_of(app), chosen, (3, 1), strict=True):
        assert (panel["title"], panel["origin"]) == (name, "upper")
        np.testing.assert_array_equal(panel["values"], dataset.images[row])
