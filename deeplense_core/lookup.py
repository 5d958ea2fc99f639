"""Images by the ids of an evaluation: read from the data set, or simulated again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.sim import drawn_truth, simulate
from deeplense_core.sources import CHUNK, SIM


def images_of(data: str, ids: Sequence[str]) -> np.ndarray:
    """The images (n, c, h, w) with these ids, in this order.

    Args:
        data: Folder of a data set, or ``sim:RECIPE``.
        ids: As an evaluation keeps them.

    Raises:
        UserError: when the data set is gone or no longer has them.
    """
    if data.startswith(SIM):
        return _simulated(data.removeprefix(SIM), ids)
    dataset = open_dataset(Path(data))
    rows = pd.Index(dataset.catalog["id"]).get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise UserError(
            f"Data set {dataset.name!r} no longer has image {ids[int(np.argmin(rows))]!r}. "
            "Evaluate the run again."
        )
    return np.asarray(dataset.images[rows])


def truths_of(data: str, ids: Sequence[str]) -> pd.DataFrame:
    """The numeric ``truth_*`` columns of these images, without the prefix; empty where there are none."""
    if data.startswith(SIM):
        return _drawn(data.removeprefix(SIM), ids)
    table = open_dataset(Path(data)).catalog.set_index("id")
    columns = [c for c in table.columns if c.startswith("truth_") and pd.api.types.is_numeric_dtype(table[c])]
    order = list(ids)
    return pd.DataFrame({name.removeprefix("truth_"): table[name].reindex(order).to_numpy() for name in columns})


def _simulated(recipe: str, ids: Sequence[str]) -> np.ndarray:
    """The same (recipe, seed, stream) gives the same bytes, so an id is enough to see its image again."""
    places = _places(ids)
    chunks = {
        (seed, stream): simulate(recipe, CHUNK, seed=seed, stream=stream).images.numpy()
        for seed, stream in {place[:2] for place in places}
    }
    return np.stack([chunks[seed, stream][row] for seed, stream, row in places])


def _drawn(recipe: str, ids: Sequence[str]) -> pd.DataFrame:
    """The same draws again, without the images."""
    places = _places(ids)
    chunks = {
        (seed, stream): drawn_truth(recipe, CHUNK, seed=seed, stream=stream)
        for seed, stream in sorted({place[:2] for place in places})
    }
    table = pd.concat({
        key: pd.DataFrame({name: values.numpy() for name, values in truth.items()}) for key, truth in chunks.items()
    })
    return table.loc[places].reset_index(drop=True)


def _places(ids: Sequence[str]) -> list[tuple[int, int, int]]:
    """Seed, stream and row in its chunk, of ids as :func:`deeplense_core.sources.simulated_images` gives them."""
    parts = [tuple(map(int, name.split("-")[1:])) for name in ids]
    return [(seed, stream + number // CHUNK, number % CHUNK) for seed, stream, number in parts]
