"""A file in any unit gives the same picture: the way to the network's unit and back is linear and exact."""

import numpy as np
import pytest
import torch
from astropy.io import fits

from deeplense_core.sim import simulate
from deeplense_core.superres.enhance import brightness_unit
from deeplense_core.superres.enhance_files import enhance_files, is_per_pixel
from deeplense_core.trained import load_model


@pytest.fixture(scope="module")
def ring() -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40] - 19.5
    return (300 * np.exp(-((np.hypot(x, y) - 9) ** 2) / 6) + rng.normal(0, 1.6, (40, 40))).astype(np.float32)


def test_noise_and_sky_are_brought_to_those_of_training(ring):
    pixels = np.stack([ring, 0.01 * ring + 7])[:, None]
    factor, level = brightness_unit(pixels, 1.6)
    assert factor[0].item() == pytest.approx(1, rel=0.25)  # of 400 pixels
    assert factor[1].item() == pytest.approx(100 * factor[0].item(), rel=1e-2)
    assert level[1].item() == pytest.approx(7, abs=0.05)
    assert brightness_unit(pixels, None)[0].tolist() == [[[[1.0]]], [[[1.0]]]]
    flat = np.zeros((1, 1, 16, 16), np.float32)
    assert brightness_unit(flat, 1.6)[0].item() == 1


def test_the_unit_of_a_file_does_not_change_the_picture(ring, tmp_path):
    model = load_model("edsr-x2")
    for name, image in (("counts", ring), ("flux", 3e-3 * ring + 0.5)):
        fits.PrimaryHDU(image.astype(np.float32)).writeto(tmp_path / f"{name}.fits")
    made = enhance_files(model, [tmp_path / "counts.fits", tmp_path / "flux.fits"], tmp_path / "out")
    assert not made.failed
    counts, flux = (fits.getdata(path) for path in made.written)
    assert counts.shape == (80, 80)
    np.testing.assert_allclose((flux - 0.5) / 3e-3, counts, atol=0.05)


def test_an_image_of_the_training_recipe_is_what_the_network_itself_makes_of_it(tmp_path):
    model = load_model("edsr-x2")
    image = simulate("sr-pairs", 1, seed=99).images
    fits.PrimaryHDU(image[0, 0].numpy()).writeto(tmp_path / "counts.fits")
    made = enhance_files(model, [tmp_path / "counts.fits"], tmp_path / "fine.fits")
    with torch.no_grad():
        plain = model.net(image)[0, 0].numpy()
    assert np.abs(fits.getdata(made.written[0]) - plain).max() < 0.03 * plain.max()


@pytest.mark.parametrize(("unit", "per_pixel"), [
    ("nanomaggy", True), ("AB nanomaggies", True), ("nJy", True), ("electrons/s", True), ("ADU", True),
    ("", False), ("MJy/sr", False), ("nJy / arcsec2", False), ("mag/arcsec^2", False), ("mag", False),
    ("Jy/beam", False), ("mJy arcmin-2", False),
])  # fmt: skip
def test_what_finer_pixels_hold_less_of(unit, per_pixel):
    assert is_per_pixel(unit) is per_pixel


def test_sums_over_the_sky_stay_in_a_file_counted_per_pixel(ring, tmp_path):
    for unit, area in (("nanomaggy", 1), ("MJy/sr", 4)):
        fits.PrimaryHDU(ring, fits.Header({"BUNIT": unit})).writeto(tmp_path / "sky.fits", overwrite=True)
        made = enhance_files(load_model("bicubic"), [tmp_path / "sky.fits"], tmp_path / f"{area}.fits")
        assert fits.getdata(made.written[0]).sum() == pytest.approx(area * ring.sum(), rel=1e-2)
