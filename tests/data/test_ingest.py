"""Ingest: every published layout comes out with its classes, splits and channels; what is bad is named."""

import io
import json
import os

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from deeplense_core import ingest as ingest_module
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.ingest import LAYOUTS, ingest


@pytest.fixture(autouse=True)
def quick_audit(request, monkeypatch):
    """The audit has its own tests; here only those marked by name wait for scikit-learn."""
    if "audit" not in request.node.name:
        monkeypatch.setattr(ingest_module, "audit", lambda dataset: {})


@pytest.fixture
def src(tmp_path):
    return tmp_path / "src"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def fill(src, rng):
    """Writes images: fill(folder, count, shape, dtype, first) below the source."""

    def write(folder, count, shape, dtype=np.float64, first=0):
        (src / folder).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            np.save(src / folder / f"{i}.npy", rng.random(shape).astype(dtype))

    return write


def axion(path, image, mass):
    held = np.empty(2, dtype=object)
    held[0], held[1] = image, mass
    np.save(path, held, allow_pickle=True)


def skipped(dataset):
    return {f["file"]: (f["reason"], f["why"]) for f in dataset.manifest["report"]["skipped_files"]}


# --- layouts


@pytest.mark.parametrize("names", [("no", "sphere", "vort"), ("no_substructure", "subhalo", "vortex")])
def test_common_test(fill, src, out, names):
    for name in names:
        fill(f"train/{name}", 20, (1, 150, 150))
        fill(f"val/{name}", 5, (1, 150, 150))
    seen = []
    dataset = ingest(src, out, progress=lambda done, total: seen.append((done, total)))
    assert dataset.manifest["source"]["layout"] == "common-test"
    assert (dataset.classes, dataset.shape) == (("no", "sphere", "vort"), (1, 150, 150))
    assert dataset.pixel_scale_arcsec == 0.05
    assert dataset.manifest["counts"] == {n: {"train": 18, "val": 2, "test": 5} for n in dataset.classes}
    test = dataset.catalog.iloc[dataset.rows("test")]
    assert all(i.startswith("val/") for i in test["id"])
    assert seen == [(k, 75) for k in range(1, 76)]
    for row in (0, 40, 74):
        name = dataset.catalog["id"][row]
        np.testing.assert_array_equal(dataset.images[row], np.load(src / name).astype(np.float32))
        assert dict(zip(names, dataset.classes, strict=True))[name.split("/")[1]] == dataset.catalog["label"][row]


def test_models_1_to_3_with_pickled_axions(fill, src, out, rng):
    fill("no_sub", 10, (64, 64))
    fill("cdm", 10, (64, 64))
    (src / "axion").mkdir()
    images = rng.random((10, 64, 64))
    for i, image in enumerate(images):
        axion(src / "axion" / f"{i}.npy", image, (i + 1) * 1e-24)
    dataset = ingest(src, out)
    assert dataset.manifest["source"]["layout"] == "model-1-3"
    assert dataset.pixel_scale_arcsec is None  # Models II and III share their size
    assert dataset.manifest["counts"]["vort"] == {"train": 8, "val": 1, "test": 1}
    mass, is_axion = dataset.truth("axion_mass"), dataset.catalog["label"] == "vort"
    assert np.isnan(mass[~is_axion]).all()
    for row in np.flatnonzero(is_axion):
        number = int(dataset.catalog["id"][row].split("/")[1].removesuffix(".npy"))
        assert mass[row] == (number + 1) * 1e-24
        np.testing.assert_array_equal(dataset.images[row, 0], images[number].astype(np.float32))


def test_model_1_is_known_by_its_size(fill, src, out):
    for name in ("no_sub", "cdm", "axion"):
        fill(name, 3, (150, 150))
    dataset = ingest(src, out)
    assert (dataset.manifest["source"]["layout"], dataset.pixel_scale_arcsec) == ("model-1-3", 0.05)


def test_model_4_channels_are_found_and_can_be_overruled(fill, src, out, tmp_path):
    for split in ("train", "val"):
        for name in ("no", "cdm", "axion"):
            fill(f"{split}/{name}", 4, (64, 64, 3), np.float32)
    dataset = ingest(src, out)
    assert (dataset.manifest["source"]["layout"], dataset.shape) == ("model-4", (3, 64, 64))
    assert "Channels are the last axis, found by their shapes." in dataset.manifest["report"]["notes"]
    original = np.load(src / dataset.catalog["id"][0])
    np.testing.assert_array_equal(dataset.images[0], np.moveaxis(original, 2, 0))
    with pytest.raises(UserError, match="64 channels; at most 16"):
        ingest(src, tmp_path / "wrong", channels="first")


def test_channels_first_can_be_said(fill, src, out):
    for name in ("a", "b"):
        fill(name, 3, (3, 20, 2))
    assert ingest(src, out).shape == (2, 3, 20)
    assert ingest(src, out.with_name("first"), channels="first").shape == (3, 20, 2)


def test_foundation_set(fill, src, out):
    for name in ("no_sub", "cdm", "axion"):
        fill(name, 10, (64, 64))
    dataset = ingest(src, out)
    assert (dataset.manifest["source"]["layout"], dataset.classes) == ("foundation", ("no", "sphere", "vort"))
    assert "truth_axion_mass" not in dataset.catalog


def test_any_folder_of_class_folders_in_any_format(src, out, rng):
    pixels = rng.integers(0, 255, (12, 16, 16)).astype(np.uint8)
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": -5e-5, "CD2_2": 5e-5})
    writers = {
        "x.npy": lambda p, a: np.save(p, a),
        "x.npz": lambda p, a: np.savez(p, image=a),
        "x.fits": lambda p, a: fits.PrimaryHDU(a, header).writeto(p),
        "x.png": lambda p, a: Image.fromarray(a).save(p),
        "x.tiff": lambda p, a: Image.fromarray(a).save(p),
        "x.jpg": lambda p, a: Image.fromarray(a).save(p, quality=100),
    }
    for k, (name, write) in enumerate([*writers.items()] * 2):
        folder = src / ("Spiral galaxy" if k < 6 else "ring")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name, pixels[k])
    dataset = ingest(src, out)
    assert (dataset.classes, len(dataset)) == (("Spiral galaxy", "ring"), 12)
    assert dataset.manifest["source"]["layout"] == "class-folders"
    png = dataset.catalog["id"].tolist().index("ring/x.png")
    np.testing.assert_array_equal(dataset.images[png, 0], pixels[9])


def test_fits_pixel_scale_band_and_unit_are_kept(src, out, rng):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": -5e-5, "CD2_2": 5e-5,
                          "FILTER": "VIS", "BUNIT": "nJy"})  # fmt: skip
    for name in ("a", "b"):
        (src / name).mkdir(parents=True)
        for i in range(3):
            fits.PrimaryHDU(rng.random((16, 16)), header).writeto(src / name / f"{i}.fits")
    dataset = ingest(src, out)
    assert dataset.pixel_scale_arcsec == pytest.approx(0.18)
    assert (dataset.bands, dataset.manifest["units"]) == (("VIS",), "nJy")
    assert ingest(src, out.with_name("said"), pixel_scale_arcsec=0.2).pixel_scale_arcsec == 0.2


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train", "val", "test"], {"train": 10, "val": 10, "test": 10}),
        (["train", "test"], {"train": 9, "val": 1, "test": 10}),
        (["training", "validation"], {"train": 9, "val": 1, "test": 10}),
        (["Train"], {"train": 8, "val": 1, "test": 1}),
    ],
)
def test_published_splits(fill, src, out, folders, expected):
    for folder in folders:
        for name in ("a", "b"):
            fill(f"{folder}/{name}", 10, (8, 8))
    assert ingest(src, out).manifest["counts"]["a"] == expected


def test_wrapping_folders_of_archives_are_stepped_into(fill, src, out):
    (src / "__MACOSX" / "dataset").mkdir(parents=True)
    for name in ("a", "b"):
        fill(f"dataset/images/{name}", 4, (8, 8))
    assert ingest(src, out).classes == ("a", "b")


def test_a_named_layout_must_fit(fill, src, out):
    for name in ("no_sub", "cdm", "axion"):
        fill(name, 3, (64, 64))
    assert ingest(src, out, "class-folders").manifest["source"]["layout"] == "class-folders"
    with pytest.raises(UserError, match="This is not layout 'common-test'.*Found: classes no, sphere, vort"):
        ingest(src, out.with_name("b"), "common-test")
    with pytest.raises(UserError, match="Unknown layout 'fundation'. Did you mean 'foundation'"):
        ingest(src, out.with_name("c"), "fundation")
    assert all(entry.summary and entry.about["tree"] for entry in LAYOUTS.values())


def test_same_folder_same_bytes(fill, src, out):
    for name in ("a", "b"):
        fill(name, 20, (8, 8))
    one, two = ingest(src, out), ingest(src, out.with_name("again"))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != ingest(src, out.with_name("reseeded"), seed=1).fingerprint


# --- what is left out, and said


class Canary:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_every_bad_file_is_named_with_its_reason(fill, src, out, tmp_path, rng):
    fill("a", 30, (8, 8))
    fill("b", 30, (8, 8))
    plain = io.BytesIO()
    np.save(plain, rng.random((8, 8)))
    nan = rng.random((8, 8))
    nan[0, 0] = np.nan
    held = np.empty(2, dtype=object)
    held[0], held[1] = Canary(tmp_path / "canary"), 1.0
    np.save(src / "a" / "bad-pickle.npy", held, allow_pickle=True)
    np.save(src / "a" / "bad-nan.npy", nan)
    np.save(src / "a" / "bad-inf.npy", np.full((8, 8), np.inf))
    np.save(src / "a" / "bad-blank.npy", np.zeros((8, 8)))
    np.save(src / "a" / "bad-shape.npy", rng.random((9, 8)))
    np.save(src / "a" / "bad-text.npy", np.full((8, 8), "x"))
    (src / "a" / "bad-torn.npy").write_bytes(plain.getvalue()[:-1])
    (src / "a" / "bad-empty.npy").touch()
    (src / "a" / "bad-readme.txt").write_text("hello")
    (src / "a" / "bad-folder").mkdir()
    (src / "a" / ".DS_Store").write_text("x")
    claim = plain.getvalue()[:128].replace(b"(8, 8), }          ", b"(800000, 800000), }")
    (src / "a" / "bad-huge.npy").write_bytes(claim)
    dataset = ingest(src, out)
    assert not (tmp_path / "canary").exists()
    assert len(dataset) == 60
    assert {k.removeprefix("a/bad-"): reason for k, (reason, _) in skipped(dataset).items()} == {
        "pickle.npy": "unsafe pickle", "nan.npy": "NaN or infinite pixels", "inf.npy": "NaN or infinite pixels",
        "blank.npy": "constant image", "shape.npy": "other shape", "text.npy": "wrong dtype",
        "torn.npy": "truncated file", "empty.npy": "empty file", "readme.txt": "unknown format",
        "folder": "folder in a class folder", "huge.npy": "too large",
    }  # fmt: skip
    assert dataset.manifest["report"]["skipped"]["NaN or infinite pixels"] == 2
    assert "most have (1, 8, 8)" in skipped(dataset)["a/bad-shape.npy"][1]
    assert (dataset.manifest["report"]["found"], dataset.manifest["report"]["kept"]) == (70, 60)


def test_a_stray_pickle_among_plain_files_is_not_taken_for_an_image_without_a_mass(fill, src, out, monkeypatch):
    fill("a", 10, (8, 8))
    fill("b", 10, (8, 8))
    axion(src / "b" / "5.npy", np.random.default_rng(0).random((8, 8)), 1e-23)
    assert np.isfinite(ingest(src, out).truth("axion_mass")).sum() == 1
    monkeypatch.setattr(ingest_module, "_SAMPLED", 2)  # the look at some files misses it
    assert skipped(ingest(src, out.with_name("b")))["b/5.npy"][0] == "pickled among plain files"


def test_only_the_first_fifty_are_named_but_all_are_counted(fill, src, out):
    fill("a", 10, (8, 8))
    fill("b", 10, (8, 8))
    for i in range(70):
        (src / "b" / f"bad{i:03}.npy").touch()
    report = ingest(src, out).manifest["report"]
    assert report["skipped"] == {"empty file": 70}
    assert [f["file"] for f in report["skipped_files"]] == [f"b/bad{i:03}.npy" for i in range(50)]


def test_the_shape_of_most_is_kept(fill, src, out):
    fill("a", 5, (9, 9))
    fill("b", 20, (8, 8))
    fill("a", 4, (8, 8), first=5)
    dataset = ingest(src, out)
    assert (dataset.shape, len(dataset)) == ((1, 8, 8), 24)
    assert dataset.manifest["report"]["skipped"] == {"other shape": 5}


def test_an_image_in_two_published_splits_stays_in_test_only(fill, src, out):
    for folder in ("train", "val"):
        for name in ("a", "b"):
            fill(f"{folder}/{name}", 10, (8, 8))
    twin = np.load(src / "val/a/3.npy")
    np.save(src / "train/a/copy.npy", twin)
    np.save(src / "train/a/other.npy", np.load(src / "train/a/0.npy"))
    dataset = ingest(src, out)
    report = dataset.manifest["report"]
    assert report["in_two_splits"] == [["val/a/3.npy", "train/a/copy.npy"]]
    assert report["skipped"] == {"duplicate": 2}
    assert any("1 images were in two published splits" in note for note in report["notes"])
    assert dataset.catalog.set_index("id")["split"]["val/a/3.npy"] == "test"
    assert "train/a/copy.npy" not in set(dataset.catalog["id"])


def test_one_image_under_two_labels_is_said(fill, src, out):
    fill("a", 10, (8, 8))
    fill("b", 10, (8, 8))
    np.save(src / "b" / "twin.npy", np.load(src / "a" / "0.npy"))
    reason, why = skipped(ingest(src, out))["b/twin.npy"]
    assert reason == "same image, other label"
    assert "a/0.npy, which is labelled a" in why


def test_one_class_only_is_taken_with_a_warning(fill, src, out):
    fill("a", 10, (8, 8))
    dataset = ingest(src, out)
    assert dataset.classes == ("a",)
    assert any("one class only, a" in note for note in dataset.manifest["report"]["notes"])


def test_a_folder_of_lenses_beside_other_classes(fill, src, out):
    """One batch holds nothing but lenses: its columns are those of all others."""
    fill("lens", 70, (8, 8))
    fill("spiral", 70, (8, 8))
    dataset = ingest(src, out)
    assert (dataset.classes, len(dataset)) == (("lens", "spiral"), 140)
    assert list(dataset.catalog.columns) == ["id", "split", "label"]


@pytest.mark.parametrize("shape", [(150, 150), (64, 64)])
def test_images_without_a_label_are_of_no_published_set(fill, src, out, shape):
    """Their size alone does not say how large a pixel is on the sky."""
    fill("", 5, shape)
    dataset = ingest(src, out)
    assert dataset.manifest["source"]["layout"] == "unlabelled-folder"
    assert dataset.pixel_scale_arcsec is None


def test_folders_beside_the_splits_are_said(fill, src, out):
    for name in ("a", "b"):
        fill(f"train/{name}", 5, (8, 8))
        fill(f"test/{name}", 5, (8, 8))
    fill("extra/a", 5, (8, 8))
    assert skipped(ingest(src, out))["extra"][0] == "folder beside the splits"


def test_file_names_of_any_bytes(fill, src, out):
    fill("a", 5, (8, 8))
    fill("b", 5, (8, 8))
    odd = [b"\xff\xfe.npy", b"<img onerror=x>.npy", "\u202egnp.npy".encode(), b"new\nline.npy"]
    for i, name in enumerate(odd):
        os.rename(src / "a" / f"{i}.npy", os.path.join(os.fsencode(src / "a"), name))
    dataset = ingest(src, out)
    assert len(dataset) == 10
    assert "a/<img onerror=x>.npy" in set(dataset.catalog["id"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda src: None, "does not exist"),
        (lambda src: src.write_text("x"), "is a file"),
        (lambda src: src.mkdir(), "is empty"),
        (lambda src: (src.mkdir(), (src / "1.npy").touch()), "None of the 1 files can be used"),
        (lambda src: (src / "a").mkdir(parents=True), "folders in .* hold no files"),
        (lambda src: (src / "train" / "a").mkdir(parents=True), "folders in .* hold no files"),
        (lambda src: ((src / "a").mkdir(parents=True), (src / "a" / "1.npy").touch()),
         r"None of the 1 files can be used. The first: '1.npy' is empty"),
    ],
)  # fmt: skip
def test_a_source_without_images_is_one_message(src, out, make, words):
    make(src)
    with pytest.raises(UserError, match=words):
        ingest(src, out)
    assert not out.exists()
    assert not any(p.name.startswith(".partial") for p in out.parent.iterdir())


def test_an_existing_target_is_refused_before_reading_pixels(fill, src, out, monkeypatch):
    fill("a", 3, (8, 8))
    out.mkdir()
    monkeypatch.setattr(ingest_module, "load", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(UserError, match="exists already"):
        ingest(src, out)


def test_the_audit_is_part_of_the_report(fill, src, out):
    for name, level in (("dark", 0.0), ("bright", 5.0)):
        fill(name, 40, (16, 16))
        for path in (src / name).iterdir():
            np.save(path, np.load(path) + level)
    dataset = open_dataset(ingest(src, out).path)
    found = json.loads((dataset.path / "manifest.json").read_text())["report"]["audit"]
    assert found["statistics_probe"]["severity"] == "warning"
    assert found["duplicates"]["severity"] == "ok"


def test_the_published_images_come_in_as_a_set(real_data, src, out):
    for name, folder in (("lucas_axion", "axion"), ("lucas_cdm", "cdm"), ("lucas_nosub", "no_sub")):
        (src / folder).mkdir(parents=True)
        np.save(src / folder / "1.npy", np.load(real_data / "deeplense" / f"{name}.npy"))
    dataset = ingest(src, out)
    assert (dataset.shape, sorted(dataset.catalog["label"])) == ((1, 64, 64), ["no", "sphere", "vort"])
