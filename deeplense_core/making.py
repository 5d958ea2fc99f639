"""Data sets made in the background: a process of its own for each, which outlives the page that began it.

What is being made is a folder ``making/<id>`` of the workspace with the command, who runs it and its log.
The folder goes when the data set is there; where the process died without one, its last words are the error.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core import background
from deeplense_core.command import simulate_words
from deeplense_core.data_writer import list_unfinished
from deeplense_core.errors import UserError
from deeplense_core.workspace import datasets_dir, home, safe_name


@dataclass(frozen=True)
class Making:
    """One data set in the making, or one whose making failed."""

    id: str
    name: str
    """Name of the data set's folder."""
    source: str
    """What it is made from: a recipe, or the folder that is read."""
    state: str
    """``running`` or ``failed``."""
    done: int
    """Images written so far."""
    total: int | None
    """Images wanted, where known."""
    started: float
    """Seconds since 1970."""
    error: str = ""
    """Last words of a process that failed."""


def start_simulation(
    recipe: str, count: int, name: str, seed: int = 0, as_published: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Starts ``simulate`` for a data set of the workspace; returns the id of the making.

    Args:
        recipe: Name of a recipe.
        count: Number of images.
        name: Name of the data set; becomes a folder name.
        seed: Decides every image.
        as_published: The published set, quirks included.
        settings: Of the recipe, those that are not at their default.

    Raises:
        UserError: when the name is taken or the count is below 1.
    """
    if count < 1:
        raise UserError(f"count = {count} images cannot be simulated. Ask for at least 1.")
    out = _free(name)
    return _start(simulate_words(recipe, count, str(out), seed, as_published, settings), out, recipe, count)


def start_ingest(folder: str, name: str, layout: str = "auto", channels: str = "auto") -> str:
    """Starts ``ingest`` of a folder into the workspace; returns the id of the making.

    Args:
        folder: On this machine.
        name: Name of the data set; becomes a folder name.
        layout, channels: As :func:`deeplense_core.ingest.ingest` takes them.

    Raises:
        UserError: when the folder does not exist or the name is taken.
    """
    source = Path(folder).expanduser().absolute()
    if not folder.strip() or not source.exists():
        raise UserError(f"There is nothing at {folder!r} on this machine. Give the full path of a folder.")
    out = _free(name)
    return _start(["ingest", str(source), "--out", str(out), "--layout", layout, "--channels", channels],
                  out, str(source), None)


def list_makings() -> list[Making]:
    """What is being made now and what failed, oldest first. Finished ones leave the list."""
    writers = {facts["name"]: facts for facts in list_unfinished()}
    found = [_look(folder, writers) for folder in _makings_dir().iterdir()]
    return sorted((making for making in found if making), key=lambda making: making.started)


def cancel(making_id: str) -> None:
    """Ends a making with all its processes and removes what it wrote; forgets one that failed."""
    folder = _makings_dir() / safe_name(making_id)
    job = background.find(folder)
    if job:
        background.stop(job)
    shutil.rmtree(folder, ignore_errors=True)
    if job:
        # Removes what a killed writer left, once the last of its threads has let go of it.
        background.wait_until(lambda: all(facts["name"] != job.facts["name"] for facts in list_unfinished()))


def _free(name: str) -> Path:
    """Where a data set of this name will be; raises a UserError where there is one."""
    out = datasets_dir() / safe_name(name)
    if out.exists() or any(making.name == out.name for making in list_makings()):
        raise UserError(f"A data set named {out.name!r} exists already. Choose another name.")
    return out


def _start(words: Sequence[str], out: Path, source: str, total: int | None) -> str:
    folder = _makings_dir() / uuid.uuid4().hex[:12]
    background.launch(folder, [*background.DEEPLENSE, *words], {"name": out.name, "source": source, "total": total})
    return folder.name


def _look(folder: Path, writers: Mapping[str, Mapping[str, Any]]) -> Making | None:
    """State of one making; None, and the folder removed, once its data set is there."""
    job = background.find(folder)
    if job is None:
        return None
    name, running = job.facts["name"], job.running
    if not running and (datasets_dir() / name / "manifest.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        return None
    progress = writers.get(name, {})
    return Making(
        id=folder.name, name=name, source=job.facts["source"], state="running" if running else "failed",
        done=progress.get("done", 0), total=progress.get("total") or job.facts["total"], started=job.started,
        error="" if running else job.last_words(),
    )  # fmt: skip


def _makings_dir() -> Path:
    path = home() / "making"
    path.mkdir(exist_ok=True)
    return path
