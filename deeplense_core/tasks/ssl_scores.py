"""The evaluation protocol of encoders: what frozen features know, beside pixels and an encoder that learnt nothing.

Labels are read here only, and never those of the images that are scored: neighbours and probes learn from labelled
training images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deeplense_core import metrics
from deeplense_core.data import open_dataset
from deeplense_core.models import build_model
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import SIM, DataInfo, Images, simulated_images, stored_images
from deeplense_core.ssl.collapse import effective_rank
from deeplense_core.ssl.probes import linear_probe, neighbour_votes, pixel_components, split_by_class
from deeplense_core.tasks.base import Outcome, Progress
from deeplense_core.trained import Trained

PROBES = 1 << 43
"""First stream of the simulations that probes learn from: no training, validation or test image is among them."""
MOST_PROBED = 4_000
"""Labelled training images that neighbours and probes learn from, at most."""
SHARES = {"1_percent": 0.01, "10_percent": 0.1}
"""Parts of the labels, beside all of them."""
DRAWS = 5
"""Random choices of so few labels, whose scatter is part of the interval."""
LOOKED_AT = 512
"""Images that are turned, and whose rank is taken."""
ANGLE_DEG = 30.0
BLOCK = 256

Encode = Callable[[Float[np.ndarray, "b c h w"]], Float[np.ndarray, "b d"]]
"""Images at the training size and scale -> features."""


@torch.no_grad()
def feature_blocks(
    net: nn.Module, batches: Iterable[Float[Tensor, "b c h w"]], cfg: PreprocessConfig
) -> Iterator[Float[np.ndarray, "b d"]]:
    """Features of images at the training size, each seen once, float32."""
    net.eval()
    for images in batches:
        yield net(preprocess(images, cfg)).float().cpu().numpy()


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    """Scores an encoder beside the principal components of pixels and the same network before it learnt anything.

    Of images without labels only the rank and the answer to rotations can be told.
    """
    images = np.concatenate([model.fit(block, data.pixel_scale_arcsec)[0] for block in part.blocks(BLOCK)])
    bank, bank_labels = labelled_bank(model, data, part)
    rows: dict[str, Encode] = {model.name: network(model.net, model)}
    rows["random encoder"] = network(untrained(model), model)
    if len(bank):
        rows["pixels (PCA)"] = components(bank, model)
    tables, arrays = {}, {}
    for done, (name, encode) in enumerate(rows.items()):
        tables[name], found = scores(encode, images, part.labels, bank, bank_labels, data.classes)
        arrays |= found if name == model.name else {f"{name}: {key}": value for key, value in found.items()}
        if progress:
            progress((done + 1) * len(part) // len(rows), len(part))
    own = tables.pop(model.name)
    return Outcome(own, tables, arrays, {
        "classes": list(data.classes), "probe_images": len(bank), "method": model.card["method"],
        "pairs": model.card["pairs"], "labels_used": model.card["labels_used"],
        "looked_at": min(LOOKED_AT, len(part)),
    })


def labelled_bank(
    model: Trained, data: DataInfo, part: Images
) -> tuple[Float[np.ndarray, "m c h w"], Int[np.ndarray, " m"]]:
    """Labelled training images, at the size the encoder knows, none of them in ``part``; and their classes."""
    if data.location.startswith(SIM):
        found = simulated_images(data.location.removeprefix(SIM), min(len(part), MOST_PROBED), model.card["seed"],
                                 PROBES, str(model.device))
        places = np.arange(len(found))
    else:
        found = stored_images(open_dataset(Path(data.location)), "train", labelled=True)
        places = np.flatnonzero(~np.isin(found.ids, part.ids))
        if len(places):
            places = places[np.unique(np.linspace(0, len(places) - 1, MOST_PROBED).astype(int))]
    bank = found.some(places)
    blocks = [model.fit(block, data.pixel_scale_arcsec)[0] for block in bank.blocks(BLOCK)]
    return (np.concatenate(blocks) if blocks else np.zeros((0, *model.shape), np.float32)), bank.labels


def network(net: nn.Module, model: Trained) -> Encode:
    """A network as it encodes, with the input that ``model`` expects."""
    device = next(net.parameters()).device

    def encode(images: np.ndarray) -> np.ndarray:
        batches = (torch.from_numpy(images[i : i + BLOCK]).to(device) for i in range(0, len(images), BLOCK))
        return np.concatenate(list(feature_blocks(net, batches, model.input)))

    return encode


def untrained(model: Trained) -> nn.Module:
    """The same network as it was before training, of a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(model.card["seed"] + 1)
        net = build_model(model.card["model"], model.card["model_settings"], **model.card["model_args"])
    return net.to(model.device).eval()


def components(bank: Float[np.ndarray, "m c h w"], model: Trained) -> Encode:
    """Principal components of the pixels of labelled training images, scaled and stretched as a network sees them."""

    def flat(images: np.ndarray) -> np.ndarray:
        return preprocess(torch.from_numpy(images), model.input).flatten(1).numpy()

    return pixel_components(flat(bank), flat)


def scores(
    encode: Encode, images: Float[np.ndarray, "n c h w"], labels: Int[np.ndarray, " n"],
    bank: Float[np.ndarray, "m c h w"], bank_labels: Int[np.ndarray, " m"], classes: tuple[str, ...],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every metric of one encoder, with intervals, and the probabilities behind them."""
    found, arrays = {}, {}
    features = encode(images).astype(np.float64)
    known = labels >= 0
    if known.any() and len(np.unique(bank_labels)) > 1:
        told = encode(bank).astype(np.float64)
        truth, asked, k = labels[known], features[known], len(classes)
        votes = neighbour_votes(told, bank_labels, asked, k)
        by_votes = metrics.classification_metrics(truth, votes, classes)
        probed = linear_probe(told, bank_labels, asked, k)
        by_probe = metrics.classification_metrics(truth, probed, classes)
        found = {"probe_auc_macro": by_probe["auc_macro"], "probe_accuracy": by_probe["accuracy"],
                 "knn_accuracy": by_votes["accuracy"]}
        for name, share in SHARES.items():
            found[f"probe_auc_macro_{name}"] = few_labels(told, bank_labels, asked, truth, classes, share)
        arrays = {"labels": truth, "probabilities": probed, "neighbours": votes}
    found |= rotation_errors(encode, images[:LOOKED_AT], features[:LOOKED_AT])
    found["effective_rank"] = rank_with_interval(features[:LOOKED_AT])
    return found, arrays


def few_labels(
    told: np.ndarray, told_labels: np.ndarray, asked: np.ndarray, truth: np.ndarray, classes: tuple[str, ...],
    share: float,
) -> dict[str, Any]:
    """Macro AUC of probes that learn from a share of the labels, its mean over five choices of them.

    The interval is that of one choice: it holds the scatter of the choices and of the images scored.
    """
    aucs, scatter = [], []
    for draw in range(DRAWS):
        some, _ = split_by_class(told_labels, share, draw)
        said = linear_probe(told[some], told_labels[some], asked, len(classes), draw)
        auc = metrics.classification_metrics(truth, said, classes, n_boot=200)["auc_macro"]
        if auc["value"] is None:
            return auc
        aucs.append(auc["value"])
        scatter.append((auc["high"] - auc["low"]) / 3.92)
    value, wide = float(np.mean(aucs)), 1.96 * float(np.sqrt(np.var(aucs) + np.mean(np.square(scatter))))
    return {"value": value, "low": max(0.0, value - wide), "high": min(1.0, value + wide)}


def rotation_errors(
    encode: Encode, images: Float[np.ndarray, "n c h w"], features: Float[np.ndarray, "n d"]
) -> dict[str, Any]:
    """How far features move when an image is turned, in units of the distance between two images.

    0 says that turning changes nothing, 1 that it changes as much as another lens does. ``rotation_error`` is over
    quarter turns, which are exact (half turns of frames that are not square); ``rotation_error_any`` over 30 degrees,
    whose resampling changes the image as well.
    """
    apart = np.linalg.norm(features - np.roll(features, 1, 0), axis=1).mean()
    turns = (1, 2, 3) if images.shape[-1] == images.shape[-2] else (2,)
    exact = [np.linalg.norm(encode(np.ascontiguousarray(np.rot90(images, k, (-2, -1)))) - features, axis=1)
             for k in turns]
    any_angle = np.linalg.norm(encode(rotated(images, ANGLE_DEG)) - features, axis=1)
    unit = max(float(apart), 1e-12)
    return {"rotation_error": metrics.mean_with_interval(np.mean(exact, 0) / unit),
            "rotation_error_any": metrics.mean_with_interval(any_angle / unit)}


def rotated(images: Float[np.ndarray, "n c h w"], degrees: float) -> Float[np.ndarray, "n c h w"]:
    """Images turned about their centre, resampled bilinearly, the border mirrored."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x = torch.from_numpy(images)
    h, w = x.shape[-2:]
    theta = torch.tensor([[cos, -sin * h / w, 0], [sin * w / h, cos, 0]], dtype=x.dtype).expand(len(x), -1, -1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False).numpy()


def rank_with_interval(features: Float[np.ndarray, "n d"], resamples: int = 40) -> dict[str, float]:
    """Effective rank, and an interval from random halves of the images.

    Resamples that repeat images would have a lower rank by construction, so there is no repetition; the scatter of
    halves about their mean is about that of all images about the truth, and is laid about the value.
    """
    value, rng = effective_rank(features), np.random.default_rng(0)
    half = max(1, len(features) // 2)
    ranks = [effective_rank(features[rng.permutation(len(features))[:half]]) for _ in range(resamples)]
    wide = 1.96 * float(np.std(ranks))
    return {"value": value, "low": max(1.0, value - wide), "high": value + wide}
