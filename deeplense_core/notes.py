"""What people keep beside runs: free text on each, and which one is the baseline."""

from __future__ import annotations

from pathlib import Path

from deeplense_core.errors import UserError
from deeplense_core.runs import Run
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import home

LONGEST = 10_000


def read_note(run: Run) -> str:
    """The note of a run; empty where there is none."""
    try:
        return (run.path / "note.txt").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def write_note(run: Run, text: str) -> None:
    """Replaces the note of a run.

    Raises:
        UserError: when the text is too long or the disk is full.
    """
    if len(text) > LONGEST:
        raise UserError(f"The note has {len(text):,} characters; at most {LONGEST:,} are kept. Shorten it.")
    atomic_write(run.path / "note.txt", text.encode(errors="replace"))


def baseline() -> str | None:
    """Id of the run that others are measured against; None where none was chosen, or it is gone."""
    try:
        name = _baseline_file().read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return name if name and (home() / "runs" / name).is_dir() else None


def set_baseline(name: str | None) -> None:
    """Chooses the run that others are measured against, for everyone who uses this workspace."""
    atomic_write(_baseline_file(), (name or "").encode())


def _baseline_file() -> Path:
    return home() / "baseline.txt"
