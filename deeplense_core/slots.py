"""Who may run now: a queue on disk, first come first served, and one lock file for each slot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deeplense_core.errors import UserError
from deeplense_core.machine import gpu_ids
from deeplense_core.runs import Run
from deeplense_core.storage import locked, try_lock
from deeplense_core.workspace import runs_dir


def count() -> int:
    """Number of runs that may train at once: ``$DEEPLENSE_SLOTS``, else one a GPU, else one."""
    text = os.environ.get("DEEPLENSE_SLOTS")
    if not text:
        return max(1, len(gpu_ids()))
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise UserError(f"DEEPLENSE_SLOTS = {text!r} must be a whole number from 1 to 1000.")
    return int(text)


def enter(run: Run) -> None:
    """Puts ``run`` at the end of the queue."""
    with _queue_lock():
        tickets = [int(path.name.partition("-")[0]) for path in _tickets()]
        # Clocks move; a number one above the highest keeps the order.
        number = max([_last_number(), *tickets], default=0) + 1
        (_folder() / "last").write_text(str(number))
        (_folder() / "queue" / f"{number:09d}-{run.id}").touch()


def leave(run: Run) -> None:
    """Takes ``run`` out of the queue, if it is there."""
    for path in _tickets():
        if _run_of(path).id == run.id:
            path.unlink(missing_ok=True)


def position(run: Run) -> int | None:
    """Place of ``run`` among the waiting, 1 for the next; None when it does not wait."""
    waiting = [waiting.id for waiting in _waiting()]
    return waiting.index(run.id) + 1 if run.id in waiting else None


def acquire(run: Run) -> tuple[int, int] | None:
    """Takes a free slot if ``run`` is the next in line.

    Returns the slot's number and the descriptor that holds it, or None. The slot is free again when the
    last process that inherited the descriptor has ended. On success the run has left the queue.
    """
    with _queue_lock():
        first = next(_waiting(), None)
        if first is None or first.id != run.id:
            return None
        for slot in range(count()):
            handle = try_lock(_folder() / f"slot-{slot}")
            if handle is not None:
                leave(run)
                return slot, handle
    return None


def _folder() -> Path:
    path = runs_dir() / ".slots"
    (path / "queue").mkdir(parents=True, exist_ok=True)
    return path


def _queue_lock():
    return locked(_folder() / "queue.lock")


def _last_number() -> int:
    try:
        return int((_folder() / "last").read_text())
    except (OSError, ValueError):
        return 0


def _tickets() -> list[Path]:
    """Files ``<number>-<run id>`` of the queue, in order."""
    return sorted(path for path in (_folder() / "queue").iterdir() if path.name[:9].isdecimal())


def _run_of(ticket: Path) -> Run:
    return Run(runs_dir() / ticket.name.partition("-")[2])


def _waiting() -> Iterator[Run]:
    """Runs in the queue whose worker is alive, in order; the tickets of the others are removed."""
    for ticket in _tickets():
        run = _run_of(ticket)
        if run.path.is_dir() and run.status.state == "queued" and run.has_worker():
            yield run
        else:
            with contextlib.suppress(OSError):
                ticket.unlink()
