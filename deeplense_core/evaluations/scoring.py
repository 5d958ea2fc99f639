"""Evaluations in the background, one at a time for each network."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from deeplense_core import background
from deeplense_core.errors import UserError
from deeplense_core.workspace import results_dir

COMMAND = [*background.DEEPLENSE, "evaluate"]


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
    command = [*COMMAND, name, "--data", data, "--split", split, "--json"]
    background.launch(_folder(name), command, {"data": data, "split": split})


def scoring(name: str) -> Scoring | None:
    """The evaluation of this network that is under way or failed; None once its report is there."""
    job = background.find(_folder(name))
    if job is None:
        return None
    running = job.running
    if not running and _has_report(name, job):
        forget(name)
        return None
    return Scoring(job.facts["data"], job.facts["split"], running, job.started, "" if running else job.last_words())


def forget(name: str) -> None:
    """Takes a failed evaluation off the list."""
    shutil.rmtree(_folder(name), ignore_errors=True)


def _has_report(name: str, job: background.Job) -> bool:
    wanted = job.facts["data"], job.facts["split"]
    for path in (results_dir(name) / "evaluations").glob("*/report.json"):
        if path.stat().st_mtime >= job.started:
            report = json.loads(path.read_bytes())
            if (report["data"], report["split"]) == wanted:
                return True
    return False


def _folder(name: str) -> Path:
    return results_dir(name) / "scoring"
