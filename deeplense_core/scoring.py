"""Evaluations in the background: one process for each network, which outlives the page that began it."""

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
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import ROOT, home, results_dir

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


def start(name: str, data: str, split: str = "test") -> None:
    """Starts ``evaluate`` of a network on a data set.

    Args:
        name: A run that has trained weights, or a shipped model.
        data: Folder of a data set, or ``sim:RECIPE``.
        split: ``test``, ``val``, ``train`` or ``all``.

    Raises:
        UserError: when an evaluation of this network is under way.
    """
    now = scoring(name)
    if now and now.running:
        raise UserError(f"{name} is being evaluated on {now.data!r} already. Wait until that is done.")
    results_dir(name).mkdir(parents=True, exist_ok=True)
    command = [*COMMAND, name, "--data", data, "--split", split, "--json"]
    with open(_log_file(name), "wb") as log:
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
    atomic_write(_job_file(name), json.dumps(job).encode(), durable=False)
    # Somebody has to take note of its end, or it stays in the process table for as long as this lives.
    threading.Thread(target=process.wait, daemon=True, name=f"reap evaluation of {name}").start()


def scoring(name: str) -> Scoring | None:
    """The evaluation of this network that is under way or failed; None once its report is there."""
    try:
        job = json.loads(_job_file(name).read_bytes())
    except (OSError, ValueError):
        return None
    running = is_alive(job["worker"])
    if not running and _has_report(name, job):
        forget(name)
        return None
    return Scoring(job["data"], job["split"], running, job["started"], "" if running else _last_words(name))


def forget(name: str) -> None:
    """Takes a failed evaluation off the list."""
    _job_file(name).unlink(missing_ok=True)


def _has_report(name: str, job: dict[str, Any]) -> bool:
    for path in (results_dir(name) / "evaluations").glob("*/report.json"):
        if path.stat().st_mtime >= job["started"]:
            report = json.loads(path.read_bytes())
            if (report["data"], report["split"]) == (job["data"], job["split"]):
                return True
    return False


def _last_words(name: str) -> str:
    lines = _log_file(name).read_text(errors="replace").strip().splitlines()
    return (
        lines[-1].strip() if lines else "The process ended without a word: it was killed, or memory ran out."
    )


def _job_file(name: str) -> Path:
    return results_dir(name) / "scoring.json"


def _log_file(name: str) -> Path:
    return results_dir(name) / "scoring.txt"
