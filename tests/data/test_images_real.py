"""Real images of real telescopes open, with the pixel scale their surveys have."""

import numpy as np
import pytest

from deeplense_core.images import BadImageError, montage, read_image, stretch

EXPECTED = {
    "euclid_q1/102020532_NEG589257492489565961.fits": ((1, 300, 300), 0.1, ("VIS",)),
    "euclid_q1/cutout.fits": ((1, 60, 60), None, ()),
    "hsc_hst/Cut_HSC.fits": ((5, 50, 50), 0.168, ()),
    "hsc_hst/Cut_HST.fits": ((1, 250, 250), 0.03, ()),
    "hsc_hst/hsc_cosmos_35.npz": ((5, 58, 48), None, tuple("grizy")),
    "hst_lens/image_lens_system1_F390W.h5": ((1, 120, 120), 0.04, ()),
    "hst_lens/image_lens_system3_F475X.h5": ((1, 130, 130), 0.04, ()),
    "cosmos_web/COSMOSWeb_galaxy_6701_image.fits": ((1, 175, 175), None, ("F115W",)),
    "deeplense/lucas_axion.npy": ((1, 64, 64), None, ()),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_it_opens(real_data, name):
    shape, scale, bands = EXPECTED[name]
    image = read_image(real_data / name)
    assert image.pixels.shape == shape
    assert image.pixel_scale_arcsec == (scale if scale is None else pytest.approx(scale, rel=1e-4))
    assert image.bands == bands
    assert np.isfinite(image.pixels).all()
    assert montage(image.pixels[:, None]).dtype == np.uint8
    assert stretch(image.pixels[0], "zscale").vmax > stretch(image.pixels[0], "zscale").vmin


def test_hsc_and_hst_cutouts_show_the_same_sky(real_data):
    hsc, hst = (read_image(real_data / "hsc_hst" / name, sky=True) for name in ("Cut_HSC.fits", "Cut_HST.fits"))
    apart = np.hypot(hsc.meta["ra_deg"] - hst.meta["ra_deg"], hsc.meta["dec_deg"] - hst.meta["dec_deg"])
    assert 3600 * apart < 1


def test_another_band_can_be_chosen(real_data):
    path = real_data / "cosmos_web/COSMOSWeb_galaxy_6701_image.fits"
    assert [h["name"] for h in read_image(path).meta["hdus"]] == ["F115W", "F150W", "F277W", "F444W"]
    assert read_image(path, hdu="F444W").pixels.sum() != read_image(path).pixels.sum()


def test_a_catalogue_is_no_image(real_data):
    with pytest.raises(BadImageError, match="is no image known here"):
        read_image(real_data / "lenscat" / "catalog.csv")
