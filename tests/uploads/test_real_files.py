"""Every real file at hand, through the visitors' door, held against astropy and h5py themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, skycoord_to_pixel

from deeplense_core.images import LensImage
from deeplense_core.reading.uploads import read, receive

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FITS, HDF5, NPY = (sorted(str(p.relative_to(DATA)) for p in DATA.rglob(f"*.{kind}")) for kind in ("fits", "h5", "npy"))
BANDS = {"VIS_FLUX": "VIS", "NIR_Y_FLUX": "NIR_Y", "NIR_J_FLUX": "NIR_J", "NIR_H_FLUX": "NIR_H", "VIS_PSF": "VIS",
         "NIR_Y_PSF": "NIR_Y", "NIR_J_PSF": "NIR_J", "NIR_H_PSF": "NIR_H"}  # fmt: skip

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not beside this checkout, in "
                                "../shared/data")  # fmt: skip


def opened(name: str, **options) -> LensImage:
    with open(DATA / name, "rb") as stream:
        (upload,) = receive(name.rpartition("/")[2], stream)
    return read(upload, **options)


@pytest.mark.parametrize("name", FITS)
def test_every_image_hdu_of_every_fits_file(name):
    with fits.open(DATA / name) as hdus:
        images = {i: h for i, h in enumerate(hdus) if h.data is not None and h.data.ndim in (2, 3)}
        default = opened(name)
        assert [h["index"] for h in default.meta["hdus"]] == list(images)
        assert [h["name"] for h in default.meta["hdus"]] == [h.name for h in images.values()]
        for index, hdu in images.items():
            image = opened(name, hdu=index)
            expected = hdu.data[None] if hdu.data.ndim == 2 else hdu.data
            np.testing.assert_array_equal(image.pixels, expected.astype(np.float32))
            assert image.pixels.dtype == np.float32
            assert image.meta["planes"] == len(expected)
            assert image.meta.get("unit") == hdu.header.get("BUNIT")
            assert image.bands == ((BANDS.get(hdu.name) or hdu.name,) if hdu.name in BANDS or hdu.name[:1] == "F"
                                   else ())  # fmt: skip
            on_the_sky(image, hdu)
        first = next(iter(images.values()))
        np.testing.assert_array_equal(default.pixels[0], first.data.reshape(-1, *first.shape[-2:])[0].astype("f4"))


def on_the_sky(image: LensImage, hdu) -> None:
    """Pixel scale, centre and the WCS that is handed on, at the four corners."""
    wcs = WCS(hdu.header)
    if not wcs.has_celestial:
        assert image.pixel_scale_arcsec is None
        assert not {"wcs", "ra_deg", "dec_deg"} & set(image.meta)
        return
    wcs = wcs.celestial
    assert image.pixel_scale_arcsec == pytest.approx(3600 * proj_plane_pixel_scales(wcs).prod() ** 0.5, rel=1e-9)
    height, width = hdu.shape[-2:]
    centre = wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
    here = SkyCoord(image.meta["ra_deg"], image.meta["dec_deg"], unit="deg")
    assert centre.separation(here).arcsec < 1e-6
    handed_on = WCS(fits.Header.fromstring(image.meta["wcs"], sep="\n"))
    for x, y in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]:
        assert skycoord_to_pixel(wcs.pixel_to_world(x, y), handed_on, 0) == pytest.approx((x, y), abs=1e-6)


@pytest.mark.parametrize("name", HDF5)
def test_every_data_set_of_every_hdf5_file(name):
    with h5py.File(DATA / name) as root:
        images = [key for key in root if root[key].ndim in (2, 3) and root[key].shape != (2, 2)]
        default = opened(name)
        assert default.meta["keys"] == images
        assert default.meta["key"] == ("image_data" if "image_data" in images else "kernel_point_source")
        for key in images:
            np.testing.assert_array_equal(opened(name, key=key).pixels[0], root[key][()].astype(np.float32))
        if "transform_pix2angle" in root:
            sides = np.linalg.svd(root["transform_pix2angle"][()], compute_uv=False)
            assert default.pixel_scale_arcsec == pytest.approx(sides.prod() ** 0.5, rel=1e-9)
            assert default.pixel_scale_arcsec == pytest.approx(0.04, rel=1e-4)
        else:
            assert default.pixel_scale_arcsec is None
        assert default.bands == ()


@pytest.mark.parametrize("name", NPY)
def test_every_npy_file(name):
    expected = np.load(DATA / name)
    np.testing.assert_array_equal(opened(name).pixels[0], expected.astype(np.float32))
    assert expected.shape == (64, 64)


def test_the_npz_with_its_bands():
    name = "hsc_hst/hsc_cosmos_35.npz"
    image = opened(name)
    with np.load(DATA / name) as arrays:
        np.testing.assert_array_equal(image.pixels, arrays["images"])
        assert image.bands == tuple(arrays["filters"]) == tuple("grizy")
        assert image.meta["keys"] == [k for k in arrays if arrays[k].ndim in (2, 3)]
        np.testing.assert_array_equal(opened(name, key="psfs", plane=2).pixels[0], arrays["psfs"][2].astype("f4"))
    assert opened(name, plane=3).bands == ("z",)


def test_hsc_and_hst_show_the_same_sky():
    here, there = (opened(f"hsc_hst/Cut_{name}.fits").meta for name in ("HSC", "HST"))
    apart = SkyCoord(here["ra_deg"], here["dec_deg"], unit="deg").separation(
        SkyCoord(there["ra_deg"], there["dec_deg"], unit="deg")
    )
    assert apart.arcsec < 0.1


def test_a_catalogue_is_no_image(refused):
    assert refused(receive, "catalog.csv", (DATA / "lenscat/catalog.csv").read_bytes()).reason == "unknown format"
