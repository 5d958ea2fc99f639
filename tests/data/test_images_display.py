"""Stretches are astropy's, colours are plotly's, and contact sheets hold what they should."""

import io

import numpy as np
import plotly.colors
import pytest
from astropy import visualization as av
from PIL import Image

from deeplense_core.errors import UserError
from deeplense_core.images import montage, stretch, to_png, to_rgb


@pytest.fixture
def image(rng):
    return rng.normal(10, 3, (40, 30)) ** 2


ASTROPY = {"linear": av.LinearStretch(), "asinh": av.AsinhStretch(0.1), "log": av.LogStretch(1000)}


@pytest.mark.parametrize("kind", ASTROPY)
@pytest.mark.parametrize("percentile", [99.5, 90, 100])
def test_stretches_equal_astropys(image, kind, percentile):
    interval = av.AsymmetricPercentileInterval(100 - percentile, percentile)
    expected = (ASTROPY[kind] + interval)(image)
    shown = stretch(image, kind, percentile)
    np.testing.assert_allclose(shown.image, expected, atol=1e-6)
    assert (shown.vmin, shown.vmax) == pytest.approx(interval.get_limits(image))


def test_zscale_equals_astropys(image):
    shown = stretch(image, "zscale")
    assert (shown.vmin, shown.vmax) == pytest.approx(av.ZScaleInterval().get_limits(image))
    np.testing.assert_allclose(shown.image, av.ZScaleInterval()(image), atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "asinh", "log", "zscale"])
def test_odd_images_are_shown_without_a_warning(kind):
    assert (stretch(np.full((5, 5), 3.0), kind).image == 0).all()
    assert (stretch(np.full((5, 5), np.nan), kind).image == 0).all()
    holed = np.arange(25.0).reshape(5, 5)
    holed[2, 2] = np.nan
    shown = stretch(holed, kind)
    assert shown.image[2, 2] == 0
    assert shown.image[4, 4] == 1


def test_wrong_settings_are_refused(image):
    with pytest.raises(UserError, match="Did you mean 'asinh'"):
        stretch(image, "asin")
    with pytest.raises(UserError, match="between 50 and 100"):
        stretch(image, "log", 20)
    with pytest.raises(UserError, match="Did you mean 'inferno'"):
        to_rgb(image, colormap="infreno")
    with pytest.raises(UserError, match="no images to show"):
        montage([])


def test_colours_run_through_plotlys_anchors():
    ramp = np.linspace(0, 1, 256)[None]
    colours = np.asarray(Image.open(io.BytesIO(to_png(ramp, "inferno"))))[0]
    anchors = [plotly.colors.hex_to_rgb(name) for name in plotly.colors.sequential.Inferno]
    assert tuple(colours[0]) == anchors[0]
    assert tuple(colours[-1]) == anchors[-1]
    for k, anchor in enumerate(anchors):
        nearest = colours[round(255 * k / (len(anchors) - 1))].astype(int)
        assert np.abs(nearest - anchor).max() <= 5
    gray = np.asarray(Image.open(io.BytesIO(to_png(ramp, "gray"))))[0]
    np.testing.assert_array_equal(gray, np.arange(256)[:, None].repeat(3, axis=1))


def test_three_bands_become_blue_green_red():
    bands = np.zeros((3, 8, 8))
    bands[0, :, :4], bands[2, :, 4:] = 1, 1
    colours = to_rgb(bands, "linear", 100)
    assert tuple(colours[0, 0]) == (0, 0, 255)
    assert tuple(colours[0, 7]) == (255, 0, 0)


def test_montage_places_each_image(image):
    images = [np.tile(np.linspace(0, k + 1, 5), (4, 1))[None] for k in range(5)]
    sheet = montage(images, columns=3, colormap="gray", gap=2, zoom=2)
    assert sheet.shape == (2 * (8 + 2) - 2, 3 * (10 + 2) - 2, 3)
    tile = to_rgb(images[0], colormap="gray").repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(sheet[:8, :10], tile)
    np.testing.assert_array_equal(sheet[10:, 12:22], tile)  # each has its own limits
    assert (sheet[10:, 24:] == 255).all()
    assert (sheet[8:10] == 255).all()


def test_png_is_a_png(image):
    picture = Image.open(io.BytesIO(to_png(to_rgb(image))))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (30, 40), "RGB")
