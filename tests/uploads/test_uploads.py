"""The store of uploads: what goes in comes out, equal files are kept once, and it stays small enough."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading

import numpy as np
import pytest
from files_to_upload import PIXELS, fits_bytes, npy_bytes, sky_header, zip_bytes

from deeplense_core.errors import UserError
from deeplense_core.reading import decode, uploads
from deeplense_core.reading.uploads import Upload, read, receive, tidy
from deeplense_core.storage import disk_full


def noise(seed: int, side: int = 64) -> bytes:
    return npy_bytes(np.random.default_rng(seed).random((side, side)))


def originals() -> int:
    return len(list(uploads._store().glob("*/*/original")))


def test_a_file_by_any_kind_of_stream():
    file = io.BytesIO(npy_bytes())
    file.read()
    for stream in (npy_bytes(), io.BytesIO(npy_bytes()), file):
        (upload,) = receive("a.npy", stream)
        assert (upload.name, upload.size, len(upload.id)) == ("a.npy", len(npy_bytes()), 64)
        np.testing.assert_array_equal(read(upload).pixels[0], PIXELS)
    assert originals() == 1


def test_what_was_read_is_kept_by_file_name_and_choice(monkeypatch):
    cube = np.random.default_rng(0).random((3, 9, 8)).astype(np.float32)
    (upload,) = receive("a.npy", npy_bytes(cube))
    first = read(upload)
    assert (first.meta["planes"], first.pixels.shape) == (3, (3, 9, 8))
    with monkeypatch.context() as patch:
        patch.setattr(decode, "decode", None)  # not to be called again
        again = read(upload)
    np.testing.assert_array_equal(again.pixels, cube)
    assert (again.pixel_scale_arcsec, again.bands, dict(again.meta)) == (None, (), dict(first.meta))
    np.testing.assert_array_equal(read(upload, plane=2).pixels[0], cube[2])
    assert read(upload, channels="last").pixels.shape == (8, 3, 9)
    assert read(Upload(upload.id, "b.npy", upload.size)).meta["name"] == "b.npy"


def test_a_result_that_was_spoilt_on_disk_is_read_again():
    (upload,) = receive("a.npy", npy_bytes())
    read(upload)
    (kept,) = uploads._store().glob("*/*/*.f32")
    kept.write_bytes(b"123")
    np.testing.assert_array_equal(read(upload).pixels[0], PIXELS)
    kept.with_suffix(".json").write_text("{")
    np.testing.assert_array_equal(read(upload).pixels[0], PIXELS)


def test_fits_says_what_else_could_be_chosen(refused):
    (upload,) = receive("a.fits", fits_bytes(header=sky_header(BUNIT="nJy", FILTER="r"), name="SCI"))
    image = read(upload)
    assert image.meta["hdus"] == [{"index": 1, "name": "SCI", "shape": [12, 10], "unit": "nJy"}]
    assert (image.meta["unit"], image.bands, image.meta["planes"]) == ("nJy", ("r",), 1)
    error = refused(read, upload, hdu="WHT")
    assert error.choices["hdus"] == image.meta["hdus"]


def test_a_zip_gives_one_upload_a_member_and_a_bad_one_spoils_only_itself(refused):
    members = {f"set/{i}.npy": noise(i) for i in range(49)}
    members["set/bad.npy"] = b"\x93NUMPY\x01"
    members |= {"__MACOSX/._1.npy": b"x", "set/.DS_Store": b"x", "set/": b""}
    kept = receive("fifty.zip", zip_bytes(members))
    assert [upload.name for upload in kept] == [f"fifty.zip/set/{i}.npy" for i in range(49)] + ["fifty.zip/set/bad.npy"]
    good = [read(upload) for upload in kept[:49]]
    assert all(image.pixels.shape == (1, 64, 64) for image in good)
    assert "'fifty.zip/set/bad.npy' has a damaged .npy header" in str(refused(read, kept[49]))


def test_a_zip_is_told_from_an_npz(refused):
    arrays = zip_bytes({"a.npy": npy_bytes(), "b.npy": npy_bytes(PIXELS + 1)})
    (npz,) = receive("x.npz", arrays)
    assert read(npz).meta["keys"] == ["a", "b"]
    assert read(npz, key="b").pixels[0, 0, 0] == 1
    assert len(receive("x.zip", arrays)) == 2
    assert "no array 'c'" in str(refused(read, npz, key="c"))


def test_encrypted_and_damaged_members_say_so(refused):
    content = bytearray(zip_bytes({"d/a.npy": npy_bytes(), "d/b.npy": noise(1)}, compression=0))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the first member: "encrypted"
    at = content.index(noise(1)) + 200
    content[at] ^= 255
    kept = receive("x.zip", bytes(content))
    assert "'x.zip/d/a.npy' is encrypted: unpack it and send the files." in str(refused(read, kept[0]))
    assert "'x.zip/d/b.npy' is damaged: copy it again." in str(refused(read, kept[1]))


def test_too_large_a_file_is_refused_while_it_comes_in(monkeypatch, refused):
    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def read(self, size=-1):
            self.given += size
            return b"\x93NUMPY" + bytes(size - 6)

    monkeypatch.setattr(uploads, "MAX_ZIP_BYTES", 10 * 2**20)
    stream = Endless()
    assert "is larger than 10 MB" in str(refused(receive, "x.npy", stream))
    assert stream.given <= 12 * 2**20
    monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 2**20)
    assert "is larger than 1 MB" in str(refused(receive, "x.npy", b"\x93NUMPY" + bytes(2 * 2**20)))
    assert not list(uploads._store().iterdir())


def test_the_store_stays_small_and_what_was_used_last_stays(refused):
    kept = [receive(f"{i}.npy", noise(i))[0] for i in range(6)]
    for age, upload in enumerate(kept):
        os.utime(uploads._folder(upload.id), (1e9 + age, 1e9 + age))
    read(kept[0])  # used just now
    size = kept[0].size
    assert tidy(2 * size + 20_000, keep=[kept[1]]) <= 2 * size + 20_000
    gone = [i for i, upload in enumerate(kept) if not uploads._folder(upload.id).exists()]
    assert gone == [2, 3, 4, 5]
    error = refused(read, kept[3])
    assert "'3.npy' was removed to make room. Drop it again." in str(error)
    assert receive("3.npy", noise(3)) == [kept[3]]
    assert read(kept[3]).pixels.shape == (1, 64, 64)


def test_what_was_used_longest_ago_goes_even_where_it_would_fit():
    large, middle, small = (receive(f"{n}.npy", npy_bytes(np.arange(n * 100.0).reshape(n, 100)))[0]
                            for n in (60, 50, 30))  # fmt: skip
    for age, upload in enumerate((small, middle, large)):
        os.utime(uploads._folder(upload.id), (1e9 + age, 1e9 + age))
    tidy(large.size + small.size + 1000)
    assert [uploads._folder(upload.id).exists() for upload in (large, middle, small)] == [True, False, False]


def test_a_result_that_does_not_fit_on_the_disk_is_shown_all_the_same(monkeypatch):
    def full(path, *_, **__):
        raise disk_full(path)

    (upload,) = receive("a.npy", npy_bytes())
    monkeypatch.setattr(uploads, "atomic_write", full)
    assert read(upload).pixels.shape == (1, 12, 10)


def test_receiving_keeps_the_store_within_its_bound(monkeypatch):
    monkeypatch.setattr(uploads, "STORE_BYTES", 100_000)
    for i in range(6):
        receive(f"{i}.npy", noise(i))
    assert originals() == 3


def test_what_a_crash_left_in_quarantine_is_removed(workspace):
    left = uploads._store() / ".tmp-crashed"
    left.mkdir()
    (left / "upload").write_bytes(bytes(1000))
    os.utime(left, (1e9, 1e9))
    assert tidy(500) == 0
    assert not left.exists()


def test_an_unknown_id_is_no_path(refused):
    for wrong in ("../../etc/passwd", "", "x" * 64, "A" * 64):
        assert refused(read, Upload(wrong, "x", 1)).reason == "gone"


def test_a_full_disk_is_said(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "_keep", full)
    with pytest.raises(UserError, match="No space left on the disk"):
        receive("a.npy", npy_bytes())
    assert not list(uploads._store().iterdir())


def test_sessions_that_upload_the_same_at_once():
    failed = []

    def session(number: int) -> None:
        try:
            for upload in receive(f"{number}.zip", zip_bytes({f"{i}/x.npy": noise(i) for i in range(6)})):
                assert read(upload).pixels.shape == (1, 64, 64)
        except BaseException as err:
            failed.append(err)

    threads = [threading.Thread(target=session, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert originals() == 6


def test_a_file_that_comes_again_is_not_replaced():
    """Another session may be opening it, and its decoder may read that one file alone."""
    (upload,) = receive("a.npy", npy_bytes())
    place = uploads._folder(upload.id) / "original"
    before = place.stat().st_ino
    assert receive("b.npy", npy_bytes())[0].id == upload.id
    assert place.stat().st_ino == before


def test_the_store_may_be_thrown_away(refused):
    (upload,) = receive("a.npy", npy_bytes())
    shutil.rmtree(uploads._store())
    assert refused(read, upload).reason == "gone"
    assert json.loads(json.dumps([str(u) for u in receive("a.npy", npy_bytes())]))


def test_the_app_never_opens_what_was_uploaded(monkeypatch):
    """It writes the file once; from then on only the decoding process does anything with it."""
    import builtins

    real, seen = builtins.open, []

    def spy(file, mode="r", *args, **options):
        seen.append((os.path.basename(str(file)), mode))
        return real(file, mode, *args, **options)

    monkeypatch.setattr(builtins, "open", spy)
    for upload in receive("x.zip", zip_bytes({"a/b.fits": fits_bytes(header=sky_header())})):
        read(upload)
    written = [(name, mode) for name, mode in seen if name in ("upload", "0", "original")]
    assert written == [("upload", "xb"), ("0", "xb")]
