"""Every method of self-supervised learning beside pixels, an untrained and a supervised network, in one table.

It takes hours, and is taken up where it was left: data sets and runs that are there are not made again. Encoders learn
from images whose labels they do not read (``margin-labels`` reads those there are, as the seed's code did): a pool of
lens-finding-hard, or fresh simulations of common-test, whose substructure nothing learns from a pool of this size.
Probes, the supervised network and the networks that start from few labels learn from another, labelled set, and all
are scored once on its test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplense_core.bench.ssl_table import PAIRS, Row, lines, table_rows
from deeplense_core.bench.study import Say, asked_for, data_set, scored, trained
from deeplense_core.data import Dataset, DatasetWriter, open_dataset
from deeplense_core.runs import open_run
from deeplense_core.sim.partners import AUGMENT
from deeplense_core.spec import knob, make_config
from deeplense_core.ssl.methods import METHODS
from deeplense_core.ssl.probes import split_by_class
from deeplense_core.train import plan
from deeplense_core.workspace import home

__all__ = ["SslBenchConfig", "lines", "run"]

RECIPES = ("common-test", "lens-finding-hard")
SEED_ENCODER = {"backbone": "resnet18", "combine": "added", "width": 128, "layers": 1}
"""The seed's encoder as it was, with the smaller of its two backbones."""
NETWORKS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "common-test": {"d4net": {"radii": 48, "angles": 128}},
    "lens-finding-hard": {"d4net": {"radii": 32, "angles": 64}, "cutout-resnet": {"width": 20}},
}
"""Settings of a network that suit a recipe's images and make it small enough to train many."""
PLAIN = {"precision": "float32", "patience": 0}
TRAINING = {**PLAIN, "lr": 0.002, "ema": 0.99, "batch_size": 64}
FEW = 0.01
LABELS = {**PLAIN, "lr": 0.001, "ema": 0.9, "batch_size": 16}
"""Of the networks that learn from few labels."""
FINE_TUNING = {**LABELS, "lr": 0.0003}
"""Of those among them that start from an encoder: gently, lest they forget."""
MIXED = {"normalise": "sky", "stretch": "asinh"}
VIEWS: Mapping[str, Mapping[str, Any]] = {
    "common-test": {"crop": 100, "noise": 0.0, "jitter": 0.0, "shift": 1.0},
    "lens-finding-hard": {**MIXED, "noise": 0.05, "blur": 0.7, "jitter": 0.2, "shift": 2.0},
}
"""Input and views that suit a recipe: blur and noise would wipe out the substructure of common-test."""
INPUT: Mapping[str, Mapping[str, Any]] = {"common-test": {"crop": 100}, "lens-finding-hard": MIXED}
FRESH_IMAGES: Mapping[str, Mapping[str, Any]] = {
    "common-test": {"matched": True, "curriculum_start": 10.0}, "lens-finding-hard": {"matched": True},
}
"""How the simulator draws for the rows of fresh images, with and without lens-preserving pairs alike: in groups of one
image a class, of common-test with the same lens and source, whose substructure is heavy at first. The loss is not told
which of a group is which, but that they differ."""
ALWAYS_FRESH = ("common-test",)
"""Recipes of which every encoder learns from fresh images."""
PARTNER = {"common-test": "source", "lens-finding-hard": "survey"}
"""The lens-preserving pairs that are held against plain augmentation."""


@dataclass(frozen=True)
class SslBenchConfig:
    """Sizes of the comparison."""

    data: str = knob("all", "Recipes, joined by +: common-test, lens-finding-hard")
    methods: str = knob("all", "Methods to compare, joined by +")
    model: str = knob("d4net", "Encoder")
    seed_encoder: bool = knob(True, "Also the seed's encoder with its loss, by labels and without")
    seed_share: float = knob(1.0, "Share of the images that the seed's encoder learns from; 0.03 takes as long on CPU "
                             "as d4net takes for all", ge=0.01, le=1)
    pairs: str = knob("simclr", "Method that learns from fresh simulations with and without lens-preserving pairs; "
                      "empty leaves that out")
    seeds: int = knob(3, "Trainings of each row", ge=1, le=20)
    images: int = knob(6000, "Images of the pool, or fresh ones an epoch", ge=100, le=10_000_000)
    judged: int = knob(6000, "Labelled images: half for probes, a tenth for validation, the rest for the test", ge=100,
                       le=1_000_000)
    epochs: int = knob(30, "Passes over the pool", ge=1, le=10_000)
    few_epochs: int = knob(40, "Passes over one percent of the labels", ge=1, le=10_000)


def run(settings: Mapping[str, Any], say: Say = lambda text: None) -> dict[str, dict[str, Any]]:
    """Trains what is missing, scores it, and gives a row each.

    Args:
        settings: Of :class:`SslBenchConfig`, text or typed.
        say: Told what is being done.

    Returns:
        Row -> ``ours`` (macro AUC of a linear probe, or of the network itself where it was trained with labels),
        ``peer`` (that of the pixels), metrics with intervals, differences and verdicts.
    """
    cfg: SslBenchConfig = make_config(SslBenchConfig, settings)
    rows: dict[str, dict[str, Any]] = {}
    for recipe in asked_for("data", cfg.data, RECIPES):
        rows |= table_rows(recipe, Study(cfg, recipe, say).rows())
    return rows


def chosen(rows: Sequence[Row]) -> Row:
    """The encoder whose neighbours agree best on validation images, among those that read no label and that the
    study's classifiers can start from; the first of them where validation images carry too few labels."""
    fit = [row for row in rows if "margin-labels" not in row.name and "seed's" not in row.name]

    def agreement(row: Row) -> float:
        ends = [open_run(run).status for run in row.runs]
        return min(end.best or 0.0 if end.best_name == "knn_accuracy" else 0.0 for end in ends)

    return max(fit, key=agreement)


class Study:
    """The rows of one recipe, trained as they are asked for."""

    def __init__(self, cfg: SslBenchConfig, recipe: str, say: Say):
        self.cfg, self.recipe, self.say = cfg, recipe, say
        self.built = NETWORKS[recipe].get(cfg.model, {})
        self.folder = home() / "bench" / "ssl"
        self.folder.mkdir(parents=True, exist_ok=True)
        labelled = {"labelled_fraction": 1.0} if recipe == "lens-finding-hard" else {}
        self.judged = self._made(f"judged-{recipe}-{cfg.judged}", cfg.judged, 12, labelled,
                                 {"train": 0.5, "val": 0.1, "test": 0.4})  # fmt: skip

    def rows(self) -> list[Row]:
        """Every row; at the end, the best encoder as the start of networks that learn from few labels."""
        found = self.encoders()
        pairs = self.pairs() if self.cfg.pairs else []
        best = chosen(found + pairs)
        found += self.baselines(found[0]) + pairs
        as_many = max(1, round(self.cfg.epochs * self.cfg.images / len(self.judged.rows("train"))))
        found.append(self.with_labels("supervised, all labels", self.judged, as_many, TRAINING))
        few = self.few()
        found.append(self.with_labels("1 % of labels, from scratch", few, self.cfg.few_epochs, LABELS))
        found.append(self.with_labels(f"1 % of labels, from {best.name}", few, self.cfg.few_epochs, FINE_TUNING,
                                     best.runs))
        return found

    def encoders(self) -> list[Row]:
        methods = list(METHODS) if self.cfg.methods == "all" else self.cfg.methods.split("+")
        own = [self.encoder(method, self.cfg.model, self.built, {"method": METHODS[method].name}) for method in methods]
        if not self.cfg.seed_encoder:
            return own
        seed = [self.encoder(f"{method}, seed's encoder", "equivariant-transformer",
                             {**SEED_ENCODER, "pretrained": False}, {"method": method}, share=self.cfg.seed_share)
                for method in ("margin-labels", "margin")]
        return own + seed

    def encoder(self, name: str, model: str, built: Mapping[str, Any], settings: Mapping[str, Any],
                fresh: bool = False, share: float = 1.0) -> Row:
        """One method with every seed, probed on the labelled set.

        Args:
            name: Of the row.
            model, built: Encoder and its settings.
            settings: Of the method.
            fresh: Learn from simulations made as it trains.
            share: Of the images that it learns from.
        """
        count = max(100, round(share * self.cfg.images))
        if fresh or self.recipe in ALWAYS_FRESH:
            data = f"sim:{self.recipe}"
            settings = {"images_per_epoch": count, "val_images": 600, "test_images": 60, **FRESH_IMAGES[self.recipe],
                        **settings}
        else:
            pool = self._made(f"pool-{self.recipe}-{count}", count, 11, {}, {"train": 0.9, "val": 0.1, "test": 0})
            data, count = str(pool.path), len(pool.rows("train"))
        settings = {"epochs": self.cfg.epochs, **TRAINING, **VIEWS[self.recipe], **built, **settings}
        runs = [trained(plan("ssl", data, model, settings, seed, f"ssl {self.recipe} {name}, seed {seed}", "cpu"),
                        self.say) for seed in range(1, self.cfg.seeds + 1)]
        return Row.of(name, [run.id for run in runs], [scored(run, self.judged, self.say) for run in runs],
                      seen=self.cfg.epochs * count)

    def baselines(self, first: Row) -> list[Row]:
        """Pixels and the untrained network, from the evaluations of the encoders."""
        return [first.beside("pixels (PCA)", seeds=1), first.beside("random encoder")]

    def pairs(self) -> list[Row]:
        """The same method on fresh simulations: views of one image, where no other row is that already, and the same
        lens seen twice."""
        method = {"method": METHODS[self.cfg.pairs].name}
        name = self.cfg.pairs if self.recipe in ALWAYS_FRESH else f"{self.cfg.pairs}, fresh"
        partner = PARTNER[self.recipe]
        return [self.encoder(row, self.cfg.model, self.built, {**method, "pairs": pairs}, fresh=True)
                for row, pairs in ((name, AUGMENT), (f"{name}{PAIRS}{partner}", partner))]

    def with_labels(self, name: str, data: Dataset, epochs: int, training: Mapping[str, Any],
                    start: Sequence[str] = ()) -> Row:
        """A classifier with every seed, from scratch or from encoders; its own head is scored."""
        runs = []
        for seed in range(1, self.cfg.seeds + 1):
            init = {"init": start[seed - 1]} if start else {}
            settings = {**training, **INPUT[self.recipe], **self.built, "epochs": epochs, **init}
            spec = plan("classify", str(data.path), self.cfg.model, settings, seed,
                        f"ssl {self.recipe} {name}, seed {seed}", "cpu")  # fmt: skip
            runs.append(trained(spec, self.say))
        train = data.rows("train")
        return Row.of(name, [run.id for run in runs], [scored(run, self.judged, self.say) for run in runs],
                      seen=epochs * int((data.labels[train] >= 0).sum()))

    def few(self) -> Dataset:
        """The labelled set with one percent of its training labels, and as many images."""
        folder = self.folder / f"few-{self.recipe}-{self.cfg.judged}"
        if folder.exists():
            return open_dataset(folder)
        whole, table = self.judged, self.judged.catalog
        labels = np.array(["" if label < 0 else whole.classes[label] for label in whole.labels], object)
        train = whole.rows("train")
        kept, _ = split_by_class(whole.labels[train], FEW, 0)
        hidden = np.setdiff1d(train, train[kept])
        labels[hidden] = ""
        with DatasetWriter(folder, classes=whole.classes, shape=whole.shape, source={"kind": "few labels"},
                           pixel_scale_arcsec=whole.pixel_scale_arcsec, seed=0) as out:  # fmt: skip
            out.append(np.array(whole.images), {"label": labels, "split": table["split"].to_numpy()})
            out.finish()
        return open_dataset(folder)

    def _made(self, name: str, count: int, seed: int, settings: Mapping[str, Any], splits: Mapping[str, float]
              ) -> Dataset:  # fmt: skip
        return data_set(self.folder / name, self.recipe, count, seed, settings, splits, self.say)
