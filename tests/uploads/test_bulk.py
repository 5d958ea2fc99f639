"""Predictions for many files: order, resumption, bad files, bounded reading."""

from __future__ import annotations

import concurrent.futures
import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from files_to_upload import PIXELS, fits_bytes, npy_bytes, sky_header, zip_bytes
from stub_network import StubNetwork

from deeplense_core.bands import BandRule
from deeplense_core.bulk import files
from deeplense_core.bulk.files import BATCH, find_files, predict_files
from deeplense_core.catalog import FORMATS, write_catalog
from deeplense_core.errors import UserError
from deeplense_core.storage import try_lock


class Network(StubNetwork):
    """Knows one band."""

    def refuse(self, images) -> None:
        if images.shape[1] != 1:
            raise UserError(f"'stub' was trained on 1 band(s) and the image has {images.shape[1]}.")

    def probabilities(self, p) -> list:
        return [1 - p, p]


@pytest.fixture
def network(tmp_path):
    return Network(tmp_path / "network", classes=("no", "vort"))


@pytest.fixture
def cutouts(tmp_path):
    """200 images of two shapes, in two folders, and what is no image."""
    root = tmp_path / "cutouts"
    (root / "b").mkdir(parents=True)
    for i in range(200):
        shape = PIXELS if i % 3 else PIXELS[:9]
        (root / ("b" if i >= 150 else ".") / f"{i:03}.npy").write_bytes(npy_bytes(shape + i))
    (root / "=bad.npy").write_bytes(b"\x93NUMPY\x01")
    (root / ".hidden.npy").write_bytes(npy_bytes())
    (root / "b" / "rgb.npy").write_bytes(npy_bytes(np.random.default_rng(0).random((3, 9, 9))))
    return root


NAMES = [f"{i:03}.npy" for i in range(150)] + [f"b/{i:03}.npy" for i in range(150, 200)]


def table(path: Path) -> list[dict]:
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_folder_becomes_a_table_in_order(network, cutouts, tmp_path, workers):
    out, seen = tmp_path / "out.csv", []
    made = predict_files(network, [cutouts], out, 0.05, workers, lambda done, total: seen.append((done, total)))
    assert (made.done, made.failed, made.taken_up, made.failed_file) == (200, 2, 0, tmp_path / "out.failed.csv")
    rows = table(out)
    assert list(rows[0]) == ["name", "ra", "dec", "class", "score", "p_no", "p_vort", "warning"]
    assert [row["name"] for row in rows] == NAMES
    assert [float(row["p_vort"]) for row in rows] == pytest.approx([i / 1000 for i in range(200)])
    assert {row["class"] for row in rows} == {"no"}
    assert seen[-1] == (202, 202)
    assert network.images == 200
    assert {shape[1:] for shape, _ in network.asked} == {(1, 12, 10), (1, 9, 10)}
    assert len(network.asked) <= 2 * (202 // BATCH + 1), "equal shapes go through the network together"
    assert {scale for _, scale in network.asked} == {0.05}
    assert not out.with_name("out.csv.part").exists()


def test_files_that_failed_are_listed_with_the_reason(network, cutouts, tmp_path):
    predict_files(network, [cutouts], tmp_path / "out.csv")
    assert table(tmp_path / "out.failed.csv") == [
        {"name": "'=bad.npy", "reason": "damaged file",
         "message": "'=bad.npy' has a damaged .npy header. Copy it again."},
        {"name": "b/rgb.npy", "reason": "does not fit the model",
         "message": "'stub' was trained on 1 band(s) and the image has 3."},
    ]  # fmt: skip
    (cutouts / "=bad.npy").unlink()
    (cutouts / "b" / "rgb.npy").unlink()
    assert predict_files(network, [cutouts], tmp_path / "out.csv").failed_file is None
    assert not (tmp_path / "out.failed.csv").exists()


@pytest.mark.parametrize("torn", [0, 1, 30])
def test_an_interrupted_run_goes_on_where_it_stopped(network, cutouts, tmp_path, torn):
    """``torn``: bytes of the journal that a crash took, the end of the line of the last file."""
    predict_files(network, [cutouts], tmp_path / "whole.csv")
    network.asked, network.stop_after, out = [], 120, tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_files(network, [cutouts], out)
    assert not out.exists()
    journal = tmp_path / "out.csv.part"
    journal.write_bytes(journal.read_bytes()[: -torn or None])
    known = len(journal.read_bytes().splitlines()) - 1 - bool(torn)
    network.asked, network.stop_after = [], 10**9
    made = predict_files(network, [cutouts], out)
    assert 0 < known < 200
    assert made.taken_up == known
    assert network.images == 200 - known
    assert out.read_text() == (tmp_path / "whole.csv").read_text()
    assert not journal.exists()


def test_another_runs_journal_is_not_mixed_in(network, cutouts, tmp_path):
    network.stop_after = 120
    with pytest.raises(KeyboardInterrupt):
        predict_files(network, [cutouts], tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"'out.csv.part' is of an interrupted run with another model"):
        predict_files(network, [cutouts], tmp_path / "out.csv", 0.1)
    (network.folder / "model.safetensors").write_bytes(b"trained on")
    with pytest.raises(UserError, match="another model"):
        predict_files(network, [cutouts], tmp_path / "out.csv")
    (tmp_path / "out.csv.part").write_bytes(b'{"model"')  # killed in its first line
    network.stop_after = 10**9
    assert predict_files(network, [cutouts], tmp_path / "out.csv").done == 200


def interrupted(network, paths, out, **options) -> None:
    network.stop_after = network.images + 70
    with pytest.raises(KeyboardInterrupt):
        predict_files(network, paths, out, **options)
    network.stop_after = 10**9


def test_other_images_or_bands_are_not_mixed_in(network, cutouts, tmp_path):
    interrupted(network, [cutouts], tmp_path / "out.csv")
    with pytest.raises(UserError, match="of an interrupted run with another model, other images"):
        predict_files(network, [cutouts / "b"], tmp_path / "out.csv")
    interrupted(network, [cutouts], tmp_path / "bands.csv", rule=BandRule(1, chosen=(0,)))
    with pytest.raises(UserError, match="or other settings"):
        predict_files(network, [cutouts], tmp_path / "bands.csv", rule=BandRule(1))


def test_the_same_folder_by_another_path_is_taken_up(network, cutouts, tmp_path, monkeypatch):
    interrupted(network, [cutouts], tmp_path / "out.csv")
    monkeypatch.chdir(tmp_path)
    assert predict_files(network, [Path(cutouts.name)], tmp_path / "out.csv").taken_up > 0
    assert [row["name"] for row in table(tmp_path / "out.csv")] == NAMES


@pytest.mark.parametrize("content", [b"half a download, in one line", b"line one\nhalf a download"])
def test_a_file_that_is_no_journal_is_left_as_it_is(network, cutouts, tmp_path, content):
    (tmp_path / "out.csv.part").write_bytes(content)
    with pytest.raises(UserError, match="delete the file to begin anew"):
        predict_files(network, [cutouts], tmp_path / "out.csv")
    assert (tmp_path / "out.csv.part").read_bytes() == content


def test_a_journal_damaged_in_the_middle_has_one_message(network, cutouts, tmp_path):
    interrupted(network, [cutouts], tmp_path / "out.csv")
    lines = (tmp_path / "out.csv.part").read_bytes().splitlines(keepends=True)
    (tmp_path / "out.csv.part").write_bytes(b"".join([*lines[:3], lines[3][:9] + b"\0" * 9 + b"\n", *lines[4:]]))
    with pytest.raises(UserError, match="'out.csv.part' is damaged. Delete it"):
        predict_files(network, [cutouts], tmp_path / "out.csv")


@pytest.mark.parametrize("ending", FORMATS)
def test_file_names_of_any_bytes(network, tmp_path, ending):
    (tmp_path / "odd").mkdir()
    for name in (b"a\xff.npy", b"b\xfe.npy"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "odd"), name))).write_bytes(npy_bytes())
    assert predict_files(network, [tmp_path / "odd"], tmp_path / f"out{ending}").done == 2


def test_a_disk_that_a_zip_file_fills_is_said(network, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "set.zip").write_bytes(zip_bytes({"1.npy": npy_bytes()}))
    monkeypatch.setattr(files, "unpack", full)
    with pytest.raises(UserError, match="No space left on the disk that holds .* MB free. Free some space"):
        predict_files(network, [tmp_path / "set.zip"], tmp_path / "out.csv")


def test_two_processes_do_not_write_one_table(network, cutouts, tmp_path):
    assert try_lock(tmp_path / "out.csv.part") is not None
    with pytest.raises(UserError, match="is being written by another process"):
        predict_files(network, [cutouts], tmp_path / "out.csv")


def test_zip_files_and_single_files(network, tmp_path):
    members = {f"d/{i}.npy": npy_bytes(PIXELS + i) for i in range(5)} | {"d/bad.npy": b"x", "d/link.npy": b"x"}
    (tmp_path / "set.zip").write_bytes(zip_bytes(members, links=("d/link.npy",)))
    (tmp_path / "torn.zip").write_bytes(zip_bytes(members)[:-40])
    (tmp_path / "one.fits").write_bytes(fits_bytes(header=sky_header()))
    paths = [tmp_path / name for name in ("set.zip", "torn.zip", "one.fits")]
    made = predict_files(network, paths, tmp_path / "out.csv")
    rows = table(tmp_path / "out.csv")
    assert [row["name"] for row in rows] == [f"set.zip/d/{i}.npy" for i in range(5)] + ["one.fits"]
    assert [row["ra"] for row in rows[:5]] == [""] * 5
    assert (float(rows[5]["ra"]), float(rows[5]["dec"])) == pytest.approx((150.1, 2.2), abs=1e-3)
    assert network.asked[-1] == ((1, 1, 12, 10), pytest.approx(0.05))
    assert made.failed == 3
    assert [row["reason"] for row in table(tmp_path / "out.failed.csv")] == ["unknown format", "link", "damaged file"]


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_of_table(network, cutouts, tmp_path, ending):
    out = tmp_path / f"out{ending}"
    predict_files(network, [cutouts], out)
    if ending == ".json":
        rows = json.loads(out.read_text())["rows"]
        assert [row["name"] for row in rows] == NAMES
        return
    back = Table.read(out)
    assert list(back["name"]) == NAMES
    assert list(back["p_vort"]) == pytest.approx([i / 1000 for i in range(200)])


@pytest.mark.parametrize("ending", FORMATS)
def test_a_table_in_pieces_is_that_of_one_piece(tmp_path, monkeypatch, ending):
    from deeplense_core import catalog

    rows = [{"name": f"é<{i}>" + "x" * i, "ra": i * 1.5 if i % 2 else None, "dec": None if i < 8 else 0.1,
             "class": "no", "score": i / 7, "warning": "" if i % 4 else 'a "b", c'} for i in range(20)]  # fmt: skip
    write_catalog(rows, tmp_path / f"one{ending}")
    monkeypatch.setattr(catalog, "_PIECE", 7)
    write_catalog(rows, tmp_path / f"many{ending}")
    one, many = (tmp_path / f"{name}{ending}" for name in ("one", "many"))
    if ending == ".parquet":  # in row groups
        pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(many))
    else:
        assert one.read_bytes() == many.read_bytes()
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_table_among_the_images_is_not_read_itself(network, cutouts):
    for _ in range(2):
        made = predict_files(network, [cutouts], cutouts / "out.csv")
        assert (made.done, made.failed) == (200, 2)


def test_no_image_at_all_writes_no_table(network, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"None of the 1 image\(s\) could be used.*'out.failed.csv' lists them"):
        predict_files(network, [tmp_path / "x.npy"], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    assert len(table(tmp_path / "out.failed.csv")) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No files in"):
        predict_files(network, [tmp_path / "empty"], tmp_path / "out.csv")
    with pytest.raises(UserError, match="There is no file or folder"):
        predict_files(network, [tmp_path / "nothing"], tmp_path / "out.csv")


def test_reading_does_not_run_away_from_the_network(cutouts, monkeypatch):
    """The reader waits when enough files, or bytes, are held for a network that is slow."""
    monkeypatch.setattr(files, "_AHEAD", 10)
    most, largest = 3 * PIXELS.size * 4, 3 * 9 * 9 * 4
    monkeypatch.setattr(files, "_HELD_BYTES", most)
    pulled, held = 0, []
    real = files._Reader.taken

    def items():
        nonlocal pulled
        for item in find_files([cutouts]):
            pulled += 1
            yield item

    def taken(self, item, future):
        concurrent.futures.wait([future])
        held.append(self._held)
        return real(self, item, future)

    monkeypatch.setattr(files._Reader, "taken", taken)
    for number, _ in enumerate(files._read_ahead(items(), 2), start=1):
        assert pulled - number < 10
    assert number == 202
    assert max(held) <= most + PIXELS.size * 4 + largest, "the limit, and what each worker had begun"


def test_large_images_make_small_batches(cutouts, monkeypatch):
    monkeypatch.setattr(files, "_BATCH_BYTES", 3 * PIXELS.size * 4)
    batches = list(files.read_batches(find_files([cutouts]), 2))
    assert sum(map(len, batches)) == 202
    assert max(sum(map(files._nbytes, [answer for _, answer in batch])) for batch in batches) <= 4 * PIXELS.size * 4
