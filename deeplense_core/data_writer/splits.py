"""Dividing images into train, val and test: stratified, and decided by a hash of seed and id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.registry import nearest

SPLITS = ("train", "val", "test")
DEFAULT_SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}


def stratified_splits(
    labels: Sequence[str] | np.ndarray,
    ids: Sequence[str] | np.ndarray,
    fractions: Mapping[str, float],
    seed: int = 0,
) -> np.ndarray:
    """Assigns every image to train, val or test, with the same fractions in each class.

    Inside a class, images are ranked by a hash of (seed, id), and the ranking is cut at the fractions. The
    order of the images does not matter, and images added later move only those next to a cut.

    Args:
        labels: Class of each image, (n,).
        ids: Unique name of each image, (n,).
        fractions: Split name -> fraction, summing to 1.
        seed: Another seed, another assignment.

    Returns:
        Split names, (n,).
    """
    codes = rank_splits(np.asarray(labels), hash_ids(ids, seed), fractions)
    return np.array(SPLITS)[codes]


def hash_ids(ids: Sequence[str] | np.ndarray, seed: int) -> np.ndarray:
    """64-bit hash of (seed, id), uint64 (n,)."""
    digests = (hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest() for i in ids)
    return np.fromiter((int.from_bytes(d, "little") for d in digests), dtype=np.uint64, count=len(ids))


def rank_splits(labels: np.ndarray, keys: np.ndarray, fractions: Mapping[str, float]) -> np.ndarray:
    """Index into SPLITS of each image, int8 (n,)."""
    _check_fractions(fractions)
    cuts = np.cumsum([fractions.get(split, 0.0) for split in SPLITS])[:-1]
    codes = np.zeros(len(labels), dtype=np.int8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(keys[members])]
        edges = np.floor(cuts * len(members) + 0.5 + 1e-9)
        codes[members] = np.searchsorted(edges, np.arange(len(members)), side="right")
    return codes


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for split in fractions:
        if split not in SPLITS:
            raise UserError(f"Unknown split {split!r}. {nearest(split, list(SPLITS))}")
    values = list(fractions.values())
    if not all(0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-6:
        text = ", ".join(f"{split} {value:g}" for split, value in fractions.items())
        raise UserError(f"The fractions of the splits ({text}) must lie between 0 and 1 and sum to 1.")
