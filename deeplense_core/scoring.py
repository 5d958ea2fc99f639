"""Evaluations in the background: one process beside a run, which outlives the page that began it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core.errors import UserError
from deeplense_core.machine import identity, is_alive
from deeplense_core.runs import Run
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import ROOT, home

COMMAND = [sys.executable, "-m", "deeplense_core", "evaluate"]


@dataclass(frozen=True)
class Scoring:
    """An evaluation under way, or one that failed."""

    data: str
    split: str
    running: bool
    started: float
    """Seconds since 1970."""
    error: str = ""
    """Last words of a process that ended without a report."""


def start(run: Run, data: str, split: str = "test") -> None:
    """Starts ``evaluate`` of a run on a data set.

    Args:
        run: One that has trained weights.
        data: Folder of a data set, or ``sim:RECIPE``.
        split: ``test``, ``val``, ``train`` or ``all``.

    Raises:
        UserError: when an evaluation of this run is under way.
    """
    now = scoring(run)
    if now and now.running:
        raise UserError(f"Run {run.id} is being evaluated on {now.data!r} already. Wait until that is done.")
    command = [*COMMAND, run.id, "--data", data, "--split", split, "--json"]
    with open(run.path / "scoring.txt", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "DEEPLENSE_HOME": str(home())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    job = {"data": data, "split": split, "started": time.time(), "worker": identity(process.pid)}
    atomic_write(_job_file(run), json.dumps(job).encode(), durable=False)
    # Somebody has to take note of its end, or it stays in the process table for as long as this lives.
    threading.Thread(target=process.wait, daemon=True, name=f"reap evaluation of {run.id}").start()


def scoring(run: Run) -> Scoring | None:
    """The evaluation of this run that is under way or failed; None once its report is there."""
    try:
        job = json.loads(_job_file(run).read_bytes())
    except (OSError, ValueError):
        return None
    running = is_alive(job["worker"])
    if not running and _has_report(run, job):
        forget(run)
        return None
    return Scoring(job["data"], job["split"], running, job["started"], "" if running else _last_words(run))


def forget(run: Run) -> None:
    """Takes a failed evaluation off the list."""
    _job_file(run).unlink(missing_ok=True)


def _has_report(run: Run, job: dict[str, Any]) -> bool:
    for path in (run.path / "evaluations").glob("*/report.json"):
        if path.stat().st_mtime >= job["started"]:
            report = json.loads(path.read_bytes())
            if (report["data"], report["split"]) == (job["data"], job["split"]):
                return True
    return False


def _last_words(run: Run) -> str:
    lines = (run.path / "scoring.txt").read_text(errors="replace").strip().splitlines()
    return (
        lines[-1].strip() if lines else "The process ended without a word: it was killed, or memory ran out."
    )


def _job_file(run: Run) -> Path:
    return run.path / "scoring.json"
