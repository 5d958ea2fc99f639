"""Starts, cancels and resumes runs. Every launcher starts one command: ``work RUN_DIR``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping

from deeplense_core import slots
from deeplense_core.errors import UserError
from deeplense_core.machine import boot_id, identity, is_alive
from deeplense_core.registry import nearest
from deeplense_core.runs import ACTIVE, CANCEL_GRACE_S, RESUMABLE, Run, Status, reindex
from deeplense_core.spec import RunSpec
from deeplense_core.workspace import ROOT, home

__all__ = ["LAUNCHERS", "cancel", "queue_position", "refresh", "reindex", "resume", "submit"]

COMMAND = [sys.executable, "-m", "deeplense_core", "work"]
"""What a launcher starts, followed by the run's folder."""


def submit(spec: RunSpec, where: str = "local") -> Run:
    """Creates a run and starts it.

    Args:
        spec: Complete, checked settings.
        where: ``local``: queued, in a process of its own that outlives this one. ``here``: in the
            foreground; returns when it has ended, whatever its end: see ``run.status``.

    Raises:
        UserError: when ``where`` is unknown or the folder cannot be made.
    """
    launch = _launcher(where)
    run = Run.create(spec)
    _start(run, launch)
    return run


def resume(run: Run, where: str = "local") -> Run:
    """Starts a run again that was cancelled, failed or lost; training goes on from its last checkpoint.

    Raises:
        UserError: when the run is active or done.
    """
    launch = _launcher(where)
    refresh(run)
    if not run.requeue():
        allowed = ", ".join(RESUMABLE)
        raise UserError(f"Run {run.id} is {run.status.state}. A run can be resumed when it is {allowed}.")
    _start(run, launch)
    return run


def cancel(run: Run, grace_s: float = CANCEL_GRACE_S) -> None:
    """Ends a run: at once while it is queued, else as soon as its training notices.

    Args:
        run: A queued or running run.
        grace_s: Seconds after which the worker kills the training and all it has started. Calling again
            with a shorter time hastens it.

    Raises:
        UserError: when the run has ended already.
    """
    state = refresh(run).state
    if state not in ACTIVE:
        raise UserError(f"Run {run.id} is {state} already; there is nothing to cancel.")
    run.request_cancel(grace_s)
    if run.set_status_if(("queued",), state="cancelled", finished=time.time()):
        slots.leave(run)
    _terminate(run)


def refresh(run: Run) -> Status:
    """The state of a run; one whose worker has died without a result becomes ``lost``."""
    status = run.status
    if status.state not in ACTIVE or run.has_worker():
        return status
    worker = run.worker
    if run.should_stop():
        state, cause = "cancelled", ""
    elif worker.get("boot_id") not in (None, boot_id()):
        state, cause = "lost", "the machine was restarted"
    else:
        state, cause = "lost", "its process ended without a result"
    if run.set_status_if(ACTIVE, state=state, cause=cause, finished=time.time()):
        slots.leave(run)
    return run.status


def queue_position(run: Run) -> int | None:
    """Place of ``run`` in the queue, 1 for the next; None when it does not wait."""
    return slots.position(run)


# Launchers ------------------------------------------------------------------------------------------


def _here(run: Run) -> None:
    """Runs the worker in the foreground; its output goes to stderr, its end is awaited."""
    process = subprocess.Popen([*COMMAND, str(run.path)], stdout=2, env=_environment())
    run.set_worker(identity(process.pid))
    while True:
        # Ctrl-C reaches the worker as well, which then stops the training in good order.
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
            break
    refresh(run)


def _local(run: Run) -> None:
    """Starts the worker in a session of its own, with its output in ``log.txt``."""
    with open(run.path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [*COMMAND, str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
    run.set_worker(identity(process.pid))
    # Somebody has to take note of its end, or it stays in the process table for as long as this lives.
    threading.Thread(target=process.wait, daemon=True, name=f"reap {run.id}").start()


LAUNCHERS: Mapping[str, Callable[[Run], None]] = {"local": _local, "here": _here}


def _launcher(where: str) -> Callable[[Run], None]:
    if where not in LAUNCHERS:
        raise UserError(f"Unknown place to run {where!r}. {nearest(where, LAUNCHERS)}")
    slots.count()  # a wrong setting is told now, not by a worker that nobody watches
    return LAUNCHERS[where]


def _start(run: Run, launch: Callable[[Run], None]) -> None:
    try:
        slots.enter(run)
        launch(run)
    except (OSError, UserError) as err:
        slots.leave(run)
        cause = f"the worker could not be started: {err}"
        run.set_status(state="failed", cause=cause, finished=time.time())


def _environment() -> dict[str, str]:
    """This process's environment, with the workspace and the package found from any folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "DEEPLENSE_HOME": str(home()), "PYTHONPATH": os.pathsep.join(paths)}


def _terminate(run: Run) -> None:
    """Wakes the worker up to the request to stop."""
    worker = run.worker
    if worker.get("role") == "worker" and is_alive(worker):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(worker["pid"], signal.SIGTERM)
