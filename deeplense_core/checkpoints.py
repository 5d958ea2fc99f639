"""Checkpoints that a crash cannot spoil: written whole, checked by sha256, the one before kept."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from deeplense_core.errors import UserError
from deeplense_core.storage import atomic_write, remove_temporaries, sync_folder
from deeplense_core.workspace import safe_name

_NAME = re.compile(r"(?P<order>\d{6,})-(?P<name>.+)\.(?P<sha256>[0-9a-f]{64})\.ckpt")


def save(folder: Path, name: str, payload: bytes, keep: int = 3) -> Path:
    """Adds a checkpoint to ``folder`` and removes all but the newest ``keep``.

    The hash is part of the file's name, so that one rename publishes the bytes and their hash together.

    Raises:
        UserError: when the disk is full; the checkpoints already there are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporaries(folder)
    present = _newest_first(folder)
    order = int(_match(present[0])["order"]) + 1 if present else 0
    path = folder / f"{order:06d}-{safe_name(name)}.{hashlib.sha256(payload).hexdigest()}.ckpt"
    atomic_write(path, payload)
    for old in present[max(keep, 1) - 1 :]:
        old.unlink(missing_ok=True)
    sync_folder(folder)
    return path


def latest(folder: Path) -> bytes | None:
    """The newest checkpoint whose bytes match their hash; None when there is none."""
    for path in _newest_first(folder):
        try:
            payload = path.read_bytes()
        except OSError:
            continue
        if hashlib.sha256(payload).hexdigest() == _match(path)["sha256"]:
            return payload
    return None


def save_file(path: Path, payload: bytes) -> None:
    """Replaces one file (the best weights, say), with the hash that :func:`read_file` checks beside it.

    File and hash cannot be replaced in one step, so the hash file first lists the old and the new
    hashes: whichever bytes a crash leaves are known.
    """
    hashes = [hashlib.sha256(payload).hexdigest()]
    record = path.with_name(f"{path.name}.sha256")
    known = _known_hashes(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(record, json.dumps((hashes + known)[:8]).encode())
    atomic_write(path, payload)


def read_file(path: Path) -> bytes:
    """The bytes :func:`save_file` wrote.

    Raises:
        UserError: when the file is missing or its bytes have changed since.
    """
    try:
        payload = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no file {str(path)!r}.") from None
    known = _known_hashes(path.with_name(f"{path.name}.sha256"))
    if known and hashlib.sha256(payload).hexdigest() not in known:
        raise UserError(f"The file {str(path)!r} is damaged: its bytes do not match their recorded hash.")
    return payload


def _known_hashes(record: Path) -> list[str]:
    try:
        return list(json.loads(record.read_bytes()))
    except (OSError, ValueError):
        return []


def _match(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return match


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(_match(path)["order"]), reverse=True)
