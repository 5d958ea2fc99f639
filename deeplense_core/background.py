"""Commands in the background: a process of its own for each, which outlives the page that began it.

Each has a folder with ``job.json`` (what was asked, and who does it) and ``log.txt`` (what it said).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core.machine import identity, is_alive
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import ROOT, home

DEEPLENSE = (sys.executable, "-m", "deeplense_core")
CANCEL_WAIT_S = 5.0


@dataclass(frozen=True)
class Job:
    """A command that runs, or ran, in the background."""

    folder: Path
    facts: Mapping[str, Any]
    """What was asked, in the words of who asked."""
    worker: Mapping[str, Any]
    started: float
    """Seconds since 1970."""

    @property
    def running(self) -> bool:
        return is_alive(self.worker)

    def last_words(self) -> str:
        """The last line that the command said: after a failure, its error."""
        try:
            lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        if not lines:
            return "The process ended without a word: it was killed, or memory ran out."
        return lines[-1].strip().removeprefix("Error: ")


def launch(folder: Path, command: Sequence[str], facts: Mapping[str, Any]) -> Job:
    """Starts a command detached, in the project's root, with this workspace; its output goes to ``log.txt``.

    Args:
        folder: Of the job; made where it is missing.
        command: As :func:`subprocess.Popen` takes it; a command of this project begins with :data:`DEEPLENSE`.
        facts: Kept in ``job.json``: plain numbers and text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "DEEPLENSE_HOME": str(home())}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
        )  # fmt: skip
    job = Job(folder, dict(facts), identity(process.pid), time.time())
    kept = {"facts": job.facts, "worker": job.worker, "started": job.started}
    atomic_write(folder / "job.json", json.dumps(kept).encode(), durable=False)
    # Somebody has to take note of its end, or it stays in the process table for as long as this lives.
    threading.Thread(target=process.wait, daemon=True, name=f"reap {folder.name}").start()
    return job


def find(folder: Path) -> Job | None:
    """The job of a folder; None where there is none, or it has only just begun."""
    try:
        kept = json.loads((folder / "job.json").read_bytes())
        return Job(folder, kept["facts"], kept["worker"], kept["started"])
    except (OSError, ValueError, KeyError):
        return None


def stop(job: Job) -> None:
    """Ends a job with all its processes: asked first, killed after five seconds."""
    if not job.running:
        return
    _signal(job, signal.SIGTERM)
    wait_until(lambda: not job.running)
    _signal(job, signal.SIGKILL)


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until it is true, five seconds at most."""
    deadline = time.monotonic() + CANCEL_WAIT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _signal(job: Job, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job.worker["pid"], number)
