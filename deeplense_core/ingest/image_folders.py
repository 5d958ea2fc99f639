"""Trees of labelled images, ``class/image`` or ``split/class/image``: what is there, before a file is opened.

Published ``train`` and ``val`` folders become this project's splits as follows: validation picks a model and
test is reported once, so a published ``val`` without a ``test`` beside it becomes ``test``, and a part of
``train`` becomes ``val``. Splits published in full stay as they are.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deeplense_core.classes import canonical_class
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.workspace import readable

_SPLIT_AND_CLASS = re.compile(r"(train|val|test)_(lens(?:es)?|non_?lens(?:es)?)", re.IGNORECASE)
"""Folders that name both, as the lens-finding set of 2025 has them."""
LISTED = 50
"""Files at most that a report names."""
_SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One file: where it is, and what its folders say about it."""

    path: Path
    id: str
    label: str
    """Empty where there are no class folders."""
    split: str
    """train, val or test as the folders say; "" where they say nothing."""


@dataclass
class Skipped:
    """What was not taken: counts by reason, and the first files by name."""

    counts: Counter[str] = field(default_factory=Counter)
    files: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, reason: str, why: str) -> None:
        """Notes one file."""
        self.counts[reason] += 1
        if len(self.files) < LISTED:
            self.files.append({"file": name, "reason": reason, "why": why})


@dataclass(frozen=True)
class Tree:
    """The files below a source folder."""

    items: list[Item]
    skipped: Skipped

    @property
    def has_splits(self) -> bool:
        """Whether there are train, val or test folders above the classes."""
        return any(item.split for item in self.items)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted; the three of the substructure task come out as no, sphere, vort."""
        return tuple(sorted({item.label for item in self.items} - {""}))


def rounded_scale(image: LensImage) -> float | None:
    """Side of a pixel in arcsec, so rounded that images of one camera agree on it."""
    return None if image.pixel_scale_arcsec is None else round(image.pixel_scale_arcsec, 5)


def scan(source: Path) -> Tree:
    """Lists the files of a source without opening any; of a folder without folders, as images without a label.

    Test images come first, then val, then the rest, each by name: where two files hold the same image, the
    first is kept, so test stays whole and train gives way.

    Raises:
        UserError: when the folder is missing or empty, or its folders are.
    """
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise UserError(f"{str(source)!r} {what}. Give a folder that holds one folder of images a class.")
    root = _unwrap(source)
    folders = _folders(root)
    if not folders:
        items = [Item(path, readable(path.name), "", "") for path in sorted(root.iterdir()) if path.name[:1] != "."]
        if not items:
            raise UserError(f"{str(source)!r} is empty. Give a folder that holds one folder of images a class.")
        return Tree(items, Skipped())
    skipped, items = Skipped(), []
    named = {folder: _SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders}
    if any(split and _folders(folder) for folder, split in named.items()):
        present = {split for folder, split in named.items() if split and _folders(folder)}
        for folder, split in named.items():
            if split is None:
                skipped.add(folder.name, "folder beside the splits", "It is neither train, val nor test.")
                continue
            role = _role(split, present)
            for classes in _folders(folder):
                items.extend(_files(classes, root, role, skipped))
    else:
        joined = {folder: m for folder in folders if (m := _SPLIT_AND_CLASS.fullmatch(folder.name))}
        present = {_SPLIT_FOLDERS[m[1].lower()] for m in joined.values()}
        for folder in folders:
            role = _role(_SPLIT_FOLDERS[joined[folder][1].lower()], present) if folder in joined else ""
            items.extend(_files(folder, root, role, skipped))
    if not items:
        raise UserError(f"The folders in {str(source)!r} hold no files. Give a folder that holds images.")
    order = {"test": 0, "val": 1, "train": 2, "": 2}
    return Tree(sorted(items, key=lambda item: (order[item.split], item.id)), skipped)


def _role(split: str, present: set[str]) -> str:
    """Which split a published folder becomes; "" where fractions decide."""
    if present == {"train", "val"}:
        return {"train": "", "val": "test"}[split]
    if present == {"train", "test"}:
        return {"train": "", "test": "test"}[split]
    return split if len(present) > 1 else ""


def _unwrap(folder: Path) -> Path:
    """Steps into folders that only wrap another one, as archives do."""
    for _ in range(3):
        inside = _folders(folder)
        if len(inside) != 1 or not _folders(inside[0]) or inside[0].name.lower() in _SPLIT_FOLDERS:
            return folder
        folder = inside[0]
    return folder


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e) for e in entries if e.is_dir() and not e.name.startswith((".", "__MACOSX")))
    except OSError as err:
        raise UserError(f"{str(folder)!r} cannot be read: {err.strerror}.") from err


def _files(folder: Path, root: Path, split: str, skipped: Skipped) -> Iterator[Item]:
    both = _SPLIT_AND_CLASS.fullmatch(folder.name)
    label = canonical_class(both[2] if both else readable(folder.name))
    for path in sorted(folder.iterdir()):
        name = readable(path.relative_to(root).as_posix())
        if path.is_dir():
            skipped.add(name, "folder in a class folder", "Images must lie directly in their class's folder.")
        elif not path.name.startswith("."):
            yield Item(path, name, label, split)
