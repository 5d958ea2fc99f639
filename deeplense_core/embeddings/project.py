"""Maps: vectors as points in the plane, by PCA, UMAP or t-SNE, and new points on a map that is there.

A map is kept in the workspace under a hash of all that decides it: vectors, method, settings, seed. It is an
``.npz`` file of ``ids``, ``positions`` float32 (n, 2) and ``about``; of PCA also ``mean`` and ``axes``.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.embeddings.similar import Index
from deeplense_core.embeddings.store import FORMAT, Embedding, embeddings_dir, read_about, write_npz
from deeplense_core.errors import UserError
from deeplense_core.registry import Entry, Registry
from deeplense_core.spec import knob, make_config

VERSION = 1
"""To be raised when a method draws another map of the same vectors."""
TSNE_DIMENSIONS = 50
TSNE_MOST = 20_000
"""Points beyond which scikit-learn's t-SNE takes more than minutes."""
EXACT_GRAPH = 50_000
"""Points up to which UMAP is given exact neighbours; their cost grows with the square, beyond it finds its own."""
PLACED_BY = 15
"""Neighbours that decide where a new point lies."""


@dataclass(frozen=True)
class UmapConfig:
    neighbours: int = knob(15, "Neighbours of each point; few show detail, many the whole", ge=2, le=200, group="map")
    min_dist: float = knob(0.1, "How close points may lie, in units of the map", ge=0, le=1, group="map")


@dataclass(frozen=True)
class TsneConfig:
    perplexity: float = knob(30.0, "Effective number of neighbours of each point", ge=2, le=200, group="map")


@dataclass(frozen=True, eq=False)
class Map:
    """Where each vector of an embedding lies."""

    positions: Float[np.ndarray, "n 2"]
    about: Mapping[str, Any]
    """``method``, ``settings``, ``seed``, ``digest`` of the vectors, ``embedding`` (path), ``seconds``."""
    mean: np.ndarray | None = None
    axes: np.ndarray | None = None
    """(2, d): of PCA."""

    @property
    def method(self) -> str:
        return self.about["method"]


METHODS: Registry = Registry("method of projection")


def project(embedding: Embedding, method: str = "umap", settings: Mapping[str, Any] | None = None,
            seed: int = 0) -> Map:  # fmt: skip
    """The map of an embedding: from the workspace where it was drawn before, else drawn and kept.

    Args:
        embedding: At least three images.
        method: ``pca``, ``umap`` or ``tsne``.
        settings: Of the method.
        seed: Of everything random; the same seed gives the same map.

    Raises:
        UserError: unknown method or setting, or too many or too few points for it.
    """
    entry, cfg = METHODS[method], _config(METHODS[method], settings)
    kept = map_file(embedding, method, settings, seed)
    if kept.exists():
        return open_map(kept)
    if len(embedding) < 3:
        raise UserError(f"{embedding.name!r} has {len(embedding)} image(s): a map needs at least three.")
    start = time.perf_counter()
    drawn = dict(entry.build(embedding.vectors, cfg, seed))
    about = {"format": FORMAT, "method": entry.name, "settings": _plain(cfg), "seed": seed,
             "digest": embedding.about["digest"], "embedding": str(embedding.path.absolute()),
             "seconds": time.perf_counter() - start}  # fmt: skip
    arrays = {"ids": embedding.ids, **drawn, "about": np.array(json.dumps(about))}
    write_npz(kept, arrays)
    return open_map(kept)


def map_file(embedding: Embedding, method: str, settings: Mapping[str, Any] | None = None, seed: int = 0) -> Path:
    """Where the workspace keeps, or would keep, a map.

    Raises:
        UserError: unknown method or setting.
    """
    entry, cfg = METHODS[method], _config(METHODS[method], settings)
    decides = [VERSION, embedding.about["digest"], entry.name, _plain(cfg), seed]
    name = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:24]
    return embeddings_dir() / "maps" / f"{entry.name}-{name}.npz"


def open_map(path: Path) -> Map:
    """The map in a file.

    Raises:
        UserError: it is missing, or not one.
    """
    if not path.exists():
        raise UserError(f"There is no map at {str(path)!r}. Draw one: project FILE.npz --method umap --out MAP.npz")
    about = read_about(path)
    if "method" not in about:
        raise UserError(f"{path.name!r} is no map: it was not made by `project`.")
    with np.load(path, allow_pickle=False) as file:
        return Map(file["positions"], about, file.get("mean"), file.get("axes"))


def place(drawn: Map, index: Index, vectors: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m 2"]:
    """Where new vectors lie on a map that is there; the map does not move.

    On a map of PCA they are projected as its own points were. Elsewhere a point lies at the mean of its nearest
    neighbours, weighted as UMAP weights them (McInnes et al. 2018, section 3.1: nearest at weight 1, falling
    exponentially, the weights adding up to log2 of their number), which is where umap-learn's and openTSNE's own
    ``transform`` begin. A vector of the map is placed where it lies.

    Args:
        drawn: The map.
        index: Of the map's own vectors, metric l2.
        vectors: New ones, from the same network.
    """
    vectors = np.atleast_2d(vectors)
    if drawn.axes is not None and drawn.mean is not None:
        return ((vectors - drawn.mean) @ drawn.axes.T).astype(np.float32)
    rows, away = index.nearest(vectors, PLACED_BY)
    weights = memberships(away)
    weights[away[:, 0] == 0, 1:] = 0
    return ((weights[..., None] * drawn.positions[rows]).sum(1) / weights.sum(1, keepdims=True)).astype(np.float32)


def memberships(away: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
    """UMAP's weights of neighbours at these distances, ascending: exp(-(d - d_1) / sigma), sigma such that they add
    up to log2 k."""
    beyond = away - away[:, :1]
    wanted = np.log2(max(2, away.shape[1]))
    low, high = np.zeros(len(away)), np.full(len(away), max(1e-12, 100 * float(beyond.max(initial=0))))
    for _ in range(64):
        sigma = (low + high) / 2
        too_many = np.exp(-beyond / np.maximum(sigma, 1e-300)[:, None]).sum(1) > wanted
        low, high = np.where(too_many, low, sigma), np.where(too_many, sigma, high)
    return np.exp(-beyond / np.maximum(high, 1e-300)[:, None])


def principal(vectors: np.ndarray, count: int) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "count d"]]:
    """Mean and first principal axes, float64, each with its largest number above 0; in blocks, so of any number."""
    size = vectors.shape[1]
    mean = vectors.mean(0, dtype=np.float64)
    scatter = np.zeros((size, size))
    for start in range(0, len(vectors), 65_536):
        block = vectors[start : start + 65_536] - mean
        scatter += block.T @ block
    axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :count].T
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    return mean, axes * np.where(largest < 0, -1, 1)[:, None]


@METHODS.register("pca", label="PCA")
def pca(vectors: np.ndarray, cfg: None, seed: int) -> Mapping[str, np.ndarray]:
    """The plane in which the vectors differ most. Straight: distances on it are never larger than true ones."""
    mean, axes = principal(vectors, 2)
    if len(axes) < 2:
        axes = np.concatenate([axes, np.zeros_like(axes)])
    return {"positions": ((vectors - mean) @ axes.T).astype(np.float32), "mean": mean, "axes": axes}


@METHODS.register("umap", config=UmapConfig, label="UMAP")
def umap(vectors: np.ndarray, cfg: UmapConfig, seed: int) -> Mapping[str, np.ndarray]:
    """Keeps neighbours together (McInnes et al. 2018, arXiv:1802.03426), by umap-learn."""
    neighbours = min(cfg.neighbours, len(vectors) - 1)
    graph: tuple = (None, None, None)
    if len(vectors) <= EXACT_GRAPH:
        graph = (*neighbour_graph(vectors, neighbours), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, which it can do without, and of numba's own
        from umap.umap_ import UMAP

        mapper = UMAP(n_neighbors=neighbours, min_dist=cfg.min_dist, init="pca", random_state=seed, n_jobs=1,
                      precomputed_knn=graph)  # fmt: skip
        return {"positions": np.asarray(mapper.fit_transform(np.asarray(vectors)), np.float32)}


@METHODS.register("tsne", config=TsneConfig, label="t-SNE")
def tsne(vectors: np.ndarray, cfg: TsneConfig, seed: int) -> Mapping[str, np.ndarray]:
    """Keeps neighbours together (van der Maaten and Hinton 2008), by scikit-learn, on the first 50 principal axes."""
    if len(vectors) > TSNE_MOST:
        raise UserError(f"t-SNE of {len(vectors):,} points would take hours; it is for up to {TSNE_MOST:,}. "
                        "Choose umap.")
    from sklearn.manifold import TSNE

    mean, axes = principal(vectors, TSNE_DIMENSIONS)
    perplexity = min(cfg.perplexity, (len(vectors) - 1) / 3)
    mapper = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return {"positions": mapper.fit_transform(((vectors - mean) @ axes.T).astype(np.float32))}


def neighbour_graph(
    vectors: np.ndarray, count: int
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Rows and L2 distances of the nearest of each vector, itself first, by blocked matrix products in float32."""
    import torch

    x = torch.from_numpy(np.array(vectors, np.float32) - vectors.mean(0, dtype=np.float32))
    squares = (x * x).sum(1)
    rows, away = [], []
    for start in range(0, len(x), 1024):
        block = x[start : start + 1024]
        between = squares[start : start + 1024, None] + squares - 2 * block @ x.T
        between[torch.arange(len(block)), start + torch.arange(len(block))] = -1.0  # itself, whatever else is equal
        found, places = between.topk(count, largest=False)
        rows.append(places.int())
        away.append(found.clamp_min(0).sqrt())
    return torch.cat(rows).numpy(), torch.cat(away).numpy()


def _config(entry: Entry, settings: Mapping[str, Any] | None) -> Any:
    if entry.config is None and settings:
        raise UserError(f"{entry.name} has no settings. Leave {', '.join(settings)} out.")
    return make_config(entry.config, settings or {}) if entry.config else None


def _plain(cfg: Any) -> dict[str, Any]:
    return asdict(cfg) if cfg else {}
