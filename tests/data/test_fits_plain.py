"""The quick reader of plain FITS files against astropy, and what it must leave alone."""

import io
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplense_core.images import BadImageError
from deeplense_core.reading import fits_image, fits_plain
from deeplense_core.reading.fits_image import read_fits

TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 5.0, "CRPIX2": 6.5,
       "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"}  # fmt: skip
CD = {"CD1_1": -1.4e-5, "CD1_2": 2e-7, "CD2_1": 2e-7, "CD2_2": 1.4e-5}


def _directions(wcs, points):
    """Unit vectors to the sky: near a pole the right ascension alone means little."""
    return _direction(np.deg2rad(wcs.all_pix2world(points, 0)))


def _direction(places):
    ra, dec = places.T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1)


def written(pixels, cards=(), **extra) -> bytes:
    file = io.BytesIO()
    fits.PrimaryHDU(pixels, fits.Header({**dict(cards), **extra})).writeto(file)
    return file.getvalue()


def both(data: bytes, monkeypatch, sky=True):
    """What the quick way says, and astropy's."""
    quick = fits_image._plain(io.BytesIO(data), "x", sky)
    with monkeypatch.context() as patch:
        patch.setattr(fits_image, "_plain", lambda *_: None)
        return quick, read_fits(io.BytesIO(data), "x", None, sky)


def same(quick, slow):
    np.testing.assert_array_equal(quick[0], slow[0])
    assert quick[0].dtype == slow[0].dtype
    ours, theirs = dict(quick[1]), dict(slow[1])
    assert ("wcs" in ours) == ("wcs" in theirs)
    if "wcs" in ours:
        points = [[0.0, 0.0], [11.0, 8.0]]
        one, two = (WCS(fits.Header.fromstring(facts.pop("wcs"), sep="\n")) for facts in (ours, theirs))
        np.testing.assert_allclose(_directions(one, points), _directions(two, points), rtol=0, atol=1e-14)
        places = [_direction(np.deg2rad([[facts.pop("ra_deg"), facts.pop("dec_deg")]])) for facts in (ours, theirs)]
        np.testing.assert_allclose(*places, rtol=0, atol=1e-14)
    assert ours == theirs


@pytest.mark.parametrize("kind", ["u1", ">i2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("shape", [(9, 12), (3, 9, 12)])
def test_every_type_and_shape(kind, shape, monkeypatch):
    pixels = (np.arange(math.prod(shape)).reshape(shape) * 0.7).astype(kind)
    quick, slow = both(written(pixels, {**TAN, **CD}, BUNIT="nJy", FILTER="F814W"), monkeypatch)
    same(quick, slow)
    assert quick[1]["unit"] == "nJy"
    assert quick[1]["ra_deg"]


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {**TAN, **CD},
        {**TAN, "CDELT1": -1e-5, "CDELT2": 1e-5},
        {**TAN, "PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8, "CDELT1": -1e-5, "CDELT2": 1e-5},
        {**TAN, **CD, "RADESYS": "FK5", "EQUINOX": 2000.0},
        {**TAN, **CD, "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"},
        {**TAN, **CD, "CUNIT1": "arcsec", "CUNIT2": "arcsec"},
        {**TAN, **CD, "LONPOLE": 170.0},
        {**TAN, **CD, "CRVAL2": 90.0},
        {**TAN, **CD, "CRVAL1": -0.00001},
        {**TAN, **CD, "CRPIX1": 1e300, "CRPIX2": -1e300},
        {**TAN, **CD, "CD1_1": 0.0, "CD1_2": 0.0},
        {"CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 0.05, "CDELT2": 0.05},
        {"PIXAR_A2": 0.0025, "OBSERVER": "E. O'Hara", "NOTE": True, "COUNT": -7, "ENERGY": -1.5e-20},
    ],
    ids=range(14),
)
def test_headers(cards, monkeypatch):
    pixels = np.arange(108.0, dtype=">f4").reshape(9, 12)
    same(*both(written(pixels, cards), monkeypatch))


@given(ra=st.floats(0, 360, exclude_max=True), dec=st.floats(-90, 90), scale=st.floats(1e-7, 1e-3),
       angle=st.floats(0, 6.3), x=st.floats(-50, 50))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_positions(ra, dec, scale, angle, x):
    turn = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = {f"CD{i + 1}_{j + 1}": turn[i, j] for i, j in np.ndindex(2, 2)}
    cards = {**TAN, "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": x, **matrix}
    with pytest.MonkeyPatch.context() as patch:
        same(*both(written(np.eye(9, 12, dtype=">f4"), cards), patch))


@pytest.mark.parametrize(
    "data",
    [
        written(np.eye(9, dtype=np.uint16)),  # BZERO
        written(np.eye(9, dtype=">i2"), BLANK=-1),
        written(np.eye(9, dtype=">f4"), EXTNAME="SCI"),
        written(np.eye(9, dtype=">f4")[None]),  # an axis of one
        written(np.eye(9, dtype=">f4"))[:-2880],  # cut short
        written(np.eye(9, dtype=">f4")) + written(np.eye(9, dtype=">f4")),
        written(np.eye(9, dtype=">f4"), BUNIT="a" * 100),  # continued cards
        written(np.eye(9, dtype=">f4")).replace(b"NAXIS   =                    2", b"NAXIS   =                  2.0"),
        written(np.eye(9, dtype=">f4")).replace(b"END   ", b"END  x"),
        written(np.eye(9, dtype=">f4"), BUNIT="nJy").replace(b"nJy", b"n\xb5y"),
    ],
    ids=range(10),
)
def test_what_is_odd_is_left_to_astropy(data):
    with pytest.raises(fits_plain.OddError):
        fits_plain.read_plain(io.BytesIO(data), "x")


def test_one_that_claims_too_much_is_refused():
    data = written(np.eye(9, dtype=">f4")).replace(b"NAXIS1  =                    9", b"NAXIS1  =            999999999")
    with pytest.raises(BadImageError, match="64 Mpixel"):
        read_fits(io.BytesIO(data), "x", None)
