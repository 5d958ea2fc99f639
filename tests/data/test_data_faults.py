"""What interrupts a writer, and what spoils a folder: nothing that looks finished is ever left by the one, and
each of the other has its own message."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from writer_process import FORKS, batch, start, write_and_die_at_rename, write_and_wait, write_many, writer_at

from deeplense_core.data import list_unfinished, open_dataset, read_progress
from deeplense_core.errors import UserError
from deeplense_core.workspace import datasets_dir

ROOT = Path(__file__).resolve().parents[2]


def test_kill_9_at_random_moments_leaves_nothing_that_looks_finished(tmp_path):
    moments, whole, partial = random.Random(1), 0, 0
    trials = 30
    for trial in range(trials):
        out = tmp_path / f"set{trial}"
        ready = FORKS.Event()
        process = start(write_many, out, 300, ready)
        assert ready.wait(60)
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        process.join()
        partial += any(tmp_path.glob(".partial-*"))
        if out.exists():
            assert len(open_dataset(out).catalog) == 4800
            whole += 1
        for left in tmp_path.glob(".partial-*"):
            os.utime(left, (0, 0))  # as if the minute had passed that a writer may take to begin
        assert list_unfinished(tmp_path) == []
        assert not any(tmp_path.glob(".partial-*"))
    print(f"kill -9 of a writer: {trials} trials, {whole} had finished, {partial} left a partial folder")
    assert partial, "no kill ever hit a writer at work"


@pytest.mark.parametrize("before", [True, False])
def test_kill_9_around_the_rename(tmp_path, before):
    process = start(write_and_die_at_rename, tmp_path / "x", before)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "x").exists() is not before
    assert list_unfinished(tmp_path) == []
    if before:
        assert os.listdir(tmp_path) == []
    else:
        assert len(open_dataset(tmp_path / "x").catalog) == 48


def test_a_live_writer_is_listed_and_left_alone_and_a_dead_one_is_cleaned_up():
    process = start(write_and_wait, datasets_dir() / "growing")
    try:
        deadline = time.monotonic() + 20
        while not (listed := list_unfinished()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [(row["name"], row["total"], row["pid"]) for row in listed] == [("growing", 100, process.pid)]
        assert read_progress(listed[0]["path"]) == listed[0]
        assert abs(listed[0]["start_time"] - time.time()) < 60
        with pytest.raises(UserError, match="still being written"):
            open_dataset(listed[0]["path"])
        with writer_at(datasets_dir() / "other"):  # a second writer cleans up, and spares the first
            assert {row["name"] for row in list_unfinished()} == {"growing", "other"}
    finally:
        process.kill()
        process.join()
    assert list_unfinished() == []
    assert os.listdir(datasets_dir()) == []


def test_a_reused_pid_does_not_keep_a_dead_folder_alive():
    dead = datasets_dir() / ".partial-x-0123456789ab"
    dead.mkdir()
    (dead / "writer.lock").touch()
    (dead / "progress.json").write_text(json.dumps({"name": "x", "done": 1, "total": 2, "pid": os.getpid()}))
    assert list_unfinished() == []
    assert not dead.exists()


@pytest.mark.parametrize("locked", [True, False])
def test_a_folder_just_begun_is_spared_for_a_minute(locked):
    begun = datasets_dir() / ".partial-x-0123456789ab"
    begun.mkdir()
    if locked:
        (begun / "writer.lock").touch()
    assert list_unfinished() == []
    assert begun.exists()
    os.utime(begun, (0, 0))
    assert list_unfinished() == []
    assert not begun.exists()


@pytest.mark.parametrize("name", [".partial-thesis", ".partial-thesis-0123456789ab"])
def test_what_is_not_a_writers_is_never_removed(name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").touch()
    (tmp_path / ".partial-file-0123456789ab").touch()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    with writer_at(tmp_path / "x"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([name, ".partial-file-0123456789ab"])
    assert (tmp_path / name / "precious").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_removes_the_partial_folder(tmp_path, error):
    with pytest.raises(error), writer_at(tmp_path / "x") as writer:  # noqa: PT012
        batch(writer)
        raise error
    assert os.listdir(tmp_path) == []


def test_a_failing_audit_removes_the_partial_folder(tmp_path):
    def audit(dataset):
        assert len(dataset.catalog) == len(dataset.images) == 16
        raise RuntimeError("audit")

    with pytest.raises(RuntimeError, match="audit"), writer_at(tmp_path / "x") as writer:  # noqa: PT012
        batch(writer)
        writer.finish(audit=audit)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_target_is_refused_before_any_work(tmp_path, kind):
    target = tmp_path / "x"
    {"folder": target.mkdir, "file": target.touch, "dangling link": lambda: target.symlink_to("nowhere")}[kind]()
    with pytest.raises(UserError, match="exists already"):
        writer_at(target)
    assert os.listdir(tmp_path) == ["x"]


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), writer_at(tmp_path / "x") as writer:  # noqa: PT012
        batch(writer)
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "precious").touch()
        writer.finish()
    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["precious"]


def test_a_parent_that_is_a_file_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written: .*Choose another folder"):
        writer_at(tmp_path / "file" / "x").__enter__()


def test_too_little_space_is_said_before_the_start(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"it needs 16\.6 MB, and 5 MB is free"):
        writer_at(tmp_path / "x", total=1_000, side=64).__enter__()
    assert os.listdir(tmp_path) == []


class FullDisk:
    """A file on a disk that takes no more."""

    def write(self, data):
        raise OSError(28, "No space left on device")

    def close(self):
        raise OSError(28, "No space left on device")


def test_a_disk_that_fills_up_is_one_message(tmp_path):
    with pytest.raises(UserError, match="No space for the data set 'x'"), writer_at(tmp_path / "x") as writer:  # noqa: PT012
        batch(writer)
        file = writer._pixels["images"]
        file._file.close()
        file._file = FullDisk()
        batch(writer)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root; the disk is faked in the test beside")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)  # lazily: a failing test may hold a file open


@pytest.mark.parametrize("side", [64, 1])  # pixels fill it in the one case, the catalogue's rows in the other
def test_a_real_disk_that_fills_up(small_disk, side):
    noise = np.random.default_rng(0)
    with pytest.raises(UserError, match="No space for the data set"), writer_at(small_disk / "x", side=side) as w:  # noqa: PT012
        for _ in range(200):
            rows = {f"feature{k}": noise.random(2_000) for k in range(20)} if side == 1 else {}
            w.append(noise.random((2_000, 1, side, side)), {"label": ["a"] * 2_000, **rows})
    assert os.listdir(small_disk) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
def test_writing_needs_no_more_memory_than_a_batch(tmp_path):
    script = """
        import re, sys
        from pathlib import Path
        import numpy as np
        from deeplense_core.data import DatasetWriter
        def peak():  # not ru_maxrss: that remembers the parent's memory from before exec
            return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        def write(out, batches):
            with DatasetWriter(out, classes=("a",), shape=(1, 32, 32), source={}) as writer:
                for k in range(batches):
                    pixels = np.full((500, 1, 32, 32), k, np.float32)
                    pixels[:, 0, 0, 0] = np.arange(500)
                    writer.append(pixels, {"label": ["a"] * 500, "truth_x": np.arange(500.0)})
                writer.finish()
        write(sys.argv[1] + "/small", 20)
        before = peak()
        write(sys.argv[1] + "/large", 80)
        print(peak() - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    grown = int(run.stdout)
    assert (tmp_path / "large" / "images.npy").stat().st_size > 160e6
    print(f"40,000 images took {grown / 1e6:.1f} MB more than 10,000")
    assert grown < 30e6, f"40,000 images (164 MB) took {grown / 1e6:.0f} MB more than 10,000"


# --- folders that are not, or no longer, data sets


@pytest.fixture
def finished(make_dataset, rng):
    return make_dataset("set", rng.random((20, 1, 4, 4)), ["a", "b"] * 10).path


def edit_manifest(folder, **changes):
    facts = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**facts, **changes}))


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


SPOILT = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "is not a data set: it has no manifest.json"),
    "torn manifest": (lambda f: cut(f / "manifest.json", 20), "damaged: manifest.json cannot be read"),
    "list for manifest": (lambda f: (f / "manifest.json").write_text("[]"), "does not describe a data set"),
    "binary manifest": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe\x00"), "manifest.json cannot"),
    "from the future": (lambda f: edit_manifest(f, format=99), "has format 99"),
    "without classes": (lambda f: edit_manifest(f, classes=None), "lacks a proper classes"),
    "odd shape": (lambda f: edit_manifest(f, shape=[4, 4]), "lacks a proper shape"),
    "empty": (lambda f: edit_manifest(f, count=0), "holds no images"),
    "short images": (lambda f: cut(f / "images.npy", 3), "images.npy has 1405 bytes where 1408 are expected"),
    "long images": (lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes() + b"x"), "has 1409 bytes"),
    "no images": (lambda f: (f / "images.npy").unlink(), "images.npy is missing"),
    "no catalogue": (lambda f: (f / "catalog.parquet").unlink(), "catalog.parquet is missing"),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_folder_has_its_message(finished, spoil, words):
    spoil(finished)
    with pytest.raises(UserError, match=words):
        open_dataset(finished)


def test_a_torn_catalogue_is_found_when_read(finished):
    cut(finished / "catalog.parquet", 10)
    with pytest.raises(UserError, match="catalog.parquet cannot be read"):
        open_dataset(finished).catalog  # noqa: B018


def test_a_catalogue_of_another_length_is_found_when_read(finished):
    pq.write_table(pq.read_table(finished / "catalog.parquet").slice(1), finished / "catalog.parquet")
    with pytest.raises(UserError, match="19 rows for 20 images"):
        open_dataset(finished).labels  # noqa: B018


def test_a_missing_folder_names_the_nearest():
    (datasets_dir() / "common-test").mkdir()
    with pytest.raises(UserError, match="no data set at .*Did you mean 'common-test'"):
        open_dataset(datasets_dir() / "comon-test")
    with pytest.raises(UserError, match="no data set at"):
        open_dataset(datasets_dir() / "quite other")
