"""Networks that see features of the image beside it against the same backbone without them, in one table.

It takes an hour or two, and is taken up where it was left: data sets and runs that are there are not made again. Every
network learns the same labelled cutouts for equally many passes; each is scored once on another hard set, in which one
image in a hundred is a lens. Features are measured from the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplense_core.bench.finder_table import lines as finder_lines
from deeplense_core.bench.finder_table import rare_lenses, scores_on, table_rows
from deeplense_core.bench.study import Say, asked_for, data_set, trained
from deeplense_core.data import Dataset
from deeplense_core.spec import RunSpec, knob, make_config
from deeplense_core.train import plan
from deeplense_core.workspace import home

WORDS = {"A better": "better", "B better": "worse", "not distinguishable": "not distinguishable"}
IMAGE_ONLY = "cutout-resnet"
WAYS: dict[str, tuple[str, Mapping[str, Any]]] = {
    IMAGE_ONLY: ("cutout-resnet", {}),
    "fusion-resnet": ("fusion-resnet", {"backbone": "cutout-resnet", "width": 64}),
    "fusion-attention": ("fusion-attention", {}),
}
"""Row -> network and its settings; the two ResNets have one backbone."""
TRAINING = {"lr": 0.001, "ema": 0.99, "patience": 0, "batch_size": 64, "precision": "float32", "compile": "off"}


@dataclass(frozen=True)
class FindersBenchConfig:
    """Sizes of the comparison."""

    networks: str = knob("all", "Networks to compare, joined by +; the one of images alone is always among them")
    seeds: int = knob(3, "Trainings of each network", ge=1, le=20)
    images: int = knob(12_000, "Images of the hard set to learn from, all labelled", ge=100, le=1_000_000)
    test: int = knob(10_000, "Images of the hard test set, one in a hundred a lens", ge=200, le=1_000_000)
    epochs: int = knob(8, "Passes over the images", ge=1, le=1000)


def run(settings: Mapping[str, Any], say: Say = lambda text: None) -> dict[str, dict[str, Any]]:
    """Trains what is missing, scores it, and gives a row a network.

    Args:
        settings: Of :class:`FindersBenchConfig`, text or typed.
        say: Told what is being done.

    Returns:
        As :func:`deeplense_core.bench.finder_table.table_rows`, the network of images alone as the baseline.

    Raises:
        UserError: an unknown network.
    """
    cfg: FindersBenchConfig = make_config(FindersBenchConfig, settings)
    ways = dict.fromkeys([IMAGE_ONLY, *asked_for("networks", cfg.networks, WAYS)])
    known, test = data_sets(cfg, say)
    is_lens, scores = np.zeros(0, bool), {}
    for seed in range(1, cfg.seeds + 1):
        for way in ways:
            is_lens, found = scores_on(test, trained(spec_of(cfg, way, seed, known), say), say)
            scores.setdefault(way, []).append(found)
    return table_rows(is_lens, scores, "finders", IMAGE_ONLY, "images alone", WORDS)


def data_sets(cfg: FindersBenchConfig, say: Say) -> tuple[Dataset, Dataset]:
    """What is learnt from, and the test set, made where they are missing, with features."""
    folder = home() / "bench" / "finders"
    folder.mkdir(parents=True, exist_ok=True)
    known = data_set(folder / f"hard-{cfg.images}", "lens-finding-hard", cfg.images, 404,
                     {"labelled_fraction": 1.0}, {"train": 0.9, "val": 0.1, "test": 0.0}, say, features=True)
    return known, rare_lenses(folder, cfg.test, 505, say, features=True)


def spec_of(cfg: FindersBenchConfig, way: str, seed: int, known: Dataset) -> RunSpec:
    """The run of one network and seed."""
    model, built = WAYS[way]
    return plan("find", str(known.path), model, {**TRAINING, **built, "epochs": cfg.epochs}, seed,
                f"finders {way}, seed {seed}", "cpu")  # fmt: skip


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as text."""
    return finder_lines(rows, "finders")
