"""Which bands a network gets of an image that has others."""

from __future__ import annotations

import numpy as np
import pytest

from deeplense_core.bands import BandPlan, fit_bands, parse_bands, plan_bands
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage

GRI = ("g", "r", "i")


@pytest.mark.parametrize(
    ("have", "wanted", "names", "chosen", "places", "note"),
    [
        (("a", "b", "c"), 3, GRI, (), (0, 1, 2), ""),
        (("HSC-Y", "HSC-I", "HSC-R", "HSC-G"), 3, GRI, (), (3, 2, 1), "only HSC-G, HSC-R, HSC-I of 4 bands"),
        (("g", "r", "i"), 1, ("gray",), (), (), "mean of 3 bands: the network was trained on one"),
        (("g", "r", "i"), 1, ("r",), (), (1,), "only r of 3 bands"),
        (("g", "r", "i", "z"), 3, GRI, (1, 2, 3), (1, 2, 3), "only r, i, z of 4 bands"),
        (("VIS",), 3, GRI, (0, 0, 0), (0, 0, 0), "1 band(s) stand for 3: its colours mean nothing"),
        (("i", "r", "g"), 3, GRI, (2, 1, 0), (2, 1, 0), ""),
    ],
)
def test_bands_that_are_taken(have, wanted, names, chosen, places, note):
    assert plan_bands(have, wanted, names, chosen) == BandPlan(places, note)
    pixels = np.arange(len(have) * 4, dtype=np.float32).reshape(len(have), 2, 2)
    image = fit_bands(LensImage(pixels, bands=have, meta={"notes": ["old"]}),
                      lambda found: plan_bands(found, wanted, names, chosen))  # fmt: skip
    expected = pixels[list(places)] if places else pixels.mean(0, keepdims=True)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.meta["notes"] == ["old", *([note] if note else [])]
    assert image.bands == (tuple(have[i] for i in places) or ("mean",))


@pytest.mark.parametrize(
    ("have", "wanted", "names", "chosen", "says"),
    [
        (("VIS",), 3, GRI, (), r"has 1 band\(s\) \(VIS\) and the network takes 3 \(g, r, i\).*--bands"),
        (("band 1", "band 2", "band 3", "band 4", "band 5"), 3, GRI, (), "has 5 band"),
        (("g", "g", "r", "i"), 3, GRI, (), "has 4 band"),
        (("g", "r"), 1, (), (2,), "Bands 3 do not fit"),
        (("g", "r"), 2, (), (0,), "Pick 2 of them"),
    ],
)
def test_nothing_is_guessed(have, wanted, names, chosen, says):
    with pytest.raises(UserError, match=says):
        plan_bands(have, wanted, names, chosen)


def test_bands_on_the_command_line():
    assert parse_bands("2,3,4") == (1, 2, 3)
    assert parse_bands("1,1,1") == (0, 0, 0)
    for text in ("", "0,1", "g,r", "1,,2", "1;2", "-1"):
        with pytest.raises(UserError, match="no list of numbers"):
            parse_bands(text)
