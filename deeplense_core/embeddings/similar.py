"""Neighbours among vectors: the nearest by cosine or L2 distance in the space of the vectors, always exact.

A first pass finds candidates with a bound on its own error; those that may belong to the k nearest are measured
again in float64. Up to ``PLAIN`` vectors the first pass is a matrix product in float32. Beyond, it scans codes of
8 bits a number (faiss), a quarter of the bytes, whose largest rounding is known; where the bound cannot tell the
k nearest from the others, more candidates are taken, in the end all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.embeddings.store import Embedding, embeddings_dir
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest
from deeplense_core.storage import atomic_write, replacing

METRICS = ("cosine", "l2")
PLAIN = 200_000
"""Vectors up to which codes would save nothing worth their making."""
BLOCK = 65_536
_WIDER = 8
"""By how much more candidates are taken where the first do not suffice."""
_MOST = 20_000
"""Candidates beyond which a plain scan is quicker."""
_SLACK = 8.0
"""Times the rounding of a float32 dot product, as a bound on it."""

Codes = Any
"""A ``faiss.IndexScalarQuantizer``."""


class Neighbours(NamedTuple):
    """Nearest first; those at equal distance in the order of their rows."""

    rows: Int[np.ndarray, "q k"]
    distances: Float[np.ndarray, "q k"]
    """float64: 1 - cosine (0 to 2), or Euclidean."""


class Index:
    """Vectors in which neighbours are looked up many times.

    Args:
        vectors: float32 (n, d), n and d at least 1; may be a memory map.
        metric: ``cosine`` or ``l2``.
        kept: File that keeps the codes of many vectors between processes; None makes them anew.
    """

    def __init__(self, vectors: np.ndarray, metric: str = "cosine", kept: Path | None = None):
        if metric not in METRICS:
            raise UserError(f"Unknown metric {metric!r}. {nearest(metric, list(METRICS))}")
        self.vectors, self.metric = vectors, metric
        self.coded: tuple[Codes, float] | None = None
        if len(vectors) > PLAIN:
            self.coded = (_kept_codes(kept) if kept else None) or _make_codes(vectors, metric, kept)

    def nearest(self, queries: Float[np.ndarray, "q d"], k: int) -> Neighbours:
        """The k nearest of each query, all of them where there are fewer.

        Raises:
            UserError: vectors of another length, or k below 1.
        """
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        if queries.shape[1] != self.vectors.shape[1]:
            raise UserError(f"The query has {queries.shape[1]} numbers and the embedding {self.vectors.shape[1]}: it "
                            "comes from another network.")  # fmt: skip
        if k < 1:
            raise UserError(f"k = {k} neighbours cannot be found. Ask for at least 1.")
        k = min(k, len(self.vectors))
        found = [self._of_one(query, k) for query in queries]
        return Neighbours(np.stack([rows for rows, _ in found]), np.stack([distances for _, distances in found]))

    def _of_one(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if self.coded:
            found = self._by_codes(query, k)
            if found:
                return found
        return self._best(query, self._plain_candidates(query, k), k)

    def _best(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest among some rows, measured in float64."""
        away = distances(query, self.vectors[rows], self.metric)
        order = np.lexsort((rows, away))[:k]
        return rows[order], away[order]

    def _plain_candidates(self, query: np.ndarray, k: int) -> np.ndarray:
        """Rows that can be among the k nearest, by a float32 scan and the bound of its rounding."""
        dots = np.concatenate([self.vectors[rows] @ query for rows in _blocks(len(self.vectors))])
        rounding, length = _SLACK * math.sqrt(len(query)) * 2.0**-24, float(np.linalg.norm(query))
        if self.metric == "cosine":
            scores = -dots / np.where(self._norms > 0, self._norms, 1) / (length or 1.0)
            slack = 2 * rounding
        else:
            scores = self._norms**2 - 2 * dots
            longest = float(self._norms.max())
            slack = rounding * longest * (longest + 2 * length)
        return np.flatnonzero(scores <= np.partition(scores, k - 1)[k - 1] + 2 * slack)

    @cached_property
    def _norms(self) -> np.ndarray:
        """Length of each vector, float32 (n,)."""
        return np.concatenate([np.linalg.norm(self.vectors[rows], axis=1) for rows in _blocks(len(self.vectors))])

    def _by_codes(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The same by codes; None where they cannot decide it."""
        assert self.coded
        codes, rounding = self.coded
        scaled = _unit(query[None]) if self.metric == "cosine" else query[None]
        count = 4 * k + 60
        while count <= min(_MOST, len(self.vectors)):
            squares, found = codes.search(scaled, count)
            rows, away = self._best(query, found[0], k)
            # Euclidean distance at which the last of the k lies, in the space that was coded
            reach = math.sqrt(2 * max(0.0, away[-1])) if self.metric == "cosine" else away[-1]
            if reach <= math.sqrt(max(0.0, float(squares[0, -1]))) * (1 - 1e-5) - rounding:
                return rows, away
            count *= _WIDER
        return None


def distances(query: np.ndarray, vectors: np.ndarray, metric: str) -> Float[np.ndarray, " n"]:
    """From one vector (d,) to others (n, d), in float64. A vector of length 0 has cosine 0 with every other."""
    a, b = np.asarray(query, np.float64), np.asarray(vectors, np.float64)
    if metric == "l2":
        return np.sqrt(((b - a) ** 2).sum(1))
    norms = np.sqrt((b**2).sum(1)) * np.sqrt((a**2).sum())
    return 1 - np.clip((b @ a) / np.where(norms > 0, norms, 1), -1, 1)


def index_of(embedding: Embedding, metric: str = "cosine") -> Index:
    """The index of an embedding; codes of many vectors are kept in the workspace."""
    folder = embeddings_dir() / "codes"
    folder.mkdir(exist_ok=True)
    return Index(embedding.vectors, metric, folder / f"{embedding.about['digest'][:24]}-{metric}")


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def _make_codes(vectors: np.ndarray, metric: str, kept: Path | None) -> tuple[Codes, float]:
    """Codes of all vectors, and the largest distance between a vector and its code."""
    faiss = _faiss()

    prepare: Callable[[np.ndarray], np.ndarray] = _unit if metric == "cosine" else np.ascontiguousarray
    codes = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2)
    low, high = np.full(vectors.shape[1], np.inf, np.float32), np.full(vectors.shape[1], -np.inf, np.float32)
    for rows in _blocks(len(vectors)):
        block = prepare(vectors[rows])
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    codes.train(np.stack([low, high]))  # the two corners: codes span the whole range of every number
    rounding = 0.0
    for rows in _blocks(len(vectors)):
        block = prepare(vectors[rows])
        codes.add(block)
        away = np.linalg.norm(codes.reconstruct_n(rows.start, len(block)) - block, axis=1)
        rounding = max(rounding, float(away.max()))
    if kept:
        with replacing(kept.with_suffix(".faiss")) as temporary:
            faiss.write_index(codes, str(temporary))
        atomic_write(kept.with_suffix(".json"), json.dumps({"rounding": rounding}).encode())
    return codes, rounding


def _kept_codes(kept: Path) -> tuple[Codes, float] | None:
    faiss = _faiss()

    try:
        rounding = json.loads(kept.with_suffix(".json").read_bytes())["rounding"]
        return faiss.read_index(str(kept.with_suffix(".faiss"))), rounding
    except (OSError, ValueError, RuntimeError):
        return None


def _faiss() -> Any:
    """The library, loaded where it is needed; pyright misreads its generated methods."""
    import faiss

    return faiss
