"""Data sets on disk from a recipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import Dataset
from deeplense_core.data_writer import DatasetWriter
from deeplense_core.errors import UserError
from deeplense_core.sim.generate import Batch, can_compile, recipe, recipe_info, simulate
from deeplense_core.sim.scene import RECIPES, Recipe
from deeplense_core.spec import make_config

CHUNK = 240
"""Images of one stream, a multiple of every number of classes: what an image is does not depend on the count."""
WORTH_COMPILING = 20_000
"""Images from which compiling costs less than it saves."""


def simulate_dataset(
    name: str, count: int, out: str | os.PathLike, *, seed: int = 0, as_published: bool = False,
    settings: Mapping[str, Any] | None = None, device: str | torch.device = "cpu",
    splits: Mapping[str, float] | None = None, progress: Callable[[int, int], None] | None = None,
    features: bool = True,
) -> Dataset:
    """Simulates ``count`` images into a new data-set folder, in the memory of one chunk.

    The first images of a longer run are the same. Runs of 20,000 images and more use the compiled simulator,
    whose images may differ from a shorter run's in the last bits, and rarely by one count; the manifest says
    which was used.

    Args:
        name: A recipe.
        count: Number of images.
        out: Folder to make.
        seed: Decides images and splits.
        as_published: The published recipe, quirks included.
        settings: Knobs of the recipe's config.
        device: Where to compute.
        splits: Fractions of train, val and test; 80 / 10 / 10 where None.
        progress: Called with (done, total) after every chunk.
        features: Measure features of galaxies and lenses among them, which takes longer than making them; networks of
            images alone do not need them.

    Raises:
        UserError: unknown recipe or setting, a folder that exists, no space on the disk.
    """
    if count < 1:
        raise UserError(f"A data set of {count} images cannot be made: ask for at least 1.")
    info, made = recipe_info(name, settings, as_published), recipe(name, as_published, settings)
    config = make_config(RECIPES[name].config, settings or {})
    kind = torch.device(device).type
    compiled = count >= WORTH_COMPILING and can_compile(kind)
    source = {
        "recipe": name, "count": count, "seed": seed, "as_published": as_published, "device": kind,
        "settings": dataclasses.asdict(config), "compiled": compiled, "text": info["text"],
        "differences": info["differences"], "made_by": info["source"],
    }  # fmt: skip
    with DatasetWriter(out, classes=info["classes"], shape=info["shape"], source=source, seed=seed, total=count,
                       pixel_scale_arcsec=info["pixel_scale_arcsec"], bands=info["bands"],
                       units=info["unit"], target_shape=info["target_shape"],
                       target_pixel_scale_arcsec=info["target_pixel_scale_arcsec"]) as writer:  # fmt: skip
        for stream, start in enumerate(range(0, count, CHUNK)):
            batch = simulate(name, CHUNK, seed=seed, stream=stream, as_published=as_published,
                             settings=settings, device=device, compiled=compiled)
            keep = min(CHUNK, count - start)
            images = batch.images[:keep].cpu().numpy()
            rows = _rows(made, batch, keep, seed, stream)
            if features and made.classes == LENS_CLASSES:
                from deeplense_core.photometry import measure  # scipy, which the other recipes do not wait for

                rows |= measure(images, made.bands)
            targets = None if batch.targets is None else batch.targets[:keep].cpu().numpy()
            writer.append(images, rows, targets)
            if progress is not None:
                progress(start + keep, count)
        return writer.finish(splits=splits)


def _rows(made: Recipe, batch: Batch, keep: int, seed: int, stream: int) -> dict[str, Any]:
    """Catalogue rows of the first ``keep`` images of a batch.

    Where a recipe labels a part only, the other labels are empty, and ``truth_label`` has them all: for evaluation.
    """
    rows: dict[str, Any] = {f"truth_{name}": v[:keep].cpu().numpy() for name, v in batch.truth.items()}
    for name, words in made.words.items():
        rows[f"truth_{name}"] = np.array(words, dtype=object)[rows[f"truth_{name}"]]
    if made.pixel_scale_range_arcsec:
        rows["pixel_scale_arcsec"] = rows.pop("truth_pixel_scale_arcsec")
    labels = np.array(made.classes, dtype=object)[batch.labels[:keep].cpu().numpy()]
    if made.labelled_fraction < 1:
        rows["truth_label"] = labels
        labels = np.where(labels_shown(made, len(batch.labels), seed, stream)[:keep], labels, "")
    return rows | {"label": labels}


def labels_shown(made: Recipe, count: int, seed: int, stream: int) -> np.ndarray:
    """Which images of a batch carry their label, where a recipe labels a part only; bool (count,)."""
    return np.random.default_rng([seed, stream, 0x1ABE1]).random(count) < made.labelled_fraction
