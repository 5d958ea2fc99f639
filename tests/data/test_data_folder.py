"""Writing and reading a data-set folder: what goes in comes out, and the same in gives the same bytes."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeplense_core.classes import canonical_class
from deeplense_core.data import (
    DEFAULT_SPLITS,
    DatasetWriter,
    list_datasets,
    open_dataset,
    stratified_splits,
)
from deeplense_core.errors import UserError
from deeplense_core.workspace import datasets_dir

CLASSES = ("no", "sphere", "vort")


def labels_of(n):
    return [CLASSES[i % 3] for i in range(n)]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_goes_in_comes_out(data):
    n = data.draw(st.integers(1, 40))
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    images = data.draw(hnp.arrays(np.float32, (n, *shape), elements=finite))
    labels = data.draw(st.lists(st.sampled_from([*CLASSES, ""]), min_size=n, max_size=n))
    cuts = sorted(data.draw(st.sets(st.integers(1, n))) | {0, n})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x"
        with DatasetWriter(out, classes=CLASSES, shape=shape, source={"kind": "test"}, seed=3) as writer:
            for a, b in zip(cuts, cuts[1:], strict=False):
                writer.append(images[a:b], {"label": labels[a:b], "truth_mass": np.arange(a, b, dtype=np.float32)})
            writer.finish()
        dataset = open_dataset(out)
        np.testing.assert_array_equal(dataset.images, images)
        assert [*dataset.catalog["label"]] == labels
        assert [CLASSES[k] if k >= 0 else "" for k in dataset.labels] == labels
        assert dataset.labels.dtype == np.int64
        np.testing.assert_array_equal(dataset.truth("mass"), np.arange(n))
        parts = [dataset.rows(split) for split in ("train", "val", "test")]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), dataset.rows("all"))
        np.testing.assert_array_equal(
            dataset.catalog["split"], stratified_splits(labels, dataset.catalog["id"], DEFAULT_SPLITS, seed=3)
        )


def test_same_input_same_bytes_however_it_is_cut(make_dataset, rng):
    images, labels = rng.random((100, 1, 8, 8), dtype=np.float32), labels_of(100)
    one = make_dataset("one", images, labels, batch=100, truth_x=np.arange(100.0))
    two = make_dataset("two", images, labels, batch=7, truth_x=np.arange(100.0))
    for name in ("images.npy", "catalog.parquet"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()
    assert one.fingerprint == two.fingerprint
    other = make_dataset("other", images + 1, labels, truth_x=np.arange(100.0))
    relabelled = make_dataset("relabelled", images, labels[::-1], truth_x=np.arange(100.0))
    assert len({one.fingerprint, other.fingerprint, relabelled.fingerprint}) == 3


def test_manifest_tells_what_the_folder_holds(make_dataset, rng):
    images = rng.random((60, 2, 5, 4), dtype=np.float32)
    dataset = make_dataset("facts", images, labels_of(60))
    manifest = json.loads((dataset.path / "manifest.json").read_text())
    assert manifest["hashes"]["images"] == hashlib.sha256(images.tobytes()).hexdigest()
    catalog_bytes = (dataset.path / "catalog.parquet").read_bytes()
    assert manifest["hashes"]["catalog"] == hashlib.sha256(catalog_bytes).hexdigest()
    for split in ("train", "val", "test"):
        ids = "".join(f"{i}\n" for i in dataset.catalog["id"].to_numpy()[dataset.rows(split)])
        assert manifest["hashes"]["splits"][split] == hashlib.sha256(ids.encode()).hexdigest()
    assert manifest["counts"] == {name: {"train": 16, "val": 2, "test": 2} for name in CLASSES}
    assert (dataset.shape, len(dataset), dataset.classes) == ((2, 5, 4), 60, CLASSES)
    assert sorted(os.listdir(dataset.path)) == ["catalog.parquet", "images.npy", "manifest.json"]
    loaded = np.load(dataset.path / "images.npy", allow_pickle=False)  # numpy itself agrees with the header
    np.testing.assert_array_equal(loaded, images)


def test_many_row_groups_keep_their_order(tmp_path):
    n = 40_000
    with DatasetWriter(tmp_path / "x", classes=("a", "b"), shape=(1, 1, 2), source={}) as writer:
        for start in range(0, n, 999):
            rows = np.arange(start, min(start + 999, n))
            pixels = np.stack([rows, -rows], axis=1).astype(np.float32).reshape(-1, 1, 1, 2)
            writer.append(pixels, {"label": np.array(["a", "b"])[rows % 2], "truth_row": rows})
        dataset = writer.finish()
    np.testing.assert_array_equal(dataset.truth("row"), np.arange(n))
    np.testing.assert_array_equal(dataset.labels, np.arange(n) % 2)
    assert dataset.manifest["counts"]["a"] == {"train": 16_000, "val": 2_000, "test": 2_000}


def test_given_splits_stay_and_only_the_rest_is_divided(tmp_path, rng):
    split = ["test"] * 10 + [""] * 20
    with DatasetWriter(tmp_path / "x", classes=("a",), shape=(1, 2, 2), source={}) as writer:
        writer.append(rng.random((30, 1, 2, 2)), {"label": ["a"] * 30, "split": split})
        dataset = writer.finish({"train": 0.75, "val": 0.25})
    assert dataset.manifest["counts"]["a"] == {"train": 15, "val": 5, "test": 10}
    np.testing.assert_array_equal(dataset.rows("test"), np.arange(10))


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.sampled_from(CLASSES), min_size=1, max_size=200),
    seed=st.integers(0, 2**31),
    cuts=st.tuples(st.integers(0, 10), st.integers(0, 10)).map(sorted),
    random=st.randoms(use_true_random=False),
)
def test_splits_hang_on_seed_and_id_alone(labels, seed, cuts, random):
    fractions = {"train": cuts[0] / 10, "val": (cuts[1] - cuts[0]) / 10, "test": (10 - cuts[1]) / 10}
    ids = [f"image{i}" for i in range(len(labels))]
    splits = stratified_splits(labels, ids, fractions, seed)
    for name in set(labels):
        inside = [s for s, label in zip(splits, labels, strict=True) if label == name]
        for split, fraction in fractions.items():
            assert abs(inside.count(split) - fraction * len(inside)) <= 1
    order = list(range(len(labels)))
    random.shuffle(order)
    again = stratified_splits([labels[i] for i in order], [ids[i] for i in order], fractions, seed)
    np.testing.assert_array_equal(again, splits[order])


def test_an_added_image_moves_at_most_those_beside_a_cut():
    ids = [str(i) for i in range(1001)]
    before = stratified_splits(["a"] * 1000, ids[:1000], DEFAULT_SPLITS)
    after = stratified_splits(["a"] * 1001, ids, DEFAULT_SPLITS)
    assert (before != after[:1000]).sum() <= 2
    reseeded = stratified_splits(["a"] * 1000, ids[:1000], DEFAULT_SPLITS, seed=1)
    assert 200 < (before != reseeded).sum() < 500


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ({"train": 0.5, "val": 0.1}, "sum to 1"),
        ({"train": 1.5, "val": -0.5}, "between 0 and 1"),
        ({"train": float("nan"), "val": 1.0}, "between 0 and 1"),
        ({"train": 0.5, "tset": 0.5}, "Did you mean 'test'"),
    ],
)
def test_wrong_fractions_are_refused(fractions, words):
    with pytest.raises(UserError, match=words):
        stratified_splits(["a"], ["1"], fractions)


@pytest.mark.parametrize(
    ("canonical", "names"),
    [
        ("no", ["no", "No", "no_sub", "no_substructure", "No Substructure", "no-sub"]),
        ("sphere", ["sphere", "cdm", "CDM", "subhalo"]),
        ("vort", ["vort", "axion", "vortex", "Vortex"]),
        ("Spiral galaxy", ["Spiral galaxy"]),
    ],
)
def test_class_names_of_different_sets_meet(canonical, names):
    assert {canonical_class(name) for name in names} == {canonical}


def test_truth_and_rows_name_the_nearest(make_dataset, rng):
    dataset = make_dataset("x", rng.random((9, 1, 4, 4)), labels_of(9), truth_mass=np.ones(9))
    with pytest.raises(UserError, match="Did you mean 'truth_mass'"):
        dataset.truth("maas")
    with pytest.raises(UserError, match="Did you mean 'train'"):
        dataset.rows("trian")


def test_list_is_newest_first_and_leaves_out_what_is_no_data_set(rng):
    for name in ("older", "newer"):
        with DatasetWriter(datasets_dir() / name, classes=("a",), shape=(1, 2, 2), source={}) as writer:
            writer.append(rng.random((3, 1, 2, 2)), {"label": ["a"] * 3})
            writer.finish()
    (datasets_dir() / "stray").mkdir()
    (datasets_dir() / "file.txt").write_text("x")
    assert [dataset.name for dataset in list_datasets()] == ["newer", "older"]


def test_pixels_are_mapped_not_loaded(make_dataset, rng):
    dataset = make_dataset("x", rng.random((9, 1, 4, 4)), labels_of(9))
    assert isinstance(dataset.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 0


BAD_APPENDS = [
    (np.ones((2, 1, 4, 5)), {"label": ["a", "a"]}, r"shape \(1, 4, 5\) do not fit"),
    (np.full((2, 1, 4, 4), np.nan), {"label": ["a", "a"]}, "Image 3 has NaN"),
    (np.full((2, 1, 4, 4), 1e300), {"label": ["a", "a"]}, "Image 3 has NaN or infinite"),
    (np.ones((2, 1, 4, 4)), {"label": ["a", "spere"]}, "Label 'spere' is not a class. Did you mean 'sphere'"),
    (np.ones((2, 1, 4, 4)), {"label": ["a", "a"], "split": ["train", "dev"]}, "Unknown split 'dev'"),
]


@pytest.mark.parametrize(("images", "rows", "words"), BAD_APPENDS)
def test_bad_batches_are_refused_and_nothing_is_left(images, rows, words, tmp_path):
    out = tmp_path / "sets" / "x"
    with (  # noqa: PT012
        pytest.raises(UserError, match=words),
        DatasetWriter(out, classes=("a", "sphere"), shape=(1, 4, 4), source={}) as writer,
    ):
        writer.append(np.ones((3, 1, 4, 4)), {"label": ["a"] * 3})
        writer.append(images, rows)
    assert os.listdir(out.parent) == []


def test_repeated_ids_are_refused(tmp_path):
    with (  # noqa: PT012
        pytest.raises(UserError, match="same id"),
        DatasetWriter(tmp_path / "x", classes=("a",), shape=(1, 1, 1), source={}) as writer,
    ):
        writer.append(np.ones((2, 1, 1, 1)), {"label": ["a", "a"], "id": ["one", "one"]})
        writer.finish()


def test_an_empty_set_is_refused(tmp_path):
    with (
        pytest.raises(UserError, match="No images came"),
        DatasetWriter(tmp_path / "x", classes=("a",), shape=(1, 1, 1), source={}) as writer,
    ):
        writer.finish()
    assert not (tmp_path / "x").exists()
