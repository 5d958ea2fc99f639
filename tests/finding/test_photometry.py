"""Features against what is known of analytic galaxies, and what survives unknown zero points."""

import numpy as np
import pytest
from skimage.measure import moments_central

from deeplense_core.photometry import (
    SCALE_FREE,
    adaptive_moments,
    masked_pixels,
    measure,
    measure_planes,
    missing_bands,
    shape_ratio,
)


def galaxy(n: float, radius: float, q: float = 1.0, angle: float = 0.0, side: int = 64, flux: float = 1e4,
           at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:  # fmt: skip
    """A Sersic profile, averaged over 5 x 5 points of each pixel."""
    axis = (np.arange(side * 5) - (side * 5 - 1) / 2) / 5
    x, y = np.meshgrid(axis - at[0], axis - at[1])
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    r = np.sqrt(q * x**2 + y**2 / q)
    image = np.exp(-(1.9992 * n - 0.3271) * ((r / radius) ** (1 / n) - 1))
    image = image.reshape(side, 5, side, 5).mean((1, 3))
    return flux * image / image.sum()


def noisy(image: np.ndarray, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def of(image: np.ndarray) -> dict[str, float]:
    return {name: float(values[0]) for name, values in measure_planes(image[None].astype(float)).items()}


@pytest.mark.parametrize("radius", [2.5, 4.0])
def test_an_exponential_disc_has_its_size_magnitude_and_concentration(radius):
    found = of(noisy(galaxy(1.0, radius), 0.3))
    assert found["mag"] == pytest.approx(-10, abs=0.03)
    assert found["half_light"] == pytest.approx(radius, rel=0.06)
    assert found["concentration"] == pytest.approx(2.7, abs=0.25)  # Conselice 2003: exponential discs
    assert of(noisy(galaxy(4.0, radius), 0.3))["concentration"] > found["concentration"] + 0.7


@pytest.mark.parametrize("q", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("angle", [0.0, 0.6, 2.1])
def test_ellipticity_is_that_of_the_isophotes(q, angle):
    found = of(noisy(galaxy(1.0, 5.0, q, angle), 0.3))
    assert found["ellipticity"] == pytest.approx(1 - q, abs=0.04)


def test_moments_of_a_gaussian_are_scikit_images():
    y, x = np.mgrid[:64, :64]
    image = np.exp(-0.5 * (((x - 33.2) / 4.0) ** 2 + ((y - 30.7) / 2.5) ** 2))
    centre, (trace, parts) = adaptive_moments(image[None], 16)
    m = moments_central(image, order=2)
    assert centre[0].tolist() == pytest.approx([33.2, 30.7], abs=1e-3)
    assert trace[0] == pytest.approx((m[2, 0] + m[0, 2]) / m[0, 0], rel=0.02)
    assert parts[0, 0] == pytest.approx((m[0, 2] - m[2, 0]) / m[0, 0], rel=0.02)
    assert shape_ratio(trace, parts)[0] == pytest.approx((2.5 / 4) ** 2, rel=0.02)


def test_signal_to_noise_is_of_the_aperture():
    sigma, pixels = 2.0, np.pi * 16**2
    found = of(noisy(galaxy(1.0, 3.0, flux=3000), sigma))
    assert found["snr"] == pytest.approx(3000 / (sigma * np.sqrt(pixels)), rel=0.1)


def test_a_companion_makes_an_image_uneven_and_stands_out_of_the_model():
    plain, blob = galaxy(2.5, 4.0), galaxy(0.5, 1.5, flux=600, at=(7.0, 3.0))
    without, with_it = of(noisy(plain, 0.5)), of(noisy(plain + blob, 0.5))
    assert abs(without["asymmetry"]) < 0.02
    assert with_it["asymmetry"] == pytest.approx(600 / 10600, abs=0.02)
    assert without["residual"] < 0.02
    assert 0.03 < with_it["residual"] < 0.075
    assert with_it["residual_snr"] > 3 * without["residual_snr"]
    assert with_it["smoothness"] > without["smoothness"]


def test_noise_alone_is_neither_uneven_nor_clumpy():
    found = [of(noisy(galaxy(1.0, 4.0, flux=4000), 2.0, seed)) for seed in range(8)]
    for name in ("asymmetry", "smoothness"):
        assert abs(np.mean([f[name] for f in found])) < 0.05, name


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (3.0, 40.0), (1 / 800, 0.2)])
def test_linear_scaling_of_values_changes_magnitudes_only(factor, offset):
    image = noisy(galaxy(2.0, 4.0, 0.7) + galaxy(0.5, 1.5, flux=500, at=(6.0, 0.0)), 1.0)
    plain, scaled = of(image), of(image * factor + offset)
    for name in SCALE_FREE:
        assert scaled[name] == pytest.approx(plain[name], rel=1e-6, abs=1e-9), name
    assert scaled["mag"] == pytest.approx(plain["mag"] - 2.5 * np.log10(factor), abs=1e-6)


def test_bands_colours_and_zero_points():
    blue = noisy(galaxy(1.0, 4.0, flux=1e4), 0.3)
    images = np.stack([blue, 2 * blue, np.zeros_like(blue)])[None]
    found = measure(images, ("g", "r", "i"), {"g": 27.0, "r": 27.0})
    assert found["feature_mag_g"][0] == pytest.approx(17, abs=0.03)
    assert found["feature_colour_g_r"][0] == pytest.approx(2.5 * np.log10(2), abs=1e-6)
    assert np.isnan(found["feature_colour_r_i"][0])
    assert np.isnan(found["feature_snr_i"][0])
    assert [found[f"feature_missing_{band}"][0] for band in "gri"] == [0, 0, 1]
    assert missing_bands(images).tolist() == [[False, False, True]]
    assert "feature_mag_1" in measure(images)


def test_stripes_without_data_are_left_out():
    image = noisy(galaxy(1.0, 4.0), 1.0) + 50
    striped = image.copy()
    striped[:, 50:54] = 0.0
    assert masked_pixels(striped[None])[0].sum() == 4 * 64
    plain, found = of(image), of(striped)
    for name in ("half_light", "ellipticity", "concentration"):
        assert found[name] == pytest.approx(plain[name], rel=0.02, abs=0.01)
    assert found["mag"] == pytest.approx(plain["mag"], abs=0.02)
    counts = np.random.default_rng(1).poisson(3.0, (1, 64, 64)).astype(float)
    assert not masked_pixels(counts).any()  # whole numbers repeat by themselves


@pytest.mark.parametrize("image", [np.zeros((32, 32)), np.full((32, 32), 7.0), -galaxy(1.0, 3.0, side=32)])
def test_nothing_to_measure_is_not_a_number(image):
    found = of(image)
    assert np.isnan(found["mag"])
    assert np.isnan(found["half_light"])


def test_odd_frames_and_blocks_give_the_same(monkeypatch):
    from deeplense_core import photometry

    images = np.stack([noisy(galaxy(1.5, 3.0, side=41), 1.0, seed)[None] for seed in range(5)])
    whole = measure(images)
    monkeypatch.setattr(photometry, "_BLOCK", 2)
    for name, values in measure(images).items():
        np.testing.assert_allclose(values, whole[name])
