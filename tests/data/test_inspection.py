"""The inspection list: nothing half, nothing lost, everything undone on request."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.inspection import mark, marked, marked_image, undo, unmark
from deeplense_core.workspace import home


def image(seed: int, **meta) -> LensImage:
    pixels = np.random.default_rng(seed).normal(size=(2, 9, 8)).astype(np.float32)
    return LensImage(pixels, 0.1, ("g", "r"), {"format": "NPY", "array_shape": (2, 9, 8), **meta})


def names() -> list[str]:
    return [one.name for one in marked()]


def test_marks_are_read_back_with_image_and_answer():
    answer = {"name": "<img src=x onerror=alert(1)>", "class": "vort", "score": 0.5, "ra": None}
    mark([(image(0, wcs="CTYPE1  = 'RA---TAN'", ra_deg=150.0), answer)])
    (one,) = marked()
    assert one.name == answer["name"]
    assert one.answer == answer
    back = marked_image(one)
    np.testing.assert_array_equal(back.pixels, image(0).pixels)
    assert (back.pixel_scale_arcsec, back.bands, back.meta["ra_deg"]) == (0.1, ("g", "r"), 150.0)


def test_undo_takes_back_what_was_done_and_no_more():
    first = mark([(image(0), {"name": "a"}), (image(1), {"name": "b"})])
    second = mark([(image(2), {"name": "c"})])
    third = unmark([marked()[0].id])
    assert names() == ["b", "c"]
    undo(third)
    assert names() == ["a", "b", "c"]
    undo(first)
    assert names() == ["c"]
    undo(second)
    assert names() == []


def test_the_same_image_is_on_the_list_once_with_its_last_answer():
    mark([(image(0), {"name": "a", "class": "no"}), (image(1), {"name": "b"})])
    again = mark([(image(0), {"name": "a", "class": "vort"})])
    assert names() == ["b", "a"]
    assert marked()[1].answer["class"] == "vort"
    undo(again)
    assert marked()[0].answer["class"] == "no"


def test_a_torn_line_costs_only_itself():
    mark([(image(0), {"name": "a"})])
    log = home() / "inspection" / "marks.jsonl"
    with open(log, "ab") as file:
        file.write(b'{"id": "torn", "add": [{"id": "x", "na')
    mark([(image(1), {"name": "b"})])
    assert names() == ["a", "b"]


def _mark_twenty(seed: int) -> None:
    for i in range(20):
        mark([(image(100 * seed + i), {"name": f"{seed}-{i}"})])


def test_two_who_mark_at_once_lose_nothing():
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_mark_twenty, (1, 2)))
    assert sorted(names()) == sorted(f"{s}-{i}" for s in (1, 2) for i in range(20))
    for line in (home() / "inspection" / "marks.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_lost_image_is_said():
    mark([(image(0), {"name": "a"})])
    (one,) = marked()
    (home() / "inspection" / "images" / f"{one.id}.npy").unlink()
    with pytest.raises(UserError, match="Mark it again"):
        marked_image(one)
