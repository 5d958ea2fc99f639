"""Deleting data sets and runs, bringing them back, and making room.

What is deleted waits in ``.trash`` beside the others of its kind, under its name, until somebody empties the trash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.jobs import refresh
from deeplense_core.registry import nearest
from deeplense_core.runs import ACTIVE, list_runs, open_run
from deeplense_core.workspace import TRASH, datasets_dir, folder_names, runs_dir, throw_away

RUN, DATA_SET = "run", "data set"


@dataclass(frozen=True)
class Deleted:
    """A run or a data set in the trash."""

    kind: str
    name: str
    path: Path

    def size_bytes(self) -> int:
        """What its files take on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file() and not file.is_symlink())


def delete(name: str) -> Deleted:
    """Moves a run, or a data set of the workspace, to the trash.

    Args:
        name: Id of a run, or name or folder of a data set.

    Raises:
        UserError: there is none of this name; the run is active, or the data set is in use by one.
    """
    runs, sets, path = folder_names(runs_dir()), folder_names(datasets_dir()), Path(name).expanduser().absolute()
    if name in runs:
        return delete_run(name)
    if name in sets or path.parent == datasets_dir() and path.name in sets:
        return delete_dataset(path.name)
    if os.path.exists(os.path.join(path, "manifest.json")):
        raise UserError(f"{name!r} is not a data set of the workspace. Only those are deleted here: "
                        "remove the folder yourself.")
    near = nearest(name, [*sets, *runs[-200:]]) if sets or runs else "The workspace is empty."
    raise UserError(f"There is no run or data set {name[:100]!r}. {near}")


def delete_run(run_id: str) -> Deleted:
    """Moves a run to the trash.

    Raises:
        UserError: there is none of this id, or it is active.
    """
    run = open_run(run_id)
    run.delete()
    return Deleted(RUN, run.id, runs_dir() / TRASH / run.id)


def delete_dataset(name: str) -> Deleted:
    """Moves a data set of the workspace to the trash.

    Raises:
        UserError: there is none of this name, or an active run reads it.
    """
    folder = open_dataset(datasets_dir() / name).path
    for row in list_runs():
        if row.state in ACTIVE and refresh(run := open_run(row.id)).state in ACTIVE:
            reads = {run.spec.data, str(run.spec.train_settings.get("target", ""))}
            if folder in [Path(one).expanduser().absolute() for one in reads if one]:
                raise UserError(f"Run {row.id} is reading {name!r}. Cancel it before you delete the data set.")
    throw_away(folder)
    return Deleted(DATA_SET, name, folder.parent / TRASH / name)


def contents() -> list[Deleted]:
    """What is in the trash, what was deleted last first."""
    found = [Deleted(kind, name, parent / TRASH / name) for kind, parent in _parents().items()
             for name in folder_names(parent / TRASH)]
    return sorted(found, key=lambda one: one.path.stat().st_ctime, reverse=True)


def restore(name: str) -> Deleted:
    """Brings a run or a data set back from the trash.

    Raises:
        UserError: it is not there, or another has taken its name since.
    """
    there = contents()
    found = next((one for one in there if one.name == name), None)
    if found is None:
        known = [one.name for one in there]
        raise UserError(f"There is no {name[:100]!r} in the trash. {nearest(name, known) if known else 'It is empty.'}")
    back = found.path.parent.parent / name
    if back.exists():
        raise UserError(f"There is a {found.kind} {name!r} again: this one stays in the trash. "
                        "Delete that one first.")
    os.rename(found.path, back)
    return Deleted(found.kind, name, back)


def empty(those: Iterable[Deleted]) -> int:
    """Removes for good what was in the trash; returns the bytes that are free now."""
    freed = 0
    for one in those:
        freed += one.size_bytes()
        shutil.rmtree(one.path)
    return freed


def _parents() -> dict[str, Path]:
    return {RUN: runs_dir(), DATA_SET: datasets_dir()}
