"""The decoding process: it answers as the reader does, its death is one message, and nothing gets out of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from files_to_upload import PIXELS, fits_bytes, npy_bytes, sky_header

from deeplense_core.images import read_image
from deeplense_core.reading import decode, decode_seal
from deeplense_core.reading.decode_wire import BrokenTalkError
from deeplense_core.workspace import ROOT


@pytest.fixture(scope="module")
def hostile():
    """A decoding process with the traps of hostile_child.py."""
    forker = decode._Forker("tests.uploads.hostile_child")
    os.environ["DEEPLENSE_SECRET"] = "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_FORKER", forker)
        yield forker
    del os.environ["DEEPLENSE_SECRET"]
    forker.stop()


def trapped(tmp_path, trap, **cards):
    path = tmp_path / "trap.fits"
    path.write_bytes(fits_bytes(header=sky_header(TRAP=trap, **cards)))
    return path


def test_the_answer_is_that_of_the_reader(tmp_path):
    for name, content in {"a.npy": npy_bytes(), "b.fits": fits_bytes(header=sky_header(BUNIT="nJy"))}.items():
        path = tmp_path / name
        path.write_bytes(content)
        here, there = read_image(path, name="<b>", sky=True), decode.decode(path, "<b>")
        np.testing.assert_array_equal(here.pixels, there.pixels)
        assert there.pixels.dtype == np.float32
        assert (here.pixel_scale_arcsec, here.bands, dict(here.meta)) == (
            there.pixel_scale_arcsec, there.bands, dict(there.meta))  # fmt: skip
        assert there.meta["name"] == "<b>"


def test_a_relative_path_is_the_callers(tmp_path, monkeypatch):
    """The decoding process lives in another folder."""
    (tmp_path / "image.npy").write_bytes(npy_bytes(PIXELS))
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(decode.decode(Path("image.npy"), "image.npy").pixels[0], PIXELS)


def test_choices_reach_the_reader_and_errors_come_back(tmp_path, refused):
    path = tmp_path / "cube.npy"
    path.write_bytes(npy_bytes(np.arange(40 * 50 * 60.0).reshape(40, 50, 60)))
    assert decode.decode(path, "cube", plane=3).pixels[0, 0, 0] == 3 * 3000
    error = refused(decode.decode, path, "cube")
    assert "Choose one plane" in str(error)
    assert (error.reason, error.choices) == ("wrong shape", {"planes": 40})
    assert "choose from 0 to 39" in str(refused(decode.decode, path, "cube", plane=40))


CRASHES = {
    "overflow": ("crashed the decoder", "crashed the program that opens files (SIGSEGV)"),
    "spin": ("too large", "took more than 20 s to be opened"),
    "sleep": ("too large", "took more than 120 s to be opened"),
    "killed": ("too large", "needed more memory or time than there is"),
    "lie": ("crashed the decoder", "crashed the program that opens files"),
}


@pytest.mark.parametrize("trap", CRASHES)
def test_a_crafted_header_that_crashes_the_decoder_is_an_error_message(hostile, tmp_path, trap, refused):
    error = refused(decode.decode, trapped(tmp_path, trap), "<img onerror>.fits")
    reason, words = CRASHES[trap]
    assert error.reason == reason
    assert str(error).startswith("'<img onerror>.fits' ")
    assert words in str(error)
    (tmp_path / "good.npy").write_bytes(npy_bytes())
    np.testing.assert_array_equal(decode.decode(tmp_path / "good.npy", "x").pixels[0], PIXELS)


def test_memory_is_limited(hostile, tmp_path, refused):
    error = refused(decode.decode, trapped(tmp_path, "hog"), "x")
    assert error.reason == "too large"
    assert "needs more than 2 GB of memory" in str(error)


def test_nothing_gets_out(hostile, tmp_path):
    if decode_seal.landlock_version() < 6:
        pytest.skip("this kernel's Landlock does not know of files, TCP and signals: fewer barriers here")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as server:
        secret, canary = Path(name, "s"), Path(name, "c")
        secret.write_text("x")
        where = f"{secret}|{canary}|{server.getsockname()[1]}"
        assert decode.decode(trapped(tmp_path, "escape", WHERE=where), "x").meta["wcs"] == "nothing"
        assert secret.read_text() == "x"
        assert not canary.exists()


def test_a_worker_that_dies_among_many_files_only_spoils_its_own(hostile, tmp_path, refused):
    (tmp_path / "good.npy").write_bytes(npy_bytes())
    with decode.Decoder() as decoder:
        for trap in ("overflow", "spin"):
            assert decoder.read(tmp_path / "good.npy", "x").pixels.shape == (1, 12, 10)
            assert refused(decoder.read, trapped(tmp_path, trap), "x").reason == CRASHES[trap][0]
        for _ in range(3):
            assert decoder.read(tmp_path / "good.npy", "x").pixels.shape == (1, 12, 10)


def test_a_worker_that_is_ended_between_two_files_is_replaced(tmp_path):
    (tmp_path / "good.npy").write_bytes(npy_bytes())
    with decode.Decoder() as decoder:
        decoder.read(tmp_path / "good.npy", "x")
        minder = max(psutil.Process(decode._FORKER._process.pid).children(), key=psutil.Process.create_time)
        minder.children()[0].kill()
        psutil.wait_procs([minder])
        assert decoder.read(tmp_path / "good.npy", "x").pixels.shape == (1, 12, 10)


def test_the_time_of_many_files_is_not_added_up(hostile, tmp_path):
    """Each file has its own second here, and the worker its own process."""
    path = tmp_path / "good.npy"
    path.write_bytes(npy_bytes(np.random.default_rng(0).random((1000, 1000))))
    with decode.Decoder() as decoder:
        used = 0.0
        while used < 2.5:
            start = os.times().elapsed
            decoder.read(path, "x")
            used += os.times().elapsed - start


def test_the_process_that_forks_is_replaced_when_it_is_killed(tmp_path):
    path = tmp_path / "good.npy"
    path.write_bytes(npy_bytes())
    decode.decode(path, "x")
    process = decode._FORKER._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert decode.decode(path, "x").pixels.shape == (1, 12, 10)
    assert decode._FORKER._process is not process


def test_many_threads_at_once(tmp_path):
    failed = []

    def work(number: int) -> None:
        path = tmp_path / f"{number}.npy"
        path.write_bytes(npy_bytes(PIXELS + number))
        try:
            for _ in range(5):
                assert decode.decode(path, "x").pixels[0, 0, 0] == number
        except BaseException as err:
            failed.append(err)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(("shape", "size", "words"), [
    ([2, 2], 16, "of shape"), ([0, 2, 2], 0, "of shape"), ([17, 1, 1], 68, "of shape"),
    ([2, 2**13, 2**13], 2**29, "of shape"), ([1, 2, 2], 12, "of another size"), ([1, 2, 2], 20, "of another size"),
])
def test_what_a_worker_claims_is_checked_before_its_pixels_are_taken(shape, size, words):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(bytes(16))
        with pytest.raises(BrokenTalkError, match=words):
            decode._pixels(ours, {"shape": shape, "bytes": size})


WRITES = """
import sys
from deeplense_core.reading.decode_seal import limit_memory
limit_memory()
with open(sys.argv[1], "wb") as file:
    file.write(b"x")
"""


def test_the_kernel_refuses_every_byte_of_a_file(tmp_path):
    """Also where Landlock is absent and nothing asks Python."""
    command = [sys.executable, "-c", WRITES, str(tmp_path / "canary")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "File too large" in ended.stderr
    assert (tmp_path / "canary").stat().st_size == 0


ENDS = """
import sys, pathlib
from deeplense_core.reading import decode
decode.decode(pathlib.Path(sys.argv[1]), "x")
print(decode._FORKER._process.pid, "torch" in sys.modules, flush=True)
"""


def test_it_loads_no_torch_and_ends_with_the_app(tmp_path):
    path = tmp_path / "good.npy"
    path.write_bytes(npy_bytes())
    command = [sys.executable, "-c", ENDS, str(path)]
    pid, torch_here = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert torch_here == "False"
    assert not psutil.pid_exists(int(pid))
    decode.decode(path, "x")
    assert decode._FORKER._process is not None
    maps = psutil.Process(decode._FORKER._process.pid).memory_maps()
    assert not [m.path for m in maps if "torch" in m.path or "streamlit" in m.path]
