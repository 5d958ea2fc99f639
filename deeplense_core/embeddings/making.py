"""Embeddings and maps in the background: a process of its own for each, which outlives the page that began it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplense_core import background
from deeplense_core.embeddings.project import map_file
from deeplense_core.embeddings.store import Embedding, embeddings_dir, open_embedding
from deeplense_core.errors import UserError
from deeplense_core.workspace import safe_name

_LOOKED_AT = 2**16


@dataclass(frozen=True)
class Making:
    """An embedding or a map in the making, or one whose making failed."""

    id: str
    out: Path
    """Of the embedding."""
    method: str
    """Of the map."""
    what: str
    """What it is made from, in words."""
    running: bool
    done: int
    """Images embedded so far; 0 while a map is drawn."""
    total: int | None
    started: float
    """Seconds since 1970."""
    drawing: bool
    """Whether the vectors are there and the map is being drawn."""
    error: str = ""
    """Last words of a process that failed."""


def start(model: str, data: Sequence[str], out: Path, method: str, total: int | None, count: int) -> str:
    """Starts ``embed`` and then ``project``; returns the id of the making.

    Args:
        model: A run, or a shipped model.
        data: As ``embed`` takes them.
        out: The file to make.
        method: Of the map.
        total: Images, where known.
        count: Images to simulate, of a recipe.

    Raises:
        UserError: the same is being made already.
    """
    options = ["--data", *data, "--out", str(out), "--project", method, "--count", str(count)]
    return _start(["embed", model, *options], out, method, ", ".join(map(_short, data)), total)


def start_map(embedding: Embedding, method: str) -> str:
    """Starts ``project`` with the method's own settings; returns the id of the making.

    Raises:
        UserError: the same is being made already.
    """
    return _start(["project", str(embedding.path), "--method", method], embedding.path, method, embedding.name, None)


def list_makings() -> list[Making]:
    """What is being made now and what failed, oldest first. Finished ones leave the list."""
    found = [_look(folder) for folder in _dir().iterdir()]
    return sorted((making for making in found if making), key=lambda making: making.started)


def cancel(making_id: str) -> None:
    """Ends a making with all its processes, or forgets one that failed; what was embedded stays for the next."""
    folder = _dir() / safe_name(making_id)
    job = background.find(folder)
    if job:
        background.stop(job)
    shutil.rmtree(folder, ignore_errors=True)


def _start(words: Sequence[str], out: Path, method: str, what: str, total: int | None) -> str:
    for making in list_makings():
        if making.running and making.out == out and making.method == method:
            raise UserError(f"{out.stem!r} is being made already. Wait until it is done.")
        if not making.running and making.out == out:
            cancel(making.id)
    folder = _dir() / uuid.uuid4().hex[:12]
    facts = {"out": str(out), "method": method, "what": what, "total": total}
    background.launch(folder, [*background.DEEPLENSE, *words], facts)
    return folder.name


def _look(folder: Path) -> Making | None:
    """State of one making; None, and the folder removed, once all is there."""
    job = background.find(folder)
    if job is None:
        return None
    out, running = Path(job.facts["out"]), job.running
    if not running and _is_there(out, job.facts["method"]):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    part = out.with_name(f"{out.name}.part")
    return Making(
        folder.name, out, job.facts["method"], job.facts["what"], running, _lines(part) - 1, job.facts["total"],
        job.started, drawing=out.exists() and not part.exists(), error="" if running else job.last_words(),
    )  # fmt: skip


def _is_there(out: Path, method: str) -> bool:
    try:
        return map_file(open_embedding(out), method).exists()
    except UserError:
        return False


def _lines(path: Path) -> int:
    """About how many lines a file of similar lines has, without reading all of it; 1 where there is none."""
    try:
        with open(path, "rb") as file:
            start = file.read(_LOOKED_AT)
        count = start.count(b"\n")
        return max(1, round(count * path.stat().st_size / (start.rfind(b"\n") + 1))) if count else 1
    except FileNotFoundError:
        return 1


def _short(data: str) -> str:
    return data if data.startswith("sim:") else Path(data).name


def _dir() -> Path:
    path = embeddings_dir() / "making"
    path.mkdir(exist_ok=True)
    return path
