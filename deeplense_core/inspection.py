"""The list of images that people marked to be looked at: kept in the workspace, one action a line, any undone.

Each image is kept with it, so that the list outlives uploads and data sets.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.storage import append_line, atomic_write
from deeplense_core.workspace import home


@dataclass(frozen=True)
class Mark:
    """One image on the list."""

    id: str
    """Hash of its pixels."""
    name: str
    """What its owner calls it: text to show, never a path."""
    time: float
    """When it was marked, seconds since 1970."""
    answer: Mapping[str, Any]
    """What a network had said of it: a row as :func:`deeplense_core.answers.answer_row` gives it."""
    about: Mapping[str, Any]
    """``pixel_scale_arcsec``, ``bands`` and the other facts of its file."""


def mark(items: Iterable[tuple[LensImage, Mapping[str, Any]]]) -> str:
    """Puts images with their answers on the list, all or none; one already there moves to its end.

    Returns:
        The action, for :func:`undo`.

    Raises:
        UserError: the disk is full; the list is as it was.
    """
    entries = [_entry(image, answer) for image, answer in items]
    return _act({"add": entries})


def unmark(ids: Sequence[str]) -> str:
    """Takes images off the list. Returns the action, for :func:`undo`."""
    return _act({"remove": list(ids)})


def undo(action: str) -> None:
    """Makes an action of :func:`mark` or :func:`unmark` as if it had never been."""
    _act({"undo": action})


def marked() -> list[Mark]:
    """The list, in the order in which images were marked."""
    actions = _actions()
    undone = {action["undo"] for action in actions if "undo" in action}
    found: dict[str, Mark] = {}
    for action in actions:
        if action["id"] in undone:
            continue
        for gone in [*action.get("remove", ()), *(entry["id"] for entry in action.get("add", ()))]:
            found.pop(gone, None)
        found |= {entry["id"]: Mark(**entry) for entry in action.get("add", ())}
    return list(found.values())


def marked_image(one: Mark) -> LensImage:
    """The image behind an entry.

    Raises:
        UserError: its file is gone.
    """
    try:
        pixels = np.load(_image_file(one.id), allow_pickle=False)
    except (OSError, ValueError) as err:
        raise UserError(f"The image of {one.name!r} on the inspection list cannot be read. Mark it again.") from err
    about = dict(one.about)
    return LensImage(pixels, about.pop("pixel_scale_arcsec"), tuple(about.pop("bands")), about)


def image_id(image: LensImage) -> str:
    """What tells this image from all others: a hash of its pixels."""
    return hashlib.sha256(str(image.pixels.shape).encode() + image.pixels.tobytes()).hexdigest()[:24]


def _entry(image: LensImage, answer: Mapping[str, Any]) -> dict[str, Any]:
    key = image_id(image)
    if not _image_file(key).exists():
        file = io.BytesIO()
        np.save(file, image.pixels)
        atomic_write(_image_file(key), file.getvalue())
    about = {**image.meta, "pixel_scale_arcsec": image.pixel_scale_arcsec, "bands": image.bands}
    return {"id": key, "name": str(answer["name"]), "time": time.time(), "answer": dict(answer), "about": about}


def _act(action: dict[str, Any]) -> str:
    name = uuid.uuid4().hex
    append_line(_folder() / "marks.jsonl", json.dumps({"id": name, **action}, allow_nan=False).encode())
    return name


def _actions() -> list[dict[str, Any]]:
    """All actions in order; a line that a crash tore is skipped."""
    try:
        lines = (_folder() / "marks.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _folder() -> Path:
    path = home() / "inspection"
    (path / "images").mkdir(parents=True, exist_ok=True)
    return path


def _image_file(key: str) -> Path:
    return _folder() / "images" / f"{key}.npy"
