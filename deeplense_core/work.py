"""The worker of one run: waits for a slot, trains in a child process, and answers for its end.

Two processes, so that the end of the training is known however it comes: the worker itself does
nothing but watch; the child, forked from it, loads PyTorch and trains. Whatever the child starts,
daemons included, becomes the worker's own child in time (it is their "subreaper") and ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from deeplense_core import slots
from deeplense_core.errors import UserError
from deeplense_core.machine import gpu_ids, identity
from deeplense_core.runs import Run
from deeplense_core.storage import remove_temporaries, try_lock

End = dict[str, Any]
"""Changes to the status with which a run ends."""

_BEAT_S = 2.0
_WATCH_S = 0.1
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(argv: Sequence[str] | None = None) -> int:
    """``work RUN_DIR``; returns the exit code."""
    (run_dir,) = sys.argv[1:] if argv is None else argv
    return work(run_dir)


def work(run_dir: str | Path) -> int:
    """Carries a queued run to its end and leaves that in its status.

    Returns the exit code: 0 done or cancelled, 1 failed.
    """
    run = Run(Path(run_dir).resolve())
    if not (run.path / "spec.json").exists():
        raise UserError(f"{str(run_dir)!r} is not the folder of a run: it has no spec.json.")
    _on_stop(run)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        run.set_worker(identity())
        run.env()
        slot = _wait_for_turn(run)
        if slot is None or not run.set_status_if(("queued",), state="running", started=time.time()):
            return 0
        remove_temporaries(run.path)
        devices = gpu_ids()
        if devices:
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
        end = _supervise(run)
    except Exception as err:
        end = _failure(run, err)
    run.set_status(**end, finished=time.time())
    return 1 if end["state"] == "failed" else 0


def _wait_for_turn(run: Run) -> int | None:
    """The number of the slot this run now holds; None when it was cancelled in the queue."""
    next_beat, said, mine = 0.0, None, None
    while run.status.state == "queued":
        # A worker that was just killed may leave its training behind for a moment.
        mine = mine or try_lock(run.path / ".worker")
        turn = slots.acquire(run) if mine else None
        if turn is not None:
            return turn[0]
        if time.monotonic() >= next_beat:
            run.beat()
            slots.enter(run)  # a worker started by hand has no place yet
            place = slots.position(run)
            if place != said:
                print(f"Waiting for a free slot, number {place} in the queue.", file=sys.stderr, flush=True)
            next_beat, said = time.monotonic() + _BEAT_S, place
        time.sleep(_WATCH_S)
    slots.leave(run)
    return None


def _supervise(run: Run) -> End:
    """Trains in a child process; returns how that ended, once nothing of it is left."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    worker = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _train_and_exit(run, writer, worker)
    os.close(writer)
    exit_status, asked_at, next_beat = None, None, 0.0
    while exit_status is None:
        now = time.monotonic()
        if now >= next_beat:
            run.beat()
            next_beat = now + _BEAT_S
        if run.should_stop():
            asked_at = now if asked_at is None else asked_at
            if now - asked_at >= run.cancel_grace_s():
                _kill_descendants()
        exit_status = _reap(child)
        if exit_status is None:
            time.sleep(_WATCH_S)
    _end_descendants()
    os.set_blocking(reader, False)
    with contextlib.suppress(BlockingIOError, ValueError):
        return json.loads(os.read(reader, 65536))
    return _end_without_word(run, exit_status)


def _end_without_word(run: Run, exit_status: int) -> End:
    """The end of a training that could not tell it itself."""
    if run.should_stop():
        return {"state": "cancelled", "cause": "killed: it did not stop in time"}
    if os.WIFSIGNALED(exit_status):
        number = os.WTERMSIG(exit_status)
        why = " (the system does this when memory runs out)" if number == signal.SIGKILL else ""
        return {"state": "failed", "cause": f"killed by signal {number}{why}"}
    return {"state": "failed", "cause": f"ended with exit code {os.WEXITSTATUS(exit_status)} and no result"}


def _reap(child: int) -> int | None:
    """Takes note of ended processes; the wait status of ``child`` once it is among them."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended = status if pid == child else ended
    return ended


# In the child ---------------------------------------------------------------------------------------


def _train_and_exit(run: Run, writer: int, worker: int) -> None:
    """Trains, sends the end through the pipe ``writer`` and leaves without the worker's cleaning up."""
    code = 1
    try:
        _on_stop(run)
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == worker:  # else it died before it could take this process with it
            os.write(writer, json.dumps(_train(run)).encode())
            code = 0
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _train(run: Run) -> End:
    try:
        from deeplense_core.carry_out import carry_out

        state = carry_out(run)
    except BaseException as err:
        return _failure(run, err)
    if state not in ("done", "cancelled"):
        return {"state": "failed", "cause": f"training ended with {state!r}, neither done nor cancelled"}
    return {"state": state, "cause": "", **({"progress": 1.0} if state == "done" else {})}


def _failure(run: Run, err: BaseException) -> End:
    """The end that an exception brings; a defect's traceback goes to the log."""
    if isinstance(err, UserError):
        return {"state": "failed", "cause": str(err)[:4000], "mendable": True}
    run.write_log("".join(traceback.format_exception(err)))
    return {"state": "failed", "cause": _cause(err)[:4000]}


def _cause(err: BaseException) -> str:
    """One line for what went wrong. PyTorch's errors are known by name: nothing here loads it."""
    name, text = type(err).__name__, str(err)
    said = isinstance(err, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    if said or isinstance(err, MemoryError) or name == "OutOfMemoryError":
        return "out of memory"
    return f"{name}: {text}"


# Processes ------------------------------------------------------------------------------------------


def _on_stop(run: Run) -> None:
    """Lets SIGTERM, Ctrl-C and a closed terminal ask this process to stop the run; twice Ctrl-C kills it."""
    owner, presses = os.getpid(), 0

    def stop(number: int, frame: object) -> None:
        nonlocal presses
        if os.getpid() == owner:
            presses += number == signal.SIGINT
            if presses > 1:
                run.request_cancel(grace_s=0)
            elif not run.should_stop():
                run.request_cancel()
        else:  # a process that the training forked inherits this, but not its meaning
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in _STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _control(option: int, value: int) -> None:
    """``prctl(2)``; nothing where the system has none."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _kill_descendants() -> int:
    """Kills every process below this one, those in a session of their own too; returns how many it saw."""
    below = psutil.Process().children(recursive=True)
    for process in below:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(below)


def _end_descendants(timeout_s: float = 10.0) -> None:
    """Kills whatever the training left behind, and whatever that started meanwhile, until none is left."""
    deadline = time.monotonic() + timeout_s
    while _kill_descendants() and time.monotonic() < deadline:
        _reap(0)
        time.sleep(0.01)
