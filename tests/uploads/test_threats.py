"""Every way known to us in which an uploaded file could do harm, each through the door that visitors use."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import psutil
import pytest
from astropy.io import fits
from files_to_upload import PIXELS, fits_bytes, npy_bytes, sky_header, zip_bytes
from PIL import Image

from deeplense_core.images import BadImageError
from deeplense_core.reading import decode_child, uploads
from deeplense_core.reading.uploads import clean_name, read, receive


def opened(name: str, content: bytes, **options):
    (upload,) = receive(name, content)
    return read(upload, **options)


def files_in(folder) -> set[str]:
    return {os.path.join(at, name) for at, _, names in os.walk(folder) for name in names}


class Canary:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_npy_and_npz_are_refused_and_nothing_runs(tmp_path, refused):
    canary = tmp_path / "canary"
    pickled = npy_bytes(np.array([Canary(canary), 1], dtype=object), allow_pickle=True)
    for name, content in {"a.npy": pickled, "a.npz": zip_bytes({"a.npy": pickled})}.items():
        error = refused(opened, name, content)
        assert error.reason == "pickled objects"
        assert "could run code; it was not opened" in str(error)
    assert not canary.exists()


def test_malicious_weights_are_no_image(tmp_path, refused):
    """A .pth file is a pickle, or a ZIP file with a pickle in it."""
    canary = tmp_path / "canary"
    content = pickle.dumps(Canary(canary))
    assert refused(receive, "model.pth", content).reason == "unknown format"
    (upload,) = receive("model.pth", zip_bytes({"archive/data.pkl": content}))
    assert refused(read, upload).reason == "unknown format"
    assert not canary.exists()


def test_npy_header_that_claims_terabytes(refused):
    text = repr({"descr": "<f8", "fortran_order": False, "shape": (700_000, 700_000)}).encode() + b"\n"
    error = refused(opened, "x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    assert "claims shape (700000, 700000): more than the 64 Mpixel allowed" in str(error)


def zeros_npy(megabytes: int) -> bytes:
    """A ZIP file with one .npy file of zeros that says it is small: a thousand times smaller than what is in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(npy_bytes(np.zeros((100, 100))))
        for _ in range(megabytes):
            member.write(bytes(2**20))
    return file.getvalue()


def test_npz_that_expands_a_thousandfold_is_read_no_further_than_its_header_says(refused):
    error = refused(opened, "x.npz", zeros_npy(200))
    assert error.reason == "constant image"  # the 80 kB that the header speaks of


def test_zip_that_expands_without_end(monkeypatch, refused):
    """With a limit of 50 MB, set in the process that unpacks."""
    monkeypatch.setattr(decode_child, "MAX_UNPACKED_BYTES", 50 * 2**20)
    content = zip_bytes({f"{i}.npy": bytes(20 * 2**20) for i in range(4)})
    error = unpack_here("bomb.zip", content, refused)
    assert "expands to more than 0 GB. Split it." in str(error)
    assert error.reason == "too large"


def unpack_here(name, content, refused) -> BadImageError:
    """Unpacks in this process, whose limits the test has changed."""
    import socket
    import tempfile
    import threading

    ours, theirs = socket.socketpair()

    def drain() -> None:
        while ours.recv(2**20):
            pass

    with tempfile.NamedTemporaryFile() as file, theirs:
        file.write(content)
        file.flush()
        thread = threading.Thread(target=drain)
        thread.start()
        error = refused(decode_child._unpack, theirs, {"name": name, "path": file.name})
    thread.join()
    ours.close()
    return error


def test_zip_with_too_many_members(refused):
    error = refused(receive, "many.zip", zip_bytes({f"{i}": b"" for i in range(5_001)}, compression=0))
    assert "holds 5001 files; at most 5,000 are taken at once. Split it." in str(error)
    assert not files_in(uploads._store())


def test_zip_names_are_never_paths(tmp_path, workspace):
    names = ["../../escape.npy", "/tmp/escape.npy", "a/../../b.npy", "C:\\x.npy", "<img onerror=alert(1)>.npy",
             "\u202egnp.npy", "x" * 4096 + ".npy", "con.npy"]  # fmt: skip
    before = files_in("/tmp") - files_in(workspace)
    kept = receive("slip.zip", zip_bytes({name: npy_bytes(PIXELS + i) for i, name in enumerate(names)}))
    assert [read(upload).pixels[0, 0, 0] for upload in kept] == list(range(len(names)))
    assert kept[0].name == "slip.zip/../../escape.npy"
    assert kept[4].name == "slip.zip/<img onerror=alert(1)>.npy"
    assert kept[5].name == "slip.zip/gnp.npy"
    assert all(len(upload.name) <= 300 for upload in kept)
    on_disk = files_in(workspace / "uploads")
    assert {os.path.basename(path) for path in on_disk if path.endswith("original")} == {"original"}
    assert all(len(os.path.basename(os.path.dirname(path))) == 64 for path in on_disk)
    assert not [path for path in files_in("/tmp") - files_in(workspace) - before if "escape" in path]


def test_links_in_a_zip_are_not_followed(refused):
    kept = receive("a.zip", zip_bytes({"link.npy": b"/etc/passwd", "good.npy": npy_bytes()}, links=("link.npy",)))
    error = refused(read, kept[0])
    assert error.reason == "link"
    assert "'a.zip/link.npy' is a link to another file, which is not followed" in str(error)
    np.testing.assert_array_equal(read(kept[1]).pixels[0], PIXELS)


def test_a_zip_in_a_zip_is_not_opened(refused):
    inner = zip_bytes({"a/1.npy": npy_bytes()})
    (upload,) = receive("outer.zip", zip_bytes({"inner.zip": inner}))
    error = refused(read, upload)
    assert "'outer.zip/inner.zip' is a ZIP file, where one image is expected. Unpack it first." in str(error)


def test_fits_tile_bomb(refused):
    file = io.BytesIO()
    packed = fits.CompImageHDU(np.zeros((32, 32), np.int16), compression_type="GZIP_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(file)
    content = file.getvalue()
    for axis in (1, 2):
        at = content.index(f"ZNAXIS{axis} ".encode())
        content = content[: at + 10] + f"{50_000:>20}".encode() + content[at + 30 :]
    assert "claims shape (50000, 50000)" in str(refused(opened, "tile.fits", content))


def test_gzipped_fits_that_expands(refused):
    """600 MB of zeros after a good image, 600 kB on disk."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    content = squeeze.compress(fits_bytes())
    content += b"".join(squeeze.compress(bytes(2**20)) for _ in range(600)) + squeeze.flush()
    assert len(content) < 10 * 2**20
    error = refused(opened, "bomb.fits.gz", content)
    assert "expands to more than 513 MB" in str(error)


def hdf5_bytes(fill) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        fill(root)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["external storage", "virtual storage", "external link", "soft link"])
def test_hdf5_that_points_outside_itself(kind, tmp_path, refused):
    secret = tmp_path / "secret"
    secret.write_bytes(PIXELS.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as root:
        root["image_data"] = PIXELS

    def fill(root):
        if kind == "external storage":
            root.create_dataset("image_data", PIXELS.shape, "<f8", external=[(str(secret), 0, secret.stat().st_size)])
        elif kind == "virtual storage":
            layout = h5py.VirtualLayout(PIXELS.shape, "<f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "image_data", PIXELS.shape)
            root.create_virtual_dataset("image_data", layout)
        elif kind == "external link":
            root["image_data"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/image_data")
        else:
            root["image_data"] = h5py.SoftLink("/elsewhere")

    error = refused(opened, "x.h5", hdf5_bytes(fill))
    assert error.reason == ("external storage" if "storage" in kind else "no image")


def test_png_of_13000_squared(refused):
    file = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(file, "PNG")
    assert refused(opened, "x.png", file.getvalue()).reason == "too large"


def test_only_the_first_frame_and_only_known_pictures(refused):
    frames = [Image.fromarray(PIXELS.astype(np.uint8) + k) for k in range(3)]
    tiff, gif, svg = io.BytesIO(), io.BytesIO(), b"<svg onload=alert(1)></svg>"
    frames[0].save(tiff, "TIFF", save_all=True, append_images=frames[1:])
    frames[0].save(gif, "GIF")
    np.testing.assert_array_equal(opened("x.tif", tiff.getvalue()).pixels[0], PIXELS)
    for name, content in {"x.gif": gif.getvalue(), "x.png": gif.getvalue(), "x.svg": svg}.items():
        assert refused(receive, name, content).reason == "unknown format"


def test_the_app_takes_no_memory_for_a_file_that_claims_much(refused):
    receive("warm.npy", npy_bytes())
    before = psutil.Process().memory_info().rss
    test_png_of_13000_squared(refused)
    test_npy_header_that_claims_terabytes(refused)
    test_npz_that_expands_a_thousandfold_is_read_no_further_than_its_header_says(refused)
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


TITLE = "<img src=x onerror=alert(1)>"


def test_markup_in_names_and_cards_stays_text(refused):
    image = opened(f"{TITLE}.fits", fits_bytes(header=sky_header(FILTER=TITLE, BUNIT=TITLE), name="<script>"))
    assert (image.meta["name"], image.meta["unit"], image.bands) == (f"{TITLE}.fits", TITLE, (TITLE,))
    assert image.meta["hdus"][0]["name"] == "<SCRIPT>"


@pytest.mark.parametrize(("name", "shown"), [
    ("../../etc/passwd", "../../etc/passwd"), ("a\0b.npy", "ab.npy"), ("x" * 5000, "x" * 255), ("", "unnamed"),
    ("\u202eyp.exe", "yp.exe"), ("a\nb\r\tc", "abc"), ("\ud800", "unnamed"), ("données.fits", "données.fits"),
])  # fmt: skip
def test_odd_names_are_one_line_of_text(name, shown):
    assert clean_name(name) == shown
    (upload,) = receive(name, npy_bytes())
    assert upload.name == shown
    assert read(upload).meta["name"] == shown


def with_pixel(value):
    spoilt = PIXELS.copy()
    spoilt[3, 4] = value
    return npy_bytes(spoilt)


def table_only():
    file = io.BytesIO()
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()


MALFORMED = {
    "empty": (lambda: b"", "is empty (0 bytes). Copy it again."),
    "truncated npy": (lambda: npy_bytes()[:-5], "is cut short: its header promises 960 bytes of pixels"),
    "truncated FITS": (lambda: fits_bytes()[:-2880], "is cut short: its last data are missing"),
    "truncated gzip": (lambda: gzip.compress(fits_bytes())[:-20], "is not proper gzip"),
    "table-only FITS": (table_only, "has no 2-D or 3-D image among its HDUs (PrimaryHDU, BinTableHDU)"),
    "NaN": (lambda: with_pixel(np.nan), "has 1 NaN or infinite pixels of 120. Fill them"),
    "infinity": (lambda: with_pixel(np.inf), "has 1 NaN or infinite pixels of 120. Fill them"),
    "constant": (lambda: npy_bytes(np.full((9, 9), 3.5)), "is blank: every pixel is 3.5"),
    "wrong dtype": (lambda: npy_bytes(PIXELS.astype(complex)), "holds complex128, not real numbers"),
    "3-D": (lambda: npy_bytes(np.random.default_rng(0).random((40, 50, 60))), "has 40 channels; at most 16"),
    "text": (lambda: b"ID,ra,dec\n1,2,3\n", "is no image known here. Bring NPY, NPZ, FITS"),
    "ZIP of nothing": (lambda: zip_bytes({"__MACOSX/._a.npy": b"x"}), "is a ZIP file with nothing in it"),
    "torn ZIP": (lambda: zip_bytes({"a/b.npy": npy_bytes()})[:-30], "is a damaged ZIP file. Copy it again."),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_each_malformed_file_has_its_message(kind, refused):
    make, words = MALFORMED[kind]
    error = refused(opened, "<b>x</b>.fits", make())
    assert str(error).startswith("'<b>x</b>.fits' ")
    assert words in str(error)


def test_what_is_odd_but_good_is_said():
    image = opened("picture.jpg", npy_bytes(PIXELS - 1000))
    assert image.meta["notes"] == [
        "No pixel is above zero: the sky may be subtracted twice, or the image inverted. "
        "Check how it was made before trusting an answer.",
        "It is named .jpg but holds NPY; it was read as NPY.",
    ]
    assert opened("a.npy", npy_bytes(PIXELS - 5)).meta["notes"] == []
