"""Brings folders of coarse and fine images, ``LR/`` and ``HR/``, into a data set of pairs, matched by number.

Values stay as they were published: unlike the simulator's, they may be in another unit for every image.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deeplense_core.data import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.images import BadImageError, LensImage
from deeplense_core.ingest.image_folders import LISTED, Item, Skipped, Tree

SIDES = ("lr", "hr")
_BATCH = 64


@dataclass(frozen=True)
class Pair:
    """Two files that show one sky."""

    id: str
    split: str
    lr: Item
    hr: Item


def is_pairs(tree: Tree) -> bool:
    """Whether the folders are ``LR`` and ``HR``, in any case."""
    return {name.lower() for name in tree.classes} == set(SIDES)


def side(tree: Tree, which: str) -> Tree:
    """The files of one side, ``lr`` or ``hr``."""
    return replace(tree, items=[item for item in tree.items if item.label.lower() == which])


def match(tree: Tree) -> list[Pair]:
    """Pairs files by the last number in their names, within their split; what stays alone is noted as skipped."""
    found: dict[tuple[str, int], dict[str, Item]] = {}
    for item in tree.items:
        numbers = re.findall(r"\d+", item.path.stem)
        if not numbers:
            why = "Pairs are matched by the number in their names; this one has none."
            tree.skipped.add(item.id, "no number in the name", why)
            continue
        twins = found.setdefault((_folder(item), int(numbers[-1])), {})
        first = twins.setdefault(item.label.lower(), item)
        if first is not item:
            tree.skipped.add(item.id, "number used twice", f"{first.id} has the number {int(numbers[-1])} too.")
    pairs = []
    for (folder, number), twins in sorted(found.items(), key=lambda entry: entry[0]):
        if len(twins) == 2:
            pairs.append(Pair(f"{folder}{number}", twins["lr"].split, twins["lr"], twins["hr"]))
            continue
        (lonely,) = twins.values()
        other = "HR" if "lr" in twins else "LR"
        tree.skipped.add(lonely.id, "without its partner", f"There is no {other} image with the number {number}.")
    if not pairs:
        raise UserError("No file in LR has a partner with the same number in HR. Pairs are matched by the last "
                        "number in their names, as LR/sample12.npy and HR/sample12.npy.")
    order = {"test": 0, "val": 1, "train": 2, "": 2}
    return sorted(pairs, key=lambda pair: order[pair.split])


def _folder(item: Item) -> str:
    """Where LR and HR lie, as the beginning of an id; "" at the top."""
    above = item.id.split("/")[:-2]
    return "".join(f"{name}/" for name in above)


def check_scale(lr_shape: Sequence[int], hr_shape: Sequence[int], scales: Sequence[float | None]) -> int:
    """How many fine pixels lie along a coarse one.

    Args:
        lr_shape, hr_shape: (c, h, w) of both sides.
        scales: Pixel sides in arcsec of LR and HR, None where unknown.

    Raises:
        UserError: when the shapes are no whole multiple, or the pixel scales say another one.
    """
    (c, h, w), (hr_c, hr_h, hr_w) = lr_shape, hr_shape
    what = f"LR images are {tuple(lr_shape)} and HR images {tuple(hr_shape)}"
    if hr_h < h or hr_w < w:
        raise UserError(f"{what}: LR is the larger one. Are the two folders exchanged?")
    if hr_h % h or hr_w % w or hr_h // h != hr_w // w or hr_h == h:
        raise UserError(f"{what}: the sides of HR must be the same whole multiple, 2 or more, of those of LR. Cut "
                        "both to the same piece of sky first.")
    if c != hr_c:
        raise UserError(f"{what}: they differ in channels. Keep the bands that both have.")
    scale = hr_h // h
    lr_scale, hr_scale = scales
    if lr_scale and hr_scale and abs(lr_scale / hr_scale / scale - 1) > 0.01:
        raise UserError(f"{what}, {scale} times as many pixels, but their files say {lr_scale:g} and {hr_scale:g} "
                        "arcsec a pixel: they do not show the same piece of sky. Cut them to it first.")
    return scale


def copy_pairs(
    pairs: Sequence[Pair], skipped: Skipped, usable: Callable[[Item, str], LensImage], writer: DatasetWriter,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Streams every good pair into the writer; returns what there is to report.

    Args:
        pairs: What :func:`match` found.
        skipped: Takes what is left out.
        usable: Reads the file of a side, ``lr`` or ``hr``; raises BadImageError.
        writer: Of a data set with targets.
        progress: Called with (pairs done, pairs in all).
    """
    batch: list[tuple[Pair, np.ndarray, np.ndarray]] = []
    first: dict[bytes, Pair] = {}
    kept, crossing = 0, []
    for done, pair in enumerate(pairs, start=1):
        try:
            lr, hr = (usable(item, which).pixels for item, which in ((pair.lr, "lr"), (pair.hr, "hr")))
            twin = first.setdefault(hashlib.blake2b(lr.tobytes() + hr.tobytes(), digest_size=12).digest(), pair)
            if twin is pair:
                batch.append((pair, lr, hr))
                kept += 1
            else:
                skipped.add(pair.id, "duplicate", f"Same pixels as {twin.id}.")
                crossing += [[twin.id, pair.id]] * (twin.split != pair.split)
        except BadImageError as err:
            skipped.add(pair.id, err.reason, str(err))
        if len(batch) == _BATCH or (done == len(pairs) and batch):
            rows = {"id": [p.id for p, _, _ in batch], "split": [p.split for p, _, _ in batch],
                    "label": [""] * len(batch)}  # fmt: skip
            writer.append(np.stack([lr for _, lr, _ in batch]), rows, np.stack([hr for _, _, hr in batch]))
            batch = []
        if progress is not None:
            progress(done, len(pairs))
    return {
        "found": len(pairs), "kept": kept, "skipped": dict(Counter(skipped.counts)),
        "skipped_files": skipped.files, "in_two_splits": crossing[:LISTED],
        "notes": ["Pixel values are kept as they are in the files; pairs carry no labels."],
    }  # fmt: skip
