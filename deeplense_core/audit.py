"""Looks for what makes a score too good: the same image in two splits, and classes that give themselves away.

Published results in this field were spoilt by each of these, so every set is audited when it is ingested, and
any can be audited later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from deeplense_core.data import SPLITS, Dataset

MAX_COMPARED = 20_000
"""Images at most whose likeness is compared; more are sampled."""
MAX_PROBED = 4_000
ALIKE = 0.9
"""Correlation of thumbnails from which two images are compared pixel by pixel."""
NEAR = 0.7
"""Difference of two images, in units of their noise, below which they are one. Two observations, even of one sky
and with the same lens, differ by at least the noise of one of them."""
PROBE_LIMIT = 0.7
STRANGERS, COPIES = 0.2, 0.9999
"""Correlations of an image with its binned target below which it is another sky, above which it is no observation."""
_SIDE = 16
_LISTED = 50

Finding = dict[str, Any]


def audit(dataset: Dataset, progress: Callable[[float], None] | None = None) -> dict[str, Finding]:
    """Every check by name; each finding has ``severity`` (ok, note or warning) and ``text``, and its numbers.

    Args:
        dataset: Any data set; pixels are read in passing, never all held.
        progress: Called with the fraction done.
    """
    checks = {
        "balance": balance, "duplicates": exact_duplicates, "near_duplicates": near_duplicates,
        "statistics_probe": statistics_probe, "scaling": scaling,
    }  # fmt: skip
    if dataset.targets is not None:
        checks["pairs"] = pairs
    findings = {}
    for done, (name, check) in enumerate(checks.items()):
        findings[name] = check(dataset)
        if progress is not None:
            progress((done + 1) / len(checks))
    return findings


def balance(dataset: Dataset) -> Finding:
    """Whether every split has every class."""
    counts = dataset.manifest["counts"]
    present = [name for name in dataset.classes if sum(counts[name].values())]
    if not present:
        return _finding("ok", "No image carries a label: there are no classes to balance.")
    if len(present) < 2:
        text = f"There is one class only ({', '.join(present)}): nothing can be told apart here."
        return _finding("warning", text)
    used = [split for split in SPLITS if len(dataset.rows(split))]
    bare = [f"{split} has no {name}" for split in used for name in present if not counts[name][split]]
    if bare:
        text = f"A class is missing in a split: {'; '.join(bare)}. Its ROC is undefined there."
        return _finding("warning", text)
    totals = [sum(counts[name].values()) for name in present]
    ratio = max(totals) / min(totals)
    if ratio > 10:
        return _finding("note", f"The largest class has {ratio:.0f} times the images of the smallest.")
    return _finding("ok", "Every split has every class.")


def exact_duplicates(dataset: Dataset) -> Finding:
    """Images with the same pixels in two different splits, by hash, over the whole set."""
    splits, ids = dataset.catalog["split"].to_numpy(), dataset.catalog["id"].to_numpy()
    first: dict[bytes, int] = {}
    crossing, inside = [], 0
    for i in range(len(dataset)):
        j = first.setdefault(hashlib.blake2b(dataset.images[i].data, digest_size=16).digest(), i)
        if splits[i] != splits[j]:
            crossing.append([f"{splits[j]}: {ids[j]}", f"{splits[i]}: {ids[i]}"])
        elif i != j:
            inside += 1
    if crossing:
        text = f"{len(crossing)} images are in two splits, pixel for pixel: a score on them measures memory."
        return _finding("warning", text, count=len(crossing), pairs=crossing[:_LISTED])
    if inside:
        return _finding("note", f"{inside} images are repeated within one split.", count=0, repeated=inside)
    return _finding("ok", f"No image of {len(dataset)} is in two splits.", count=0)


def near_duplicates(dataset: Dataset) -> Finding:
    """Held-out images whose copy, turned, flipped or rescaled perhaps, is in train.

    The nearest train image is found on 16 x 16 thumbnails in all eight orientations. What makes the pair one image
    is then that, brightness and zero point aside, they differ by less than their noise.
    """
    held = _sample(np.concatenate([dataset.rows("test"), dataset.rows("val")]), MAX_COMPARED // 2)
    train = _sample(dataset.rows("train"), MAX_COMPARED // 2)
    if not len(held) or not len(train):
        return _finding("ok", "There is nothing to compare: one split only.", count=0)
    best, partner, turn = _nearest(dataset, held, train)
    ids, pairs = dataset.catalog["id"].to_numpy(), []
    for k in np.argsort(-best)[:2_000]:
        if best[k] < ALIKE:
            break
        a, b = _flat(dataset.images[held[k]]), _flat(dataset.images[train[partner[k]]])
        turned = _orientations(a)[turn[k]]
        if turned.shape == b.shape and _difference(turned, b) < NEAR:
            pairs.append([str(ids[held[k]]), str(ids[train[partner[k]]])])
    looked = f"{len(held)} held-out against {len(train)} train images"
    if pairs:
        text = f"{len(pairs)} held-out images have a near copy in train ({looked}): they measure memory."
        return _finding("warning", text, count=len(pairs), pairs=pairs[:_LISTED])
    return _finding("ok", f"No near copies between splits ({looked}).", count=0)


def statistics_probe(dataset: Dataset) -> Finding:
    """How well a linear model tells the classes from five numbers an image that no lens decides.

    Cross-validated macro one-vs-rest AUC of a logistic regression on minimum, maximum, mean, border mean and
    background noise of each band.
    """
    rows = _sample(np.flatnonzero(dataset.labels >= 0), MAX_PROBED)
    names, counts = np.unique(dataset.labels[rows], return_counts=True)
    if len(names) < 2 or counts.min() < 10:
        return _finding("ok", "Too few images in a class for the probe on image statistics.", auc=None)
    from sklearn.linear_model import LogisticRegression  # slow to import, and not always needed
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    features = np.array([image_statistics(dataset.images[i]) for i in rows])
    labels = np.searchsorted(names, dataset.labels[rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    p = np.asarray(cross_val_predict(model, features, labels, cv=folds, method="predict_proba"))
    auc = float(np.mean([roc_auc_score(labels == k, p[:, k]) for k in range(len(names))]))
    text = f"Brightness, border and noise alone tell the classes with macro AUC {auc:.3f}"
    if auc > PROBE_LIMIT:
        text += f" (limit {PROBE_LIMIT}): a network may learn them instead of the lens."
        return _finding("warning", text, auc=auc)
    return _finding("ok", f"{text}, within the limit of {PROBE_LIMIT}.", auc=auc)


def image_statistics(image: np.ndarray) -> np.ndarray:
    """Minimum, maximum, mean, border mean and background noise of each band, (5 c,).

    The noise is the scaled median absolute difference of neighbours on the border: smooth light is no noise.
    """
    c = len(image)
    width = max(1, min(image.shape[1:]) // 16)
    edge = np.concatenate([image[:, :width].reshape(c, -1), image[:, -width:].reshape(c, -1)], axis=1)
    noise = 1.0484 * np.median(np.abs(np.diff(edge, axis=1)), axis=1)
    flat = image.reshape(c, -1)
    parts = (flat.min(1), flat.max(1), flat.mean(1), edge.mean(1), noise)
    return np.concatenate(parts).astype(np.float64)


def scaling(dataset: Dataset) -> Finding:
    """Whether each band was scaled to [0, 1] by its own extremes, which erases flux and colour."""
    rows = _sample(np.arange(len(dataset)), 1_000)
    c = dataset.shape[0]
    extremes = np.array([image_statistics(dataset.images[i])[: 2 * c] for i in rows])
    share = float((np.abs(extremes - np.repeat([0.0, 1.0], c)) < 1e-6).all(axis=1).mean())
    if share > 0.9:
        lost = "flux and zero point are" if c == 1 else "flux, zero point and colour are"
        return _finding("note", f"Every band is scaled to [0, 1] by its own extremes: {lost} lost.", share=share)
    return _finding("ok", "Images are not scaled one by one to [0, 1].", share=share)


def pairs(dataset: Dataset) -> Finding:
    """Whether each image and its target show the same sky, and whether they are two observations of it.

    The correlation of an image with its target, binned to the image's pixels: near 0 where pairs are mixed up, 1
    where the image was made from the target, which tells nothing about a camera.
    """
    rows = _sample(np.arange(len(dataset)), 1_000)
    assert dataset.targets is not None
    likeness = np.array([_likeness(dataset.images[i], dataset.targets[i]) for i in rows])
    middle = float(np.median(likeness))
    strangers = [str(dataset.catalog["id"].iloc[i]) for i in rows[likeness < STRANGERS]]
    text = f"Images correlate {middle:.3f} with their binned targets (median of {len(rows)})"
    if strangers:
        text = f"{len(strangers)} of {len(rows)} pairs correlate below {STRANGERS}: they may show different skies."
        return _finding("warning", text, correlation=middle, count=len(strangers), pairs=strangers[:_LISTED])
    if middle > COPIES:
        text += ": they were made by binning them, so they carry no noise and blur of their own."
        return _finding("warning", text, correlation=middle, count=0)
    return _finding("ok", f"{text}: each is an observation of its own.", correlation=middle, count=0)


def _likeness(image: np.ndarray, target: np.ndarray) -> float:
    """Correlation of (c, h, w) with the means of blocks of (c, s h, s w)."""
    c, h, w = image.shape
    binned = target.reshape(c, h, target.shape[1] // h, w, target.shape[2] // w).mean((2, 4), dtype=np.float64)
    a, b = (x.ravel() - x.mean() for x in (np.asarray(image, dtype=np.float64), binned))
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))


def _finding(severity: str, text: str, **numbers: Any) -> Finding:
    return {"severity": severity, "text": text, **numbers}


def _sample(rows: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the rows, always the same ones, ascending."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _flat(image: np.ndarray) -> np.ndarray:
    """(c, h, w) -> (h, w), the mean over bands."""
    return np.asarray(image, dtype=np.float32).mean(axis=0)


def _thumbnails(dataset: Dataset, rows: np.ndarray, turn: int = 0) -> np.ndarray:
    """The images, first turned, as block means on a 16 x 16 grid, (n, 16, 16) float32."""
    return np.stack([_thumbnail(_orientations(_flat(dataset.images[i]))[turn]) for i in rows])


def _thumbnail(image: np.ndarray) -> np.ndarray:
    h, w = image.shape
    side = min(_SIDE, h, w)
    y, x = np.arange(side) * h // side, np.arange(side) * w // side
    area = np.outer(np.diff(y, append=h), np.diff(x, append=w))
    return np.add.reduceat(np.add.reduceat(image, y, axis=0), x, axis=1) / area.astype(np.float32)


def _orientations(image: np.ndarray) -> list[np.ndarray]:
    """The eight turns and flips of (h, w)."""
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [np.fliplr(t) for t in turned]


def _unit(thumbnails: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1, (n, p): their products are correlations."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def _nearest(dataset: Dataset, held: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each held-out image: best correlation of thumbnails, index into ``train``, orientation; each (n,)."""
    targets = _unit(_thumbnails(dataset, train)).T
    best = np.full(len(held), -1.0, np.float32)
    partner, turn = np.zeros(len(held), int), np.zeros(len(held), int)
    for k in range(8):
        turned = _thumbnails(dataset, held, k)
        for start in range(0, len(held), 512):  # 512 x 10,000 correlations at a time: 20 MB
            part = slice(start, start + 512)
            likeness = _unit(turned[part]) @ targets
            j = likeness.argmax(axis=1)
            value = likeness[np.arange(len(j)), j]
            better = value > best[part]
            best[part][better], partner[part][better], turn[part][better] = value[better], j[better], k
    return best, partner, turn


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square of ``a - (scale * b + offset)`` at its least, in units of the noise of ``a``.

    Where there is no noise, the rounding error of an 8-bit picture stands in, so that such copies are found too.
    """
    noise, width = image_statistics(a[None])[4], float(np.ptp(a))
    noise = noise if noise > 1e-5 * width else 1.5e-3 * width
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    rest = a - b * (float(a @ b) / max(float(b @ b), 1e-30))
    return float(np.sqrt(np.mean(rest**2))) / noise
