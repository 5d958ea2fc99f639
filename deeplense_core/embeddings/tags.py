"""Words that people put on images of an embedding: one action a line, any undone, kept beside the embeddings.

Tags belong to the data and not to the network: other embeddings of the same images show them too.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from deeplense_core.embeddings.store import Embedding, embeddings_dir
from deeplense_core.errors import UserError
from deeplense_core.records import parse_lines
from deeplense_core.storage import append_line

LONGEST = 40


def tag(embedding: Embedding, rows: Sequence[int], word: str) -> str:
    """Puts a word on images; an image has one at most, the latest. An empty word takes it off.

    Returns:
        The action, for :func:`undo`.

    Raises:
        UserError: a word that is too long.
    """
    word = word.strip()
    if len(word) > LONGEST:
        raise UserError(f"A tag has at most {LONGEST} letters, this one {len(word)}. Shorten it.")
    return _act(embedding, {"tag": word, "ids": [str(embedding.ids[row]) for row in rows]})


def undo(embedding: Embedding, action: str) -> None:
    """Makes an action of :func:`tag` as if it had never been."""
    _act(embedding, {"undo": action})


def tags(embedding: Embedding) -> dict[str, str]:
    """Id -> word, of all images that have one."""
    try:
        actions = parse_lines(_file(embedding).read_bytes())
    except FileNotFoundError:
        return {}
    undone = {action["undo"] for action in actions if "undo" in action}
    found: dict[str, str] = {}
    for action in actions:
        if action["id"] not in undone and "tag" in action:
            found |= dict.fromkeys(action["ids"], action["tag"])
    return {name: word for name, word in found.items() if word}


def changed(embedding: Embedding) -> float:
    """When tags were last written, seconds since 1970; 0.0 without any."""
    try:
        return _file(embedding).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _act(embedding: Embedding, action: dict) -> str:
    name = uuid.uuid4().hex
    append_line(_file(embedding), json.dumps({"id": name, **action}).encode())
    return name


def _file(embedding: Embedding) -> Path:
    folder = embeddings_dir() / "tags"
    folder.mkdir(exist_ok=True)
    about = embedding.about
    said = about.get("fingerprint") or json.dumps(about["data"])
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.jsonl"
