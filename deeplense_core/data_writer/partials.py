"""Folders of data sets not finished yet: who still writes one, and what a dead writer left.

A writer holds a file lock in its folder. The kernel drops the lock with the process, so neither a reused
process id nor a moved clock can make a dead writer look alive, or the other way round.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplense_core import workspace

_BEGINS_WITHIN_S = 60


def read_progress(folder: str | os.PathLike) -> dict[str, Any] | None:
    """What the writer of a partial folder last said: path, name, done, total, pid, start_time; else None."""
    try:
        facts = json.loads((Path(folder) / "progress.json").read_text())
    except (OSError, ValueError):
        return None
    return {"path": str(folder), **facts} if isinstance(facts, dict) else None


def list_unfinished(folder: str | os.PathLike | None = None) -> list[dict[str, Any]]:
    """Data sets now being made in ``folder`` (or the workspace); remains of dead writers are removed."""
    alive = []
    for partial in sorted(Path(folder or workspace.datasets_dir()).glob(f".partial-*-{'[0-9a-f]' * 12}")):
        if _writer_is_dead(partial):
            shutil.rmtree(partial, ignore_errors=True)
        elif (facts := read_progress(partial)) is not None:
            alive.append(facts)
    return alive


def _writer_is_dead(partial: Path) -> bool:
    old = time.time() - _modified(partial) > _BEGINS_WITHIN_S
    try:
        with open(partial / "writer.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no lock file: just begun, killed before it took the lock, or not a writer's folder at all
        if old:
            with suppress(OSError):
                partial.rmdir()  # which an empty folder only allows
        return False
    return old or (partial / "progress.json").exists()  # which is written after the lock was taken


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # renamed or removed meanwhile
        return time.time()
