"""Where things are kept: one folder that holds data sets, runs and uploads."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from pathlib import Path

from deeplense_core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: assets and shipped models lie below it."""
TRASH = ".trash"
"""Folder of what was deleted, beside the others."""


def home() -> Path:
    """The workspace folder: ``$DEEPLENSE_HOME``, else ``./workspace``. Created when missing."""
    path = Path(os.environ.get("DEEPLENSE_HOME") or "workspace").expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(
            f"The workspace {str(path)!r} cannot be created: {err.strerror}. "
            "Set DEEPLENSE_HOME to a folder you can write to."
        ) from err
    return path


def datasets_dir() -> Path:
    """Folder of data sets, one sub-folder each."""
    return _below("datasets")


def runs_dir() -> Path:
    """Folder of runs, one sub-folder each."""
    return _below("runs")


def shipped_models_dir() -> Path:
    """Folder of the trained models that come with the project."""
    return ROOT / "assets" / "models"


def results_dir(name: str) -> Path:
    """Where the evaluations of a run or of a shipped model, which is read-only, are kept."""
    run = runs_dir() / name
    return run if run.is_dir() else _below("shipped") / safe_name(name)


def folder_names(parent: Path) -> list[str]:
    """Names of the folders in ``parent``, sorted, without hidden ones; none where it is missing."""
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except FileNotFoundError:
        return []


def throw_away(folder: Path) -> None:
    """Moves a folder to the trash beside it; what lay there under its name is gone then."""
    trash = folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    if (trash / folder.name).exists():
        shutil.rmtree(trash / folder.name)
    os.rename(folder, trash / folder.name)


def _below(name: str) -> Path:
    path = home() / name
    path.mkdir(exist_ok=True)
    return path


def readable(name: str) -> str:
    """A file name as text that can be stored and shown, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "replace")


def safe_name(text: str, fallback: str = "unnamed") -> str:
    """A folder name made from any text: ASCII letters, digits, dot, dash; at most 60 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", plain).strip(".-")[:60].strip(".-")
    return plain or fallback
