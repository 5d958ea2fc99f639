"""Scorings of many images in the background: ``predict`` in a process of its own, its table in the workspace."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core import background
from deeplense_core.bulk.files import find_files
from deeplense_core.bulk.sources import is_hdf5, is_set, open_set
from deeplense_core.errors import UserError
from deeplense_core.workspace import home, safe_name

TABLE = "scores.parquet"
COMMAND = (*background.DEEPLENSE, "predict")
_SAMPLE = 2**16


@dataclass(frozen=True)
class Scored:
    """One scoring: under way, done, or ended early."""

    id: str
    model: str
    source: Path
    """A folder of files, or a set of images in one array."""
    pixel_scale_arcsec: float | None
    """For images that do not say it."""
    state: str
    """``running``, ``done`` or ``stopped``; what stopped can go on."""
    done: int
    """Images so far, about; of a scoring that is done the table says."""
    total: int | None
    """None where only the job itself knows."""
    started: float
    """Seconds since 1970."""
    error: str
    """Last words of one that stopped by itself."""
    folder: Path

    @property
    def table(self) -> Path:
        return self.folder / TABLE

    @property
    def failed(self) -> Path:
        """The list of images that could not be used; it need not be there."""
        return self.folder / f"{Path(TABLE).stem}.failed.csv"


def start(model: str, source: str, pixel_scale_arcsec: float | None = None) -> str:
    """Starts the scoring of a folder of files or of a set of images; returns its id.

    Raises:
        UserError: there is nothing at that place, or no image.
    """
    path = Path(source).expanduser().absolute()
    if not source.strip() or not path.exists():
        raise UserError(f"There is nothing at {source!r} on this machine. Give the full path of a folder or file.")
    total = _count(path)
    if total == 0:
        raise UserError(f"There is no file in {str(path)!r}.")
    facts = {"model": model, "source": str(path), "pixel_scale": pixel_scale_arcsec, "total": total}
    folder = _dir() / uuid.uuid4().hex[:12]
    _launch(folder, facts)
    return folder.name


def resume(scored: Scored) -> None:
    """Goes on with one that stopped, where it stopped."""
    job = background.find(scored.folder)
    if job and not job.running:
        _launch(scored.folder, dict(job.facts))


def cancel(scored: Scored) -> None:
    """Stops one; what it has found is kept, and it can go on."""
    job = background.find(scored.folder)
    if job:
        background.stop(job)


def forget(scored: Scored) -> None:
    """Removes one with its table."""
    cancel(scored)
    shutil.rmtree(scored.folder, ignore_errors=True)


def list_scored() -> list[Scored]:
    """All scorings, newest first."""
    found = [_look(folder) for folder in _dir().iterdir()]
    return sorted((one for one in found if one), key=lambda one: -one.started)


def find_scored(name: str) -> Scored | None:
    return _look(_dir() / safe_name(name))


def _launch(folder: Path, facts: dict[str, Any]) -> None:
    options = ["--pixel-scale", str(facts["pixel_scale"])] if facts["pixel_scale"] else []
    command = [*COMMAND, facts["model"], facts["source"], "--out", str(folder / TABLE), *options]
    background.launch(folder, command, facts)


def _count(path: Path) -> int | None:
    """Images, or files, at a place; None of HDF5, which this process does not open."""
    if is_hdf5(path):
        return None
    if is_set(path):
        with open_set(path) as images:
            return images.count
    return sum(1 for _ in find_files([path]))


def _look(folder: Path) -> Scored | None:
    job = background.find(folder)
    if job is None:
        return None
    facts, done = job.facts, (folder / TABLE).exists() and not job.running
    state = "done" if done else "running" if job.running else "stopped"
    return Scored(
        folder.name, facts["model"], Path(facts["source"]), facts["pixel_scale"], state,
        0 if done else _lines(folder / f"{TABLE}.part"), facts["total"], job.started,
        job.last_words() if state == "stopped" else "", folder,
    )  # fmt: skip


def _lines(journal: Path) -> int:
    """About how many images a journal holds: its length over that of its first lines."""
    try:
        size = journal.stat().st_size
        with open(journal, "rb") as file:
            lines = file.read(_SAMPLE).splitlines(keepends=True)[1:]
    except OSError:
        return 0
    length = sum(map(len, lines))
    return round(len(lines) * (size / length if size > _SAMPLE else 1)) if length else 0


def _dir() -> Path:
    path = home() / "scored"
    path.mkdir(exist_ok=True)
    return path
