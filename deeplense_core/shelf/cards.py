"""Model cards: what a trained network is and how it was made, read without its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core.errors import UserError
from deeplense_core.registry import nearest
from deeplense_core.runs import list_runs, open_run
from deeplense_core.shelf.hub import fetch, is_hub_name
from deeplense_core.workspace import shipped_models_dir

NEEDED = {"task": str, "model": str, "model_settings": dict, "model_args": dict, "data": str, "data_fingerprint": str,
          "seed": int, "test_images": int, "shape": list, "bands": list}  # fmt: skip
"""What every card has, and of which kind it is."""


@dataclass(frozen=True)
class Card:
    """A trained network by name, the folder of its files, and the facts in its ``model.json``."""

    name: str
    folder: Path
    card: Mapping[str, Any]


def find_card(name: str) -> Card:
    """The card of a run with weights, of a model that ships with the project, or of one on the Hub (``hf:org/name``).

    Raises:
        UserError: no such run or model, or one that has no weights yet.
    """
    if is_hub_name(name):
        folder = fetch(name)
        return Card(name, folder, _whole(name, _read(folder)))
    shipped = shipped_models()
    if name in shipped:
        return Card(name, shipped_models_dir() / name, _read(shipped_models_dir() / name))
    try:
        run = open_run(name)
    except UserError as err:
        known = [*shipped, *(row.id for row in list_runs())]
        raise UserError(f"There is no run or shipped model {name!r}. {nearest(name, known)}") from err
    if not (run.path / "model.json").exists():
        raise UserError(f"Run {run.id!r} has no trained weights yet: it is {run.status.state}. "
                        "Weights are there after its first epoch.")
    return Card(run.id, run.path, _read(run.path))


def pixel_scales(card: Mapping[str, Any]) -> tuple[float, float] | None:
    """Smallest and largest pixels of the training images in arcsec; None where unknown."""
    low, high = card.get("pixel_scale_range_arcsec") or (card["pixel_scale_arcsec"],) * 2
    return (low, high) if low else None


def own_test_data(card: Mapping[str, Any]) -> str:
    """Where a network's own test images come from: the data it learnt from or, where they are not here (a network that
    ships may have learnt from a data set), the recipe that its first test was made with."""
    data, recipes = card["data"], [test["recipe"] for test in card.get("tests", ()) if "recipe" in test]
    if data.startswith("sim:") or Path(data).exists() or not recipes:
        return data
    return f"sim:{recipes[0]}"


def shipped_models() -> list[str]:
    """Names of the trained models in ``assets/models``."""
    return sorted(path.parent.name for path in shipped_models_dir().glob("*/model.json"))


def _whole(name: str, card: Any) -> dict[str, Any]:
    """A card from elsewhere, once it has what every card has.

    Raises:
        UserError: naming what is missing, or is of another kind.
    """
    for key, kind in NEEDED.items():
        if not isinstance(card, dict) or not isinstance(card.get(key), kind):
            raise UserError(f"The model card of {name!r} has no usable {key!r}. Push the model again with: push")
    return card


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "model.json").read_bytes())
    except (OSError, ValueError) as err:
        raise UserError(f"The model card in {folder.name!r} cannot be read: {err}") from err
