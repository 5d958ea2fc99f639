"""The audit finds each leak that is planted, and is silent where there is none."""

import json

import numpy as np
import pytest

from deeplense_core import audit as checks
from deeplense_core.audit import audit
from deeplense_core.data import DatasetWriter

CLASSES = ("no", "sphere", "vort")


@pytest.fixture
def rings(rng):
    """Noisy rings, all much alike on a thumbnail: (150, 1, 40, 40)."""
    y, x = np.mgrid[-20:20, -20:20] + 0.5
    radius = rng.uniform(8, 12, 150)[:, None, None]
    ring = np.exp(-(((np.hypot(x, y) - radius) / 2) ** 2))
    return (10 * ring + rng.normal(0, 1, ring.shape))[:, None].astype(np.float32)


@pytest.fixture
def labels():
    return np.array([CLASSES[i % 3] for i in range(150)])


@pytest.fixture
def split():
    return np.array(["test"] * 30 + ["val"] * 30 + ["train"] * 90)


def test_a_clean_set_is_found_clean(make_dataset, rings, labels, split):
    seen = []
    found = audit(make_dataset("x", rings, labels, split=split), progress=seen.append)
    assert {name: finding["severity"] for name, finding in found.items()} == dict.fromkeys(
        ["balance", "duplicates", "near_duplicates", "statistics_probe", "scaling"], "ok"
    )
    assert json.loads(json.dumps(found)) == found
    assert seen[-1] == 1


def test_exact_copies_between_splits(make_dataset, rings, labels, split):
    rings[100], rings[140], rings[141] = rings[3], rings[40], rings[130]
    found = checks.exact_duplicates(make_dataset("x", rings, labels, split=split))
    assert (found["severity"], found["count"]) == ("warning", 2)
    assert found["pairs"] == [["test: 0000003", "train: 0000100"], ["val: 0000040", "train: 0000140"]]
    inside = rings.copy()
    inside[120], inside[140] = inside[119], inside[118]
    again = checks.exact_duplicates(make_dataset("y", inside[90:], labels[90:], split=split[90:]))
    assert (again["severity"], again["repeated"]) == ("note", 3)  # 141 was one already


COPIES = {
    "turned": lambda image: np.rot90(image, 1, (1, 2)),
    "flipped": lambda image: image[:, :, ::-1],
    "transposed": lambda image: image.transpose(0, 2, 1),
    "rescaled": lambda image: 0.01 * image + 3,
    "with a little noise": lambda image: image + np.random.default_rng(1).normal(0, 0.2, image.shape),
    "rounded": lambda image: np.round(image * 3) / 3,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_near_copies_between_splits(make_dataset, rings, labels, split, copy):
    rings[100] = copy(rings[3])
    found = checks.near_duplicates(make_dataset("x", rings, labels, split=split))
    assert (found["severity"], found["pairs"]) == ("warning", [["0000003", "0000100"]])


def test_the_same_sky_with_other_noise_is_no_near_copy(make_dataset, rings, labels, split, rng):
    rings[:] = rings.mean(axis=0) + rng.normal(0, 1, rings.shape)
    assert checks.near_duplicates(make_dataset("x", rings, labels, split=split))["count"] == 0


def test_bright_lenses_that_differ_by_their_substructure_alone_are_no_near_copies(make_dataset, rings, labels, split):
    y, x = np.mgrid[-20:20, -20:20] + 0.5
    for k in range(len(rings)):
        angle = 0.3 * k
        clump = np.exp(-((x - 10 * np.cos(angle)) ** 2 + (y - 10 * np.sin(angle)) ** 2) / 4)
        rings[k, 0] = 1000 * np.exp(-(((np.hypot(x, y) - 10) / 2) ** 2)) + 20 * clump + rings[k, 0] * 0.1
    assert checks.near_duplicates(make_dataset("x", rings, labels, split=split))["count"] == 0


def test_noise_free_images_are_near_copies_only_where_they_are_copies(make_dataset, labels, split):
    y, x = np.mgrid[-20:20, -20:20] + 0.5
    at = np.random.default_rng(0).uniform(-3, 3, (150, 2, 1, 1))
    images = np.exp(-(((np.hypot(x - at[:, 0], y - at[:, 1]) - 9) / 2) ** 2))[:, None].astype(np.float32)
    images[100] = np.round(255 * images[3, :, ::-1])
    assert checks.near_duplicates(make_dataset("x", images, labels, split=split))["pairs"] == [["0000003", "0000100"]]


def test_images_that_are_not_square(make_dataset, rng, labels, split):
    images = rng.normal(0, 1, (150, 2, 20, 33)).astype(np.float32)
    images[100] = images[3, :, ::-1]
    assert checks.near_duplicates(make_dataset("x", images, labels, split=split))["pairs"] == [["0000003", "0000100"]]


LEAKS = {
    "noise": lambda images, k: images + np.random.default_rng(1).normal(0, 1, images.shape) * k,
    "background": lambda images, k: images + 0.5 * k,
    "peak": lambda images, k: np.where(images > 8, images + 3 * k, images),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_classes_that_statistics_give_away(make_dataset, rings, labels, leak):
    for k, name in enumerate(CLASSES):
        rings[labels == name] = leak(rings[labels == name], k)
    found = checks.statistics_probe(make_dataset("x", rings, labels))
    assert found["severity"] == "warning"
    assert found["auc"] > 0.7


def test_noise_is_measured_in_pixel_units(rng):
    tilt = np.linspace(0, 5, 200)
    image = rng.normal(0, 2.0, (1, 200, 200)) + tilt
    assert checks.image_statistics(image)[4] == pytest.approx(2.0, rel=0.05)


def test_too_small_for_the_probe(make_dataset, rings, labels):
    assert checks.statistics_probe(make_dataset("x", rings[:12], labels[:12]))["auc"] is None


def test_own_extremes_are_noted(make_dataset, rings, labels):
    low, high = rings.min(axis=(2, 3), keepdims=True), rings.max(axis=(2, 3), keepdims=True)
    found = checks.scaling(make_dataset("x", (rings - low) / (high - low), labels))
    assert (found["severity"], found["share"]) == ("note", 1.0)


def test_balance(make_dataset, rings, labels, split, tmp_path):
    lone = checks.balance(make_dataset("one", rings, ["no"] * 150, classes=CLASSES))
    assert (lone["severity"], "one class only (no)" in lone["text"]) == ("warning", True)
    labels[:30] = np.where(labels[:30] == "vort", "no", labels[:30])
    missing = checks.balance(make_dataset("two", rings, labels, split=split))
    assert (missing["severity"], "test has no vort" in missing["text"]) == ("warning", True)
    uneven = np.array(["no"] * 140 + ["sphere"] * 10)
    found = checks.balance(make_dataset("three", rings, uneven))
    assert (found["severity"], "14 times" in found["text"]) == ("note", True)


def test_unlabelled_images_are_left_out_of_the_probe(tmp_path, rings):
    with DatasetWriter(tmp_path / "x", classes=CLASSES, shape=(1, 40, 40), source={}) as writer:
        writer.append(rings, {"label": [""] * 150})
        dataset = writer.finish()
    assert audit(dataset)["statistics_probe"]["auc"] is None


def test_large_sets_are_sampled(make_dataset, rings, labels, split, monkeypatch):
    monkeypatch.setattr(checks, "MAX_COMPARED", 40)
    found = checks.near_duplicates(make_dataset("x", rings, labels, split=split))
    assert "20 held-out against 20 train images" in found["text"]
