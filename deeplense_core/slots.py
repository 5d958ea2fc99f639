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


def count() -> int:
    """Number of runs that may train at once: ``$DEEPLENSE_SLOTS``, else one a GPU, else one."""
    text = os.environ.get("DEEPLENSE_SLOTS")
    if not text:
        return max(1, len(gpu_ids()))
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise UserError(f"DEEPLENSE_SLOTS = {text!r} must be a whole number from 1 to 1000.")
    return int(text)


def enter(run: Run) -> None:
    """Puts ``run`` at the end of the queue, unless it is in it already."""
    folder = _folder(run)
    with locked(folder / "queue.lock"):
        if run.id in [_run_of(ticket).id for ticket in _tickets(folder)]:
            return
        # Clocks move; a number one above the highest keeps the order.
        taken = [int(ticket.name.partition("-")[0]) for ticket in _tickets(folder)]
        (folder / "queue" / f"{max(taken, default=0) + 1:09d}-{run.id}").touch()


def leave(run: Run) -> None:
    """Takes ``run`` out of the queue, if it is there."""
    for ticket in _tickets(_folder(run)):
        if _run_of(ticket).id == run.id:
            ticket.unlink(missing_ok=True)


def position(run: Run) -> int | None:
    """Place of ``run`` among the waiting, 1 for the next; None when it does not wait."""
    waiting = [waiting.id for waiting in _waiting(_folder(run))]
    return waiting.index(run.id) + 1 if run.id in waiting else None


def acquire(run: Run) -> tuple[int, int] | None:
    """Takes a free slot if ``run`` is the next in line.

    Returns the slot's number and the descriptor that holds it, or None. The slot is free again when the
    last process that inherited the descriptor has ended. On success the run has left the queue.
    """
    folder = _folder(run)
    with locked(folder / "queue.lock"):
        first = next(_waiting(folder), None)
        if first is None or first.id != run.id:
            return None
        for slot in range(count()):
            handle = try_lock(folder / f"slot-{slot}")
            if handle is not None:
                leave(run)
                return slot, handle
    return None


def _folder(run: Run) -> Path:
    """The queue and the slots of the workspace that ``run`` lies in."""
    path = run.path.parent / ".slots"
    (path / "queue").mkdir(parents=True, exist_ok=True)
    return path


def _tickets(folder: Path) -> list[Path]:
    """Files ``<number>-<run id>`` of the queue, in order."""
    return sorted(path for path in (folder / "queue").iterdir() if path.name[:9].isdecimal())


def _run_of(ticket: Path) -> Run:
    return Run(ticket.parents[2] / ticket.name.partition("-")[2])


def _waiting(folder: Path) -> Iterator[Run]:
    """Runs in the queue whose worker is alive, in order; the tickets of the others are removed."""
    for ticket in _tickets(folder):
        run = _run_of(ticket)
        if run.path.is_dir() and run.status.state == "queued" and run.has_worker():
            yield run
        else:
            with contextlib.suppress(OSError):
                ticket.unlink()
