"""Files spoilt at random, through the visitors' door: an image or one clear message, never anything else.

``pytest -m long tests/uploads/test_fuzz.py`` tries 10,000 of them.
"""

from __future__ import annotations

import gc
import gzip
import io
import os
import random
from collections import Counter

import h5py
import numpy as np
import psutil
import pytest
from astropy.io import fits
from files_to_upload import PIXELS, fits_bytes, npy_bytes, sky_header, zip_bytes
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from deeplense_core.images import BadImageError
from deeplense_core.reading import decode, uploads
from deeplense_core.reading.uploads import read, receive

GROWTH_BYTES = 50 * 2**20


def picture(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def hdf5() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        root["image_data"], root["transform_pix2angle"] = PIXELS, np.eye(2) * 0.04
        root.create_dataset("chunked", data=PIXELS, chunks=(6, 5), compression="gzip", shuffle=True)
        root["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    return file.getvalue()


def packed_fits(compression: str) -> bytes:
    file = io.BytesIO()
    data = (PIXELS * 10).astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type=compression)]).writeto(file)
    return file.getvalue()


def distorted_fits() -> bytes:
    orders = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": 1e-5}
    return fits_bytes(header=sky_header(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", **orders))


def seeds() -> dict[str, bytes]:
    with_sky = fits_bytes(header=sky_header(BUNIT="nJy", FILTER="r"))
    return {
        "npy": npy_bytes(), "npy pickled": npy_bytes(np.array([[1, "x"]] * 5, object), allow_pickle=True),
        "npz": zip_bytes({"a.npy": npy_bytes(), "filters.npy": npy_bytes(np.array(["g"]))}),
        "zip": zip_bytes({"a/1.npy": npy_bytes(), "a/2.fits": with_sky, "a/l": b"/etc/passwd"}, links=("a/l",)),
        "fits": with_sky, "fits of ints": fits_bytes(PIXELS.astype(np.int16), sky_header(RADESYS="FK5")),
        "fits distorted": distorted_fits(), "fits gzipped": gzip.compress(with_sky),
        "fits rice": packed_fits("RICE_1"), "fits tiles": packed_fits("GZIP_2"), "fits plio": packed_fits("PLIO_1"),
        "hdf5": hdf5(), "png": picture("PNG"), "jpeg": picture("JPEG"), "tiff": picture("TIFF"),
        "tiff packed": picture("TIFF", compression="tiff_lzw"),
    }  # fmt: skip


SEEDS = seeds()
NUMBERS = (b"0", b"-1", b"65536", b"2147483647", b"4294967296", b"9999999999999999999", b"nan", b"1e308", b"'x'")


def spoil(content: bytes, draw: random.Random) -> bytes:
    """One to six changes of the kinds that break readers: bits, lengths, numbers in headers, cuts, repeats."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        if not data:
            break
        at = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 3000))
        what = draw.randrange(7)
        if what == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            data[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        elif what == 2:
            text = draw.choice(NUMBERS)
            card = at // 80 * 80 + 10  # the value of a FITS card
            data[card : card + 20] = text.rjust(20) if draw.random() < 0.7 else text.ljust(20)
        elif what == 3:
            del data[at : at + draw.randint(1, 200)]
        elif what == 4:
            data[at:at] = data[max(0, at - draw.randint(1, 200)) : at]
        elif what == 5:
            data[at] = draw.randrange(256)
        elif draw.random() < 0.3:
            del data[at:]
    return bytes(data)


def attempt(kind: str, number: int, outcomes: Counter) -> None:
    """One spoilt file: every upload that comes of it is read."""
    content = spoil(SEEDS[kind], random.Random(number))
    name = {"zip": "x.zip", "npz": "x.npz"}.get(kind, "x.fits")
    try:
        kept = receive(name, content)
    except BadImageError as err:
        outcomes[err.reason] += 1
        return
    for upload in kept:
        try:
            image = read(upload)
        except BadImageError as err:
            said = str(err)
            outcomes[err.reason] += 1
        else:
            said = f"{upload.name!r} is an image"
            outcomes["image"] += 1
            assert image.pixels.dtype == np.float32
            assert np.isfinite(image.pixels).all()
        assert upload.name[:6] in said  # what follows may be escaped: control characters in the name of a member


def campaign(count: int, workspace, report) -> None:
    """Tries ``count`` files; checks that this process is unharmed and that nothing is where it should not be."""
    outcomes: Counter = Counter()
    receive("warm.npy", npy_bytes())
    outside = set(os.listdir(workspace)) | {"uploads"}
    trials = 0

    @seed(20260101)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(kind=st.sampled_from(sorted(SEEDS)), number=st.integers(0, 2**62))
    def trial(kind, number):
        nonlocal trials
        trials += 1
        attempt(kind, number, outcomes)
        if trials % 1000 == 0:
            report(f"{trials} tried")

    for _ in range(20):  # what is only taken once is not growth
        attempt("fits", trials, Counter())
    gc.collect()
    process = psutil.Process()
    before, forker = process.memory_info().rss, decode._FORKER._process
    trial()
    gc.collect()
    grown = process.memory_info().rss - before
    report(f"{trials} spoilt files: 0 crashes of the server, 0 escapes, memory grew by {grown / 2**20:.1f} MB; "
           f"the decoder crashed {outcomes['crashed the decoder']} times. {dict(outcomes.most_common())}")  # fmt: skip
    assert trials >= count
    assert grown < GROWTH_BYTES
    assert decode._FORKER._process is forker, "the process that forks opens nothing, so nothing can harm it"
    assert forker is not None
    assert forker.poll() is None
    assert set(os.listdir(workspace)) <= outside
    left = {path.name for path in uploads._store().glob("*/*/*")}
    assert {name for name in left if not name.endswith((".json", ".f32"))} <= {"original"}
    assert not list(uploads._store().glob(".tmp-*"))


@pytest.fixture
def report(capsys):
    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return say


def test_300_spoilt_files(workspace, report):
    campaign(300, workspace, report)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_10000_spoilt_files(workspace, report):
    campaign(10_000, workspace, report)
