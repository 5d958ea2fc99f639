"""Unlabelled images come in: a folder of cutouts, a survey in one HDF5 file; duplicates are found."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from deeplense_core import train
from deeplense_core.errors import UserError
from deeplense_core.ingest import ingest
from deeplense_core.sources import StoredSource


def pictures(count: int, bands: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, bands, 24, 24)).astype(np.float32)


def survey_file(path, images: np.ndarray):
    with h5py.File(path, "w") as root:
        root["images"], root["ra"] = images, np.linspace(0, 359, len(images))
        root["flux"], root["label"] = np.arange(len(images)), np.arange(len(images))
        root["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        root["spectrum"] = np.zeros((len(images), 5))
    return path


def test_a_folder_of_cutouts_without_classes(tmp_path):
    (tmp_path / "cutouts").mkdir()
    for i, image in enumerate(pictures(12)):
        np.save(tmp_path / "cutouts" / f"{i:02}.npy", image)
    np.save(tmp_path / "cutouts" / "again.npy", pictures(12)[3])
    (tmp_path / "cutouts" / "notes.txt").write_text("not an image")
    made = ingest(tmp_path / "cutouts", tmp_path / "out")
    assert made.classes == ()
    assert len(made) == 12
    assert (made.labels == -1).all()
    assert made.manifest["source"]["layout"] == "unlabelled-folder"
    assert made.manifest["report"]["skipped"]["duplicate"] == 1
    assert sum(made.manifest["report"]["skipped"].values()) == 2


@pytest.mark.parametrize("block", [7, 256])
def test_a_survey_in_one_file_with_its_columns(tmp_path, monkeypatch, block):
    monkeypatch.setattr("deeplense_core.ingest.arrays.BLOCK", block)
    images = pictures(40)
    images[7] = images[5]
    images[9, 0, 0, 0] = np.nan
    made = ingest(survey_file(tmp_path / "survey.h5", images), tmp_path / "out", pixel_scale_arcsec=0.2)
    assert made.classes == ()
    assert made.pixel_scale_arcsec == 0.2
    kept = np.setdiff1d(np.arange(40), [7, 9])
    np.testing.assert_array_equal(made.catalog["flux"], kept)
    np.testing.assert_allclose(made.catalog["ra"], np.linspace(0, 359, 40)[kept])
    np.testing.assert_array_equal(np.asarray(made.images), images[kept])
    assert made.manifest["report"]["skipped"] == {"duplicate": 1, "values that are not finite": 1}
    assert not {"elsewhere", "spectrum"} & set(made.catalog.columns)
    assert list(made.catalog["id"])[:2] == ["survey.h5[0]", "survey.h5[1]"]


def test_columns_in_the_other_order_of_bytes(tmp_path):
    """As astropy hands on what it has read of FITS tables."""
    with h5py.File(survey_file(tmp_path / "survey.h5", pictures(12)), "a") as root:
        root["mag"], root["tile"] = np.arange(12, dtype=">f8"), np.arange(12, dtype=">i4")
    table = ingest(tmp_path / "survey.h5", tmp_path / "out").catalog
    assert table["mag"].tolist() == table["tile"].tolist() == list(range(12))


def test_bands_last_and_plain_arrays(tmp_path):
    images = pictures(20)
    np.save(tmp_path / "last.npy", images.transpose(0, 2, 3, 1))
    made = ingest(tmp_path / "last.npy", tmp_path / "out", layout="survey")
    np.testing.assert_array_equal(np.asarray(made.images), images)


@pytest.mark.parametrize("make", [lambda p: p.write_bytes(b"x" * 99), lambda p: p.mkdir()])
def test_what_is_no_survey_is_refused(tmp_path, make):
    make(tmp_path / "src")
    with pytest.raises(UserError, match="not one HDF5 or NPY file"):
        ingest(tmp_path / "src", tmp_path / "out", layout="survey")


def test_a_set_larger_than_memory_is_read_from_disk_and_trains_the_same(tmp_path, monkeypatch):
    made = ingest(survey_file(tmp_path / "survey.h5", pictures(60)), tmp_path / "out")
    held = StoredSource(made, 3, train.torch.device("cpu"), labelled=False)
    monkeypatch.setattr("deeplense_core.sources._free_bytes", lambda _: 0)
    streamed = StoredSource(made, 3, train.torch.device("cpu"), labelled=False)
    assert held.images is not None
    assert streamed.images is None
    for step in range(3):
        a, b = (source.batch(1, step, 16, 99) for source in (held, streamed))
        assert train.torch.equal(a.images, b.images)
