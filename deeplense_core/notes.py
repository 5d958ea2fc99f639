"""What people write beside a run: free text in its folder."""

from __future__ import annotations

from deeplense_core.errors import UserError
from deeplense_core.runs import Run
from deeplense_core.storage import atomic_write

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
