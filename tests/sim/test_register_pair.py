"""A real pair is brought onto one grid by its coordinates; a made-up one, where all is known, says how well."""

from pathlib import Path

import numpy as np
import pytest

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.decode import decode
from deeplense_core.reading.tangent_plane import TangentPlane
from deeplense_core.superres.register_pair import noise_of, register, resample, resample_psf

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "hsc_hst"
LR_SCALE, HR_SCALE, LR_SIGMA, HR_SIGMA = 0.168, 0.03, 0.30, 0.06
GAIN, LEVEL = 3.0, 5.0
SHARPEST = 15.0, 24.0
"""Coarse pixel of the blob that is brightest in the fine image."""


def plane(scale, side, ra, dec, x, y, turn=0.0):
    """A tangent plane whose reference point is at pixel (x, y)."""
    step = scale / 3600
    c, s = step * np.cos(turn), step * np.sin(turn)
    return TangentPlane(ra, dec, x, y, ((-c, s), (s, c)))


def stars(where, psf_sigma, side, grid, rng, noise=0.0):
    """Round blobs at sky positions, integrated over pixels: brightness per arcsec^2 of light 1 each."""
    fine = 5
    axis = (np.arange(side * fine) + 0.5) / fine - 0.5
    image = np.zeros((side * fine, side * fine))
    for ra, dec, width, light in where:
        x, y = grid.pixels(np.array(ra), np.array(dec))
        sigma = np.hypot(width, psf_sigma) / grid.pixel_scale_arcsec
        image += light / sigma**2 / grid.pixel_scale_arcsec**2 * np.exp(
            -((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / 2 / sigma**2)  # fmt: skip
    image = image.reshape(side, fine, side, fine).mean((1, 3)) + noise * rng.normal(size=(side, side))
    return image.astype(np.float32)


def gaussian(sigma, scale, side):
    """A point-spread function as measured: with the pixel in it."""
    fine = 9
    axis = ((np.arange(side * fine) + 0.5) / fine - side / 2) * scale
    one = np.exp(-(axis**2) / 2 / sigma**2).reshape(side, fine).mean(1)
    return np.outer(one, one) / one.sum() ** 2


@pytest.fixture(scope="module")
def made():
    """A coarse and a fine image of the same blobs; the fine one is turned and has another reference point."""
    rng = np.random.default_rng(3)
    lr_plane = plane(LR_SCALE, 44, 150.0, 2.2, 1500.0, -900.0)
    hr_plane = plane(HR_SCALE, 220, 150.1, 2.3, 12_000.0, 9_000.0, turn=0.01)
    ra, dec = lr_plane.sky(np.array(22.0), np.array(21.0))
    x, y = hr_plane.pixels(ra, dec)
    hr_plane = hr_plane.cut(round(float(x)) - 110, round(float(y)) - 110)
    where = []
    for dx, dy, width, light in ((0, 0, 0.3, 3), (6, 4, 0.15, 1), (-7, 3, 0.2, 2), (2, -8, 0.4, 3)):
        place = lr_plane.sky(np.array(22.0 + dx), np.array(21.0 + dy))
        where.append((float(place[0]), float(place[1]), width, light))
    coarse = GAIN * stars(where, LR_SIGMA, 44, lr_plane, rng, 0.004) + LEVEL
    fine = stars(where, HR_SIGMA, 220, hr_plane, rng)
    lr = LensImage(np.stack([coarse[::-1], coarse]), LR_SCALE, (), {"name": "lr", "wcs": lr_plane.cards()})
    hr = LensImage(fine[None], HR_SCALE, (), {"name": "hr", "wcs": hr_plane.cards()})
    return lr, hr, gaussian(LR_SIGMA, LR_SCALE, 21), gaussian(HR_SIGMA, HR_SCALE, 41)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_pair_of_known_making_comes_out_as_it_was_made(made, scale):
    pair = register(*made, scale=scale)
    _, h, w = pair.lr.pixels.shape
    assert 30 <= h <= 39
    assert pair.hr.pixels.shape == (1, scale * h, scale * w)
    assert pair.hr.pixel_scale_arcsec == pytest.approx(LR_SCALE / scale, rel=1e-6)
    check = pair.checks[pair.band]
    assert pair.band == 1
    assert check.zero_point == pytest.approx(GAIN, rel=5e-3)
    assert check.background == pytest.approx(LEVEL, abs=2e-3)
    assert check.residual_rms < 1.15
    assert check.correlation > 0.999
    assert np.hypot(*pair.shift_arcsec) < 0.004
    near = np.abs(pair.hr_in_lr_unit - LEVEL).max() / (GAIN * pair.hr.pixels.max())
    assert near == pytest.approx(1, rel=1e-2)


def test_both_images_keep_their_place_on_the_sky(made):
    lr, hr, psf_lr, psf_hr = made
    pair = register(lr, hr, psf_lr, psf_hr, scale=2)
    before, after, fine = (TangentPlane.of(image) for image in (lr, pair.lr, pair.hr))
    sharp = np.unravel_index(pair.hr.pixels[0].argmax(), pair.hr.pixels[0].shape)
    place = fine.sky(np.array(sharp[1]), np.array(sharp[0]))
    np.testing.assert_allclose(before.pixels(*place), SHARPEST, atol=0.3)  # half a fine pixel is a quarter
    x, y = (round(float(there - here)) for there, here in zip(before.pixels(*place), after.pixels(*place), strict=True))
    h, w = pair.lr.pixels.shape[1:]
    np.testing.assert_array_equal(pair.lr.pixels, lr.pixels[:, y : y + h, x : x + w])


def test_an_image_set_a_little_aside_is_moved_back(made):
    lr, hr, psf_lr, psf_hr = made
    grid = TangentPlane.of(hr)
    moved = LensImage(hr.pixels, HR_SCALE, (), {**hr.meta, "wcs": grid.cut(-3, 2).cards()})
    pair = register(lr, moved, psf_lr, psf_hr)
    # What is at a pixel is said to be where the pixel 3 to the left and 2 above is.
    assert pair.shift_arcsec == pytest.approx((3 * HR_SCALE, -2 * HR_SCALE), abs=0.005)
    assert pair.checks[pair.band].residual_rms < 1.15


def test_resampling_keeps_flux(made):
    _, hr, _, _ = made
    there = TangentPlane.of(hr)
    (a, b), (c, d) = there.matrix
    onto = TangentPlane(there.ra, there.dec, there.x / 2.8, there.y / 2.8, ((2.8 * a, 2.8 * b), (2.8 * c, 2.8 * d)))
    larger = resample(hr.pixels[0], there, onto, (79, 79), np.zeros(2))
    assert float(larger.sum()) * 2.8**2 == pytest.approx(float(hr.pixels.sum()), rel=1e-4)


def test_a_resampled_psf_keeps_its_width_and_middle():
    psf = resample_psf(gaussian(0.3, 0.168, 31), 0.5)
    np.testing.assert_allclose(psf, psf[::-1, ::-1], atol=1e-12)
    axis = (np.arange(len(psf)) - len(psf) // 2) * 0.084
    assert psf.sum() == pytest.approx(1)
    assert np.sqrt((psf * axis**2).sum()) == pytest.approx(np.hypot(0.3, 0.168 / 12**0.5), rel=2e-3)


def test_a_psf_off_its_middle_is_centred():
    aside = np.roll(gaussian(0.3, 0.168, 31), (1, -2), axis=(0, 1))
    found, wanted = resample_psf(aside, 0.5), resample_psf(gaussian(0.3, 0.168, 31), 0.5)[4:-4, 4:-4]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("psf", "words"), [(-gaussian(0.3, 0.168, 31), "must have light"),
                                            (gaussian(0.3, 0.168, 31)[1:], "no middle pixel")])  # fmt: skip
def test_a_psf_that_is_none(psf, words):
    with pytest.raises(UserError, match=words):
        resample_psf(psf, 0.5)


def test_noise_is_told_from_smooth_light():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    assert noise_of(50 * np.exp(-((x - 99) ** 2 + (y - 80) ** 2) / 800) + 0.3 * rng.normal(size=(200, 200))) == (
        pytest.approx(0.3, rel=0.05))  # fmt: skip


def test_the_tangent_plane_is_that_of_astropy():
    from astropy.io import fits
    from astropy.wcs import WCS

    rng = np.random.default_rng(2)
    for dec in (-89.0, -40.0, 2.2, 75.0):
        ours = TangentPlane(359.99, dec, 12.0, -7.5, ((-5e-5, 1e-5), (2e-5, 4e-5)))
        theirs = WCS(fits.Header.fromstring(ours.cards(), sep="\n"))
        x, y = rng.uniform(-300, 300, (2, 50))
        sky = theirs.all_pix2world(x, y, 0)
        np.testing.assert_allclose(ours.sky(x, y), sky, atol=1e-9)
        np.testing.assert_allclose(ours.pixels(*sky), (x, y), atol=1e-6)
        assert TangentPlane.of(LensImage(np.zeros((1, 2, 2)), meta={"wcs": ours.cards()})) == ours


def test_a_matrix_without_its_diagonal_is_read_whole():
    """Cards that are 0 may be left out, as in a frame turned by a quarter."""
    cards = "\n".join(["CTYPE1  = 'RA---TAN'", "CTYPE2  = 'DEC--TAN'", "CRVAL1  = 150.0", "CRVAL2  = 2.0",
                       "CD1_2   = 1E-05", "CD2_1   = 2E-05"])  # fmt: skip
    assert TangentPlane.of(LensImage(np.zeros((1, 2, 2)), meta={"wcs": cards})).matrix == ((0, 1e-5), (2e-5, 0))


@pytest.mark.parametrize(("change", "words"), [
    ({"wcs": None}, "no coordinates"),
    ({"wcs": "CTYPE1  = 'RA---TAN'\nCTYPE2  = 'DEC--TAN'\nLONPOLE = 90.0"}, "turned pole"),
    ({"wcs": "CTYPE1  = 'RA---SIN'\nCTYPE2  = 'DEC--SIN'"}, "RA---SIN"),
    ({"wcs": plane(0.03, 220, 10.0, 5.0, 100.0, 100.0).cards()}, "no common piece of sky"),
])
def test_what_cannot_be_registered_is_one_message(made, change, words):
    lr, hr, psf_lr, psf_hr = made
    bad = LensImage(hr.pixels, HR_SCALE, (), {**hr.meta, **change})
    with pytest.raises(UserError, match=words):
        register(lr, bad, psf_lr, psf_hr)


def test_images_of_different_skies_are_refused(made):
    lr, hr, psf_lr, psf_hr = made
    upside = LensImage(-hr.pixels, HR_SCALE, (), hr.meta)
    with pytest.raises(UserError, match="do not show the same sky"):
        register(LensImage(lr.pixels[1:], LR_SCALE, (), lr.meta), upside, psf_lr, psf_hr)
    with pytest.raises(UserError, match="2 bands"):
        register(lr, LensImage(np.repeat(hr.pixels, 2, 0), HR_SCALE, (), hr.meta), psf_lr, psf_hr)


def test_hsc_and_hst_see_the_same_sky():
    if not REAL.is_dir():
        pytest.skip("the real images are not beside this checkout, in ../shared/data")
    from astropy.io import fits

    lr, hr = (decode(REAL / f"Cut_{name}.fits", name) for name in ("HSC", "HST"))
    psf_lr, psf_hr = (np.asarray(fits.getdata(REAL / f"PSF_{name}.fits"), dtype=float) for name in ("HSC", "HST"))
    pair = register(lr, hr, psf_lr, psf_hr)
    assert pair.band == 2  # HST's F814W is HSC's i
    assert pair.lr.pixels.shape == (5, 44, 43)
    assert pair.hr.pixels.shape == (1, 88, 86)
    assert pair.checks[2].correlation > 0.99
    assert pair.checks[2].residual_rms < 2.5
    assert max(map(abs, pair.shift_arcsec)) < 0.168
