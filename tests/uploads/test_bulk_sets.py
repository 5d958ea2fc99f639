"""Predictions for sets in one array: every kind of set, shards, resumption, bad images, flat reading."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from files_to_upload import PIXELS, npy_bytes
from stub_network import StubNetwork

from deeplense_core.bands import BandRule
from deeplense_core.bulk import sources
from deeplense_core.bulk.sets import predict_any
from deeplense_core.bulk.shards import Shard, parse_shard, shard_paths
from deeplense_core.bulk.sources import NpyRows, is_set, open_set
from deeplense_core.bulk.table import images_behind
from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError

COUNT = 700
CLASSES = ("lens", "nonlens")


class Network(StubNetwork):
    """Takes finite pixels alone."""

    def refuse(self, images) -> None:
        if not np.isfinite(images).all():
            raise UserError("The image has pixels that are not finite.")

    def probabilities(self, p) -> list:
        return [p, 1 - p]


@pytest.fixture
def network(tmp_path):
    return Network(tmp_path / "network", classes=CLASSES)


def images(bands: int = 3) -> np.ndarray:
    """(n, bands, 6, 5), the first pixel of each its number."""
    pixels = np.random.default_rng(0).random((COUNT, bands, 6, 5), dtype=np.float32)
    pixels[:, 0, 0, 0] = np.arange(COUNT)
    return pixels


def as_npy(folder: Path) -> Path:
    np.save(folder / "set.npy", images())
    return folder / "set.npy"


def as_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "set.h5", "w") as file:
        file["images"] = images()
        file["other"] = np.zeros((COUNT, 2, 3, 3))
        file["ra"], file["dec"] = np.arange(COUNT) / 10, np.arange(COUNT) / 20
    return folder / "set.h5"


def as_channels_last(folder: Path) -> Path:
    np.save(folder / "last.npy", np.resize(images().transpose(0, 2, 3, 1), (COUNT, 6, 5, 3)).repeat(4, 1).repeat(4, 2))
    return folder / "last.npy"


def as_one_band(folder: Path) -> Path:
    np.save(folder / "one.npy", images(1)[:, 0].repeat(4, 1).repeat(4, 2))
    return folder / "one.npy"


def as_data_set(folder: Path) -> Path:
    labels = np.array(CLASSES)[np.arange(COUNT) % 2]
    with DatasetWriter(folder / "data", classes=CLASSES, shape=(3, 6, 5), source={"kind": "test"},
                       pixel_scale_arcsec=0.17) as out:  # fmt: skip
        out.append(images(), {"label": labels, "id": [f"lens {i}" for i in range(COUNT)], "ra": np.arange(COUNT) / 10,
                              "dec": np.arange(COUNT) / 20})  # fmt: skip
        return out.finish().path


KINDS = [as_npy, as_hdf5, as_channels_last, as_one_band, as_data_set]


@pytest.mark.parametrize("make", KINDS)
def test_every_kind_of_set_becomes_a_table_in_order(make, network, tmp_path):
    path, out, seen = make(tmp_path), tmp_path / "out.parquet", []
    assert is_set(path)
    made, target = predict_any(network, [path], out, 0.2, progress=lambda done, total: seen.append((done, total)))
    assert (made.done, made.failed, made.failed_file, target) == (COUNT, 0, None, out)
    table = pd.read_parquet(out)
    assert list(table) == ["name", "ra", "dec", "class", "score", "p_lens", "p_nonlens", "warning"]
    np.testing.assert_allclose(table["score"], np.arange(COUNT) / 1000, atol=1e-6)
    assert (table["class"] == np.where(np.arange(COUNT) >= 500, "lens", "nonlens")).sum() >= COUNT - 1
    assert seen[-1] == (COUNT, COUNT)
    stored = make is as_data_set
    assert table["name"][3] == ("lens 3" if stored else f"{path.name}[3]")
    assert {scale for _, scale in network.asked} == {0.17 if stored else 0.2}
    if make in (as_data_set, as_hdf5):
        np.testing.assert_allclose(table["ra"], np.arange(COUNT) / 10)
        np.testing.assert_allclose(table["dec"], np.arange(COUNT) / 20)
    else:
        assert table["ra"].isna().all()
    assert max(shape[0] for shape, _ in network.asked) <= sources.BLOCK
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("make", [as_npy, as_data_set])
def test_shards_are_the_whole_in_parts(make, network, tmp_path):
    path, out = make(tmp_path), tmp_path / "out.parquet"
    predict_any(network, [path], tmp_path / "whole.parquet")
    for number in (3, 1, 2):
        _, target = predict_any(network, [path], out, shard=Shard(number, 3))
        assert target.name == f"out-00{number}-of-003.parquet"
    tables = [pd.read_parquet(part) for part in shard_paths(out)]
    assert [len(table) for table in tables] == [233, 233, 234]
    pd.testing.assert_frame_equal(pd.concat(tables, ignore_index=True), pd.read_parquet(tmp_path / "whole.parquet"))
    assert not out.exists()


def test_shards_of_a_folder_are_disjoint_and_stay_when_files_come(network, tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.npy").write_bytes(npy_bytes(PIXELS + i))
    names = []
    for number in range(1, 5):
        _, target = predict_any(network, [folder], tmp_path / "out.csv", shard=Shard(number, 4))
        names.append(set(pd.read_csv(target)["name"]))
    assert sum(map(len, names)) == 40
    assert set.union(*names) == {f"{i}.npy" for i in range(40)}
    (folder / "0a.npy").write_bytes(npy_bytes())
    _, target = predict_any(network, [folder], tmp_path / "more.csv", shard=Shard(2, 4))
    assert set(pd.read_csv(target)["name"]) - {"0a.npy"} == names[1]


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 3), (7, 3), (100, 7), (100_003, 99_999)])
def test_rows_of_shards_cover_all_once(count, of):
    parts = [Shard(number, of).rows(count) for number in range(1, of + 1)]
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1/9999999"])
def test_what_is_no_shard(text):
    with pytest.raises(UserError, match="is not I/N"):
        parse_shard(text)


def test_parts_of_another_table_are_not_taken_for_shards(tmp_path):
    for name in ("a-002-of-002.csv", "a-001-of-002.csv", "a-b-001-of-002.csv", "a-001-of-002.csv.part", "a.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in shard_paths(tmp_path / "a.csv")] == ["a-001-of-002.csv", "a-002-of-002.csv"]


@pytest.mark.parametrize("torn", [0, 30])
def test_an_interrupted_set_goes_on_where_it_stopped(network, tmp_path, torn):
    path, out = as_npy(tmp_path), tmp_path / "out.parquet"
    predict_any(network, [path], tmp_path / "whole.parquet")
    network.asked, network.stop_after = [], 600
    with pytest.raises(KeyboardInterrupt):
        predict_any(network, [path], out)
    journal = tmp_path / "out.parquet.part"
    journal.write_bytes(journal.read_bytes()[: -torn or None])
    network.asked, network.stop_after = [], 10**9
    made, _ = predict_any(network, [path], out)
    assert made.taken_up == 512 - bool(torn)
    assert network.images == COUNT - made.taken_up
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "whole.parquet"))


def test_another_set_or_shard_is_not_mixed_in(network, tmp_path):
    path, out = as_npy(tmp_path), tmp_path / "out.csv"
    network.stop_after = 300
    with pytest.raises(KeyboardInterrupt):
        predict_any(network, [path], out)
    with pytest.raises(UserError, match="of an interrupted run"):
        predict_any(network, [as_one_band(tmp_path)], out)
    with pytest.raises(UserError, match="of an interrupted run"):
        predict_any(network, [path], out, rule=BandRule(3, chosen=(2, 1, 0)))


def test_a_bad_image_does_not_stop_the_others(network, tmp_path):
    pixels = images()
    pixels[[5, 300], 1, 2, 2] = (np.nan, np.inf)
    np.save(tmp_path / "set.npy", pixels)
    made, _ = predict_any(network, [tmp_path / "set.npy"], tmp_path / "out.csv")
    assert (made.done, made.failed) == (COUNT - 2, 2)
    failed = pd.read_csv(tmp_path / "out.failed.csv")
    assert list(failed["name"]) == ["set.npy[5]", "set.npy[300]"]
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["score"], np.delete(np.arange(COUNT), [5, 300]) / 1000)


def test_what_is_no_set(network, tmp_path):
    np.save(tmp_path / "image.npy", images()[0])
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n damaged")
    for name in ("image.npy", "bad.npy", "bad.h5"):
        assert not is_set(tmp_path / name), name
    assert not is_set(tmp_path)
    with pytest.raises(UserError, match="no file or folder"):
        is_set(tmp_path / "gone.npy")
    with pytest.raises(UserError, match="predicted alone"):
        predict_any(network, [as_npy(tmp_path), tmp_path / "image.npy"], tmp_path / "out.csv")
    with pytest.raises(UserError, match="700 images: none for shard 1/701"):
        predict_any(network, [tmp_path / "set.npy"], tmp_path / "out.csv", shard=Shard(1, 701))


def test_links_out_of_an_hdf5_file_stay_closed(network, tmp_path):
    as_hdf5(tmp_path)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["images"] = h5py.ExternalLink("set.h5", "images")
    assert not is_set(tmp_path / "link.h5")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("images", (2, 3, 6, 5), "f4", external=[(str(tmp_path / "set.h5"), 0, 720)])
    with pytest.raises(UserError, match="kept in another file"):
        predict_any(network, [tmp_path / "external.h5"], tmp_path / "out.csv")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = np.zeros((2, 3, 4, 4)), np.zeros((2, 3, 4, 4))
    with pytest.raises(UserError, match="several arrays of images: a, b"):
        is_set(tmp_path / "two.h5")


def test_an_error_of_the_network_is_not_laid_on_the_file(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), open_set(as_hdf5(tmp_path)):
        raise RuntimeError("out of memory")


def test_damaged_hdf5_has_one_message(tmp_path):
    """Where it begins it is a file like any other; where its pixels are, it is a set that cannot be read."""
    with h5py.File(tmp_path / "set.h5", "w") as file:
        data = file.create_dataset("images", data=images(1), chunks=(COUNT, 1, 6, 5), compression="gzip")
        header, chunk = h5py.h5o.get_info(data.id).addr, data.id.get_chunk_info(0).byte_offset
    whole = (tmp_path / "set.h5").read_bytes()
    (tmp_path / "set.h5").write_bytes(whole[:header] + bytes(64) + whole[header + 64 :])
    assert not is_set(tmp_path / "set.h5")
    (tmp_path / "set.h5").write_bytes(whole[:chunk] + bytes(64) + whole[chunk + 64 :])
    with open_set(tmp_path / "set.h5") as opened, pytest.raises(UserError, match=r"'set.h5' is damaged: .* Copy it"):
        opened.pixels(range(3))


def test_positions_that_are_not_known(network, tmp_path):
    path = as_hdf5(tmp_path)
    with h5py.File(path, "a") as file:
        file["ra"][3] = np.nan
    predict_any(network, [path], tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["ra"] for row in rows[2:5]] == [0.2, None, 0.4]


@pytest.mark.parametrize("spoil", ["torn", "of another length"])
def test_a_damaged_catalogue_has_one_message(network, tmp_path, spoil):
    path = as_data_set(tmp_path) / "catalog.parquet"
    if spoil == "torn":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        pd.read_parquet(path)[:5].to_parquet(path)
    with pytest.raises(UserError, match="is damaged: catalog.parquet .* Make it again"):
        predict_any(network, [path.parent], tmp_path / "out.csv")


def test_the_images_behind_the_rows_are_those_that_were_scored(tmp_path):
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["a_psf"], file["stamps"] = np.random.default_rng(0).random((20, 9, 9)), images()[:20]
    with open_set(tmp_path / "set.h5") as opened:
        scored = opened.pixels(range(20))
    (image,) = images_behind(tmp_path / "set.h5", ["set.h5[7]"])
    np.testing.assert_array_equal(image.pixels, scored[7])


def test_as_many_bands_as_there_may_be_are_found_at_the_end(tmp_path):
    np.save(tmp_path / "set.npy", np.zeros((2, 17, 20, 16), np.float32))
    with open_set(tmp_path / "set.npy") as opened:
        assert (opened.shape, opened.pixels(range(2)).shape) == ((16, 17, 20), (2, 16, 17, 20))


def test_arrays_that_hold_no_images(tmp_path):
    for name, array in (("fortran", np.asfortranarray(images())), ("text", np.full((20, 3, 4, 4), "a"))):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(UserError, match="plain array of numbers"), open_set(tmp_path / f"{name}.npy"):
            pass
    np.save(tmp_path / "cut.npy", images())
    whole = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-40])
    with pytest.raises(UserError, match="is cut short"):
        NpyRows(tmp_path / "cut.npy")[COUNT - 2 : COUNT]


@pytest.mark.parametrize("rows", [range(0, 0), range(3, 4), range(250, 700), range(0, 700)])
@pytest.mark.parametrize("size", [1, 7, 256, 5000])
def test_blocks_of_a_data_set_keep_names_with_pixels(tmp_path, rows, size):
    """The catalogue is read through in pieces of its own; names must stay with their images."""
    with open_set(as_data_set(tmp_path)) as opened:
        blocks = list(opened.blocks(rows, size))
    assert len(blocks) == math.ceil(len(rows) / size)
    assert [name for block in blocks for name in block.names] == [f"lens {row}" for row in rows]
    assert [value for block in blocks for value in block.pixels[:, 0, 0, 0]] == list(rows)


def test_the_journal_says_what_it_is_of(network, tmp_path):
    network.stop_after = 300
    with pytest.raises(KeyboardInterrupt):
        predict_any(network, [as_npy(tmp_path)], tmp_path / "out.csv", shard=Shard(1, 2))
    first = (tmp_path / "out-001-of-002.csv.part").read_text().splitlines()[0]
    assert json.loads(first)["rows"] == [0, 350]
