"""Neighbours among a million vectors of 128 numbers: our exact index against the matrix product most people write.

The peer: ``vectors @ query`` over normalised vectors in float32 and ``argpartition``. The limit is 50 ms a query.
Under a loaded machine the processor's own time, ``cpu_ms``, says more than the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from deeplense_core.embeddings.similar import Index
from deeplense_core.machine import describe

COUNT, SIZE, QUERIES, K = 1_000_000, 128, 20, 10
LIMIT_MS = 50.0


def run(count: int = COUNT, queries: int = QUERIES) -> dict[str, dict[str, Any]]:
    """Median milliseconds of a query; both ways must name the same neighbours."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((64, SIZE), dtype=np.float32)
    vectors = rng.standard_normal((count, SIZE), dtype=np.float32)
    vectors += centres[rng.integers(0, len(centres), count)]
    asked = vectors[rng.integers(0, count, queries)] + 0.3 * rng.standard_normal((queries, SIZE), dtype=np.float32)
    start = time.perf_counter()
    index = Index(vectors, "cosine")
    built = time.perf_counter() - start
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def peer(query: np.ndarray) -> np.ndarray:
        scores = unit @ (query / np.linalg.norm(query))
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]

    def ours(query: np.ndarray) -> np.ndarray:
        return index.nearest(query, K).rows[0]

    for query in asked[:3]:
        if set(ours(query)) != set(peer(query)):
            raise AssertionError("both ways must name the same neighbours")
    (mine, mine_cpu), (theirs, theirs_cpu) = _median_ms(ours, asked), _median_ms(peer, asked)
    return {"similar": {
        "ours": mine, "peer": theirs, "ratio": theirs / mine, "limit": LIMIT_MS, "unit": "ms/query",
        "cpu_ms": {"ours": mine_cpu, "peer": theirs_cpu}, "build_s": built, "machine": describe(),
        "peer_name": "numpy matrix product and argpartition",
        "note": f"{count:,} vectors of {SIZE} numbers in 64 clouds, {K} exact neighbours by cosine, single queries",
    }}  # fmt: skip


def _median_ms(ask: Callable[[np.ndarray], Any], queries: np.ndarray) -> tuple[float, float]:
    """By the clock, and of the processor."""
    clock, processor = [], []
    for query in queries:
        start, used = time.perf_counter(), time.process_time()
        ask(query)
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return 1e3 * float(np.median(clock)), 1e3 * float(np.median(processor))
