"""No confident absurdity: every real image gets an answer with a true warning, or a message that says why none.

The classifier that ships has learnt simulations alone. Each of these images, of Euclid, HSC, HST and JWST, of their
point-spread functions and noise maps, is unlike them, and it must say so. Finders know survey images: the real lens of
Euclid is found.
"""

import pytest

from deeplense_core.errors import UserError
from deeplense_core.images import BadImageError, read_image
from deeplense_core.shelf.cards import find_card, shipped_models
from deeplense_core.trained import load_model

SURE = 0.9
CLASSIFIERS = [name for name in shipped_models()
               if find_card(name).card["task"] == "classify" and str(find_card(name).card["data"]).startswith("sim:")]
FEWEST = 40
"""Planes of images that are there; fewer mean that reading has failed."""


def planes(folder):
    """Every plane of every HDU of every image: its name and the image it is of."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            first = read_image(path)
        except BadImageError:
            continue
        others = [hdu["name"] or hdu["index"] for hdu in first.meta.get("hdus", ())][1:]
        for image in (first, *(read_image(path, hdu=name) for name in others)):
            for band in range(len(image.pixels)):
                yield f"{path.name} {image.meta.get('hdu', '')} {band}", image, band


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_real_images_are_called_unfamiliar_or_not_sure(real_images, name):
    model = load_model(name)
    asked = 0
    for what, image, band in planes(real_images):
        bands = image.pixels[band : band + 1] if model.shape[0] == 1 else image.pixels
        try:
            said, = model.predict(bands[None], image.pixel_scale_arcsec)
        except UserError:
            continue
        asked += 1
        sure = said.familiar and said.probabilities.max() > SURE
        assert not sure, f"{what}: {said.probabilities.max():.3f} sure of an image it cannot know"
        assert said.familiar or "unlike the training images" in said.warnings[-1], what
    assert asked >= FEWEST or model.shape[0] > 1


def test_the_lens_of_euclid_is_found_and_the_field_of_hst_is_none(real_images):
    model = load_model("finder-i")
    lens = read_image(next((real_images / "euclid_q1").glob("1020*.fits")))
    said, = model.predict(lens.pixels[None, :1], lens.pixel_scale_arcsec)
    assert said.familiar, said.warnings
    assert said.probabilities[model.classes.index("lens")] > 0.9
    field = read_image(real_images / "hsc_hst" / "Cut_HST.fits")
    said, = model.predict(field.pixels[None, :1], field.pixel_scale_arcsec)
    assert said.probabilities[model.classes.index("lens")] < 0.5
