"""Faults injected for real: kill -9 at random moments, a full disk, many clients. Trials are printed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from waiting import spec, wait_for, wait_for_end

from deeplense_core import checkpoints, jobs
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.storage import TEMPORARY, try_lock

ROOT = Path(__file__).parent.parent.parent
STUB = Path(__file__).parent / "stub_worker.py"


def report(what, trials):
    print(f"\n{what}: 0 failures in {trials} trials")


def trials(few, many):
    """Parameters of a test: ``few`` trials, and ``many`` in the long suite."""
    return [pytest.param(few), pytest.param(many, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]


# kill -9 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", trials(5, 100))
def test_a_worker_killed_at_any_moment_is_lost_and_resumes_exactly(count, workspace):
    rng = random.Random(1)
    for trial in range(count):
        run = jobs.submit(spec(steps=12, pause=0.005, checkpoint_bytes=200_000))
        worker = psutil.Process(run.worker["pid"])
        # From before its first line of Python to the middle of its training.
        time.sleep(rng.uniform(0.0, 0.6))
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.send_signal(signal.SIGKILL)
        wait_for(lambda run=run: not run.has_worker())
        state = jobs.refresh(run).state
        assert state in ("lost", "done"), (trial, run.status)
        if state == "lost":
            reached = json.loads((run.latest_checkpoint() or b'{"next": 0}').split(b"\n")[0])["next"]
            assert reached - 1 <= len(run.metrics("train")) <= reached
            jobs.resume(run)
        assert wait_for_end(run).state == "done", (trial, run.status)
        assert json.loads(run.read_file("result.json")) == {"next": 12, "sum": 66}
        handle = wait_for(lambda: try_lock(workspace / "runs" / ".slots" / "slot-0"))
        os.close(handle)
    report("kill -9 of the worker", count)


SAVER = """
import os, sys
from pathlib import Path
from deeplense_core import checkpoints
weights = os.urandom(4_000_000)  # drawn once: nearly all time goes into saving
for i in range(1_000_000):
    checkpoints.save(Path(sys.argv[1]), f"step-{i}", i.to_bytes(8, "big") + weights)
    print(i, flush=True)
"""


def is_saving(folder):
    return any(path.name.startswith(TEMPORARY) for path in folder.iterdir())


@pytest.mark.parametrize("count", trials(20, 1000))
def test_a_kill_in_the_middle_of_a_save_loses_no_finished_checkpoint(count, tmp_path):
    rng, torn = random.Random(2), 0
    for trial in range(count):
        folder = tmp_path / f"{trial}"
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        saver.stdout.readline()
        if trial % 2:  # at a random moment
            time.sleep(rng.uniform(0.0, 0.03))
        else:  # as soon as a file is half-written
            while not is_saving(folder):
                assert saver.poll() is None
        saver.kill()
        told = [int(line) for line in saver.communicate()[0].splitlines() if line]
        torn += is_saving(folder)
        newest = int.from_bytes(checkpoints.latest(folder)[:8], "big")
        last = max([0, *told])
        assert last <= newest <= last + 1, (trial, last, newest)
        checkpoints.save(folder, "after", b"after")
        assert checkpoints.latest(folder) == b"after"
        assert len(list(folder.iterdir())) == min(3, newest + 2)
    assert torn > 0
    report(f"kill -9 while saving without a pause ({torn} left a torn file behind)", count)


@pytest.mark.parametrize("count", trials(3, 100))
def test_a_training_killed_alone_fails_with_its_cause(count):
    rng = random.Random(3)
    for _ in range(count):
        run = jobs.submit(spec(steps=1000, pause=0.01))
        wait_for(lambda run=run: run.metrics("train"))
        (training,) = psutil.Process(run.worker["pid"]).children()
        time.sleep(rng.uniform(0.0, 0.2))
        training.kill()
        assert wait_for_end(run).state == "failed"
        assert run.status.cause.startswith("killed by signal 9")
    report("kill -9 of the training process", count)


# A full disk ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs more rights")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_fails_the_run_and_keeps_its_last_checkpoint(small_disk, monkeypatch):
    monkeypatch.setenv("DEEPLENSE_HOME", str(small_disk))
    run = Run.create(spec(steps=6, checkpoint_bytes=300_000))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 1_000_000)
    jobs.slots.enter(run)
    jobs.LAUNCHERS["here"](run)
    assert run.status.state == "failed"
    assert run.status.cause.startswith("No space left on the disk that holds")
    assert run.status.mendable
    reached = json.loads(run.latest_checkpoint().split(b"\n")[0])["next"]
    assert 0 < reached < 6
    with open(small_disk / "rest", "wb", buffering=0) as rest, contextlib.suppress(OSError):
        while rest.write(b"\0" * 4096):  # not one byte left
            pass
    run.set_status(note="said on a full disk")
    assert run.status.note == "said on a full disk"
    assert [row.state for row in list_runs()] == ["failed"]
    (small_disk / "rest").unlink()
    ballast.unlink()
    jobs.resume(run, "here")
    assert run.status.state == "done"
    assert json.loads(run.read_file("result.json")) == {"next": 6, "sum": 15}


# Many clients ---------------------------------------------------------------------------------------

CLIENT = """
import sys, threading
from deeplense_core import jobs
from deeplense_core.spec import RunSpec
jobs.COMMAND = [sys.executable, sys.argv[1]]
spec = RunSpec("classify", "none", "exclusive", train_settings={"slots": int(sys.argv[2])})
go = threading.Barrier(5)
def submit():
    go.wait()
    jobs.submit(spec)
clients = [threading.Thread(target=submit) for _ in range(5)]
[client.start() for client in clients]
[client.join() for client in clients]
"""


@pytest.mark.parametrize("slots", [1, 2])
def test_twenty_clients_of_four_servers_never_share_a_slot(workspace, monkeypatch, slots):
    monkeypatch.setenv("DEEPLENSE_SLOTS", str(slots))
    command = [sys.executable, "-c", CLIENT, str(STUB), str(slots)]
    servers = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [server.wait(60) for server in servers] == [0] * 4
    all_runs = [open_run(row.id) for row in list_runs()]
    assert len(all_runs) == 20
    ends = {run.id: wait_for_end(run, 60) for run in all_runs}
    assert {end.state for end in ends.values()} == {"done"}, [end.cause for end in ends.values()]
    turns = (workspace / "turns").read_text().split()
    assert sorted(turns) == sorted(ends)
    assert not list((workspace / "runs" / ".slots" / "queue").iterdir())
    report(f"20 clients at once, {slots} at a time", 20)


def test_the_queue_is_served_in_the_order_of_submission(workspace):
    order = [jobs.submit(spec("exclusive", slots=1, pause=0.0)) for _ in range(8)]
    for run in order:
        assert wait_for_end(run).state == "done"
    assert (workspace / "turns").read_text().split() == [run.id for run in order]


def test_a_dead_worker_does_not_hold_up_the_queue(workspace):
    first = jobs.submit(spec("exclusive", slots=1, pause=0.6))
    wait_for(lambda: (workspace / "turns").exists())
    dead, last = jobs.submit(spec("exclusive", slots=1)), jobs.submit(spec("exclusive", slots=1))
    os.kill(dead.worker["pid"], signal.SIGKILL)
    assert wait_for_end(last).state == "done"
    assert jobs.refresh(dead).state == "lost"
    assert (workspace / "turns").read_text().split() == [first.id, last.id]
