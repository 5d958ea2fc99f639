"""What a classifier's card says about trust, worked out from images that training has not seen.

The temperature, the thresholds of the sets that cover 95 %, and where the features of familiar images lie: all for
the network as it answers, averaged over the eight symmetries where it is not invariant by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core import metrics
from deeplense_core.adapt import target_validation
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.familiarity import FEWEST, WITHIN, fit_cloud
from deeplense_core.metrics.conformal import LEVEL
from deeplense_core.sources import SIM, Images, describe, simulated_validation, stored_images
from deeplense_core.storage import atomic_write
from deeplense_core.tasks import TASKS
from deeplense_core.trained import CLOUD_FILE, Trained, load_model

SIMULATED = 1_500
"""Images of the validation streams, for networks that learnt from simulations."""
BLOCK = 256


def calibrate(name: str) -> dict[str, Any]:
    """Completes the card of a classifier from the validation part of its own data; the same again changes nothing.

    Args:
        name: A run that has weights, or a shipped model.

    Returns:
        What the card now says: ``temperature``, ``conformal`` and, from enough images, ``cloud``.

    Raises:
        UserError: unknown name, a network of another task, or data that are gone.
    """
    model = load_model(name)
    if not TASKS[model.task].about.get("calibrated"):
        raise UserError(f"{name!r} does not tell classes apart, so there is nothing to calibrate.")
    part = _validation(model)
    scale = describe(model.card["data"]).pixel_scale_arcsec
    pairs = [model.outputs(model.fit(block, scale)[0], columns) for block, columns in part.blocks_and_columns(BLOCK)]
    raw, features = (np.concatenate(half) for half in zip(*pairs, strict=True))
    temperature = metrics.fit_temperature(raw, part.labels)
    probabilities = metrics.apply_temperature(raw, temperature)
    conformal = {
        "level": LEVEL,
        "thresholds": metrics.fit_thresholds(part.labels, probabilities),
        "images": np.bincount(part.labels, minlength=len(model.classes)).tolist(),
    }
    found: dict[str, Any] = {"temperature": temperature, "conformal": conformal}
    if len(part) >= FEWEST:
        atomic_write(model.folder / CLOUD_FILE, fit_cloud(features).to_bytes())
        found["cloud"] = {"within": WITHIN, "images": len(part)}
    card = {key: value for key, value in model.card.items() if key != "cloud"}
    atomic_write(model.folder / "model.json", json.dumps({**card, **found}, indent=1).encode())
    return found


def _validation(model: Trained) -> Images:
    """The images on which the network's best epoch was chosen, labelled, in the order of its classes."""
    data, target = model.card["data"], model.card.get("target")
    if target:
        part = target_validation(target, describe(data), model.card["seed"], SIMULATED, str(model.device))
        if part is not None:
            return part
    if data.startswith(SIM):
        return simulated_validation(data.removeprefix(SIM), SIMULATED, model.card["seed"], str(model.device))
    dataset = open_dataset(Path(data))
    if dataset.fingerprint != model.card["data_fingerprint"]:
        raise UserError(f"Data set {dataset.name!r} has changed since {model.name!r} was trained on it: its validation "
                        "images may have been seen in training. Restore the data set, or train again.")
    part = stored_images(dataset, "val")
    if not len(part):
        raise UserError(f"Data set {dataset.name!r} has no labelled validation images for {model.name!r}.")
    return part
