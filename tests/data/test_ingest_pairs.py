"""Folders of coarse and fine images: matched by number, kept as published, and told what does not fit."""

import numpy as np
import pytest

from deeplense_core.audit import audit
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.ingest import ingest
from deeplense_core.ingest.pairs import check_scale


@pytest.fixture
def src(tmp_path):
    return tmp_path / "src"


@pytest.fixture
def pair(src, rng):
    """Writes a coarse image and its fine one below the source, made of one sky and two noises."""

    def write(name_lr, name_hr, side=8, scale=2, channels=1):
        sky = np.cumsum(rng.normal(size=(channels, side * scale, side * scale)), axis=2)
        binned = sky.reshape(channels, side, scale, side, scale).mean((2, 4))
        for name, image in ((name_lr, binned), (name_hr, sky)):
            if name:
                (src / name).parent.mkdir(parents=True, exist_ok=True)
                np.save(src / name, 7 * image + rng.normal(size=image.shape))

    return write


def skipped(dataset):
    return {f["file"]: f["reason"] for f in dataset.manifest["report"]["skipped_files"]}


@pytest.mark.parametrize(("lr", "hr"), [
    ("LR/sample{}.npy", "HR/sample{}.npy"), ("LR/LR_{}.npy", "HR/HR_{}.npy"),
    ("deep/er/LR/{}.npy", "deep/er/HR/{}.npy"), ("lr/x2_{}.npy", "hr/x4_{}.npy"),
])
def test_pairs_are_matched_by_number(src, pair, tmp_path, lr, hr):
    for i in (1, 2, 10, 30):
        pair(lr.format(i), hr.format(i))
    made = ingest(src, tmp_path / "out")
    assert made.manifest["source"]["layout"] == "pairs"
    assert made.catalog["id"].tolist() == ["1", "2", "10", "30"]
    assert (made.shape, made.target_shape, made.classes) == ((1, 8, 8), (1, 16, 16), ())
    assert made.labels.tolist() == [-1] * 4
    for row, i in enumerate((1, 2, 10, 30)):
        np.testing.assert_array_equal(made.images[row], np.load(src / lr.format(i)).astype(np.float32))
        np.testing.assert_array_equal(made.targets[row], np.load(src / hr.format(i)).astype(np.float32))
    assert made.manifest["counts"]["unlabelled"] == {"train": 3, "val": 1, "test": 0}
    assert open_dataset(made.path).fingerprint == made.fingerprint


def test_the_published_geometry_is_known(src, pair, tmp_path):
    for i in range(3):
        pair(f"LR/sample{i}.npy", f"HR/sample{i}.npy", side=75)
    made = ingest(src, tmp_path / "out", layout="pairs")
    assert made.pixel_scale_arcsec == pytest.approx(0.1)
    assert made.target_pixel_scale_arcsec == pytest.approx(0.05)
    other = ingest(src, tmp_path / "other", pixel_scale_arcsec=0.168)
    assert other.target_pixel_scale_arcsec == pytest.approx(0.084)


def test_splits_of_their_own_stay(src, pair, tmp_path):
    for split in ("train", "val", "test"):
        for i in range(3):
            pair(f"{split}/LR/{i}.npy", f"{split}/HR/{i}.npy")
    made = ingest(src, tmp_path / "out")
    assert made.manifest["counts"]["unlabelled"] == {"train": 3, "val": 3, "test": 3}
    assert made.catalog["id"].tolist()[0] == "test/0"


def test_what_stays_alone_is_named(src, pair, tmp_path):
    for i in (1, 2, 3):
        pair(f"LR/sample{i}.npy", f"HR/sample{i}.npy")
    pair("LR/sample4.npy", None)
    pair(None, "HR/sample5.npy")
    pair("LR/other_3.npy", None)
    pair("LR/notes.npy", None)
    pair("LR/sample6.npy", "HR/sample6.npy", side=4)
    (src / "HR" / "sample2.npy").write_bytes(b"")
    made = ingest(src, tmp_path / "out")
    assert made.catalog["id"].tolist() == ["1", "3"]
    assert skipped(made) == {
        "LR/sample4.npy": "without its partner", "HR/sample5.npy": "without its partner",
        "LR/sample3.npy": "number used twice", "LR/notes.npy": "no number in the name", "6": "other shape",
        "2": "empty file",
    }
    np.testing.assert_array_equal(made.images[1], np.load(src / "LR/other_3.npy").astype(np.float32))


def test_a_pair_that_came_twice_is_kept_once(src, pair, tmp_path):
    for i in (1, 2):
        pair(f"LR/{i}.npy", f"HR/{i}.npy")
    for side in ("LR", "HR"):
        (src / side / "3.npy").write_bytes((src / side / "1.npy").read_bytes())
    made = ingest(src, tmp_path / "out")
    assert skipped(made) == {"3": "duplicate"}
    assert len(made) == 2


def test_pixel_scales_that_say_another_multiple_are_refused():
    shapes = (1, 8, 8), (1, 16, 16)
    assert check_scale(*shapes, (0.2, 0.1)) == check_scale(*shapes, (0.2, 0.1005)) == check_scale(*shapes, (0.2, None))
    for fine in (0.095, 0.105):
        with pytest.raises(UserError, match="do not show the same piece of sky"):
            check_scale(*shapes, (0.2, fine))


@pytest.mark.parametrize(("lr", "hr", "words"), [
    ((1, 8, 8), (1, 15, 15), "whole multiple"), ((1, 16, 16), (1, 8, 8), "exchanged"),
    ((1, 8, 8), (3, 16, 16), "channels"),
    ((1, 8, 8), (1, 16, 32), "whole multiple"), ((1, 8, 8), (1, 8, 8), "whole multiple"),
])
def test_shapes_that_do_not_fit_are_one_message(src, rng, tmp_path, lr, hr, words):
    for side, shape in (("LR", lr), ("HR", hr)):
        (src / side).mkdir(parents=True)
        np.save(src / side / "1.npy", rng.random(shape))
    with pytest.raises(UserError, match=words):
        ingest(src, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pairs_without_any_partner_or_folder_are_one_message(src, pair, tmp_path):
    pair("LR/1.npy", None)
    pair(None, "HR/2.npy")
    with pytest.raises(UserError, match="same number"):
        ingest(src, tmp_path / "out")
    (src / "LR").rename(src / "no")
    with pytest.raises(UserError, match="not layout 'pairs'"):
        ingest(src, tmp_path / "out", layout="pairs")


def test_the_audit_tells_observations_copies_and_strangers(src, pair, rng, tmp_path):
    for i in range(12):
        pair(f"LR/{i}.npy", f"HR/{i}.npy")
    found = audit(ingest(src, tmp_path / "own"))
    assert found["pairs"]["severity"] == "ok"
    assert found["balance"]["severity"] == "ok"
    for i in range(12):
        fine = np.load(src / f"HR/{i}.npy")
        np.save(src / f"LR/{i}.npy", fine.reshape(1, 8, 2, 8, 2).mean((2, 4)))
    copies = ingest(src, tmp_path / "copies").manifest["report"]["audit"]["pairs"]
    assert copies["severity"] == "warning"
    assert "made by binning" in copies["text"]
    np.save(src / "LR/3.npy", rng.random((1, 8, 8)))
    strangers = ingest(src, tmp_path / "strangers").manifest["report"]["audit"]["pairs"]
    assert strangers["pairs"] == ["3"]
