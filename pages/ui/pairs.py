"""Pairs of a coarse and a fine image for the super-resolution page, and what each row makes of the coarse one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.data import Dataset, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.metrics.superres import AVERAGED
from deeplense_core.runs import open_run, short_names
from deeplense_core.shelf.cards import find_card
from pages.ui.picker import SIM

SEED = 11
"""Of the simulated pairs on the page."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One sky: the coarse image, the fine one where there is one, and how they were taken."""

    name: str
    low: np.ndarray
    """float32 (c, h, w)."""
    high: np.ndarray | None = None
    """float32 (c, H, W)."""
    low_scale_arcsec: float | None = None
    columns: Mapping[str, float] = field(default_factory=dict)
    """What a catalogue says of this pair in numbers: ``truth_*`` of a simulated one, measured noise of a real one."""
    wcs: str | None = None
    fine_wcs: str | None = None
    """Of the coarse and of the fine grid."""
    unit: str = ""
    bands: tuple[str, ...] = ()
    kernel: np.ndarray | None = None
    """Of a registered pair: brings the fine image to the coarse one's sharpness."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of a registered pair: what the comparison of the two gave."""

    @property
    def real(self) -> bool:
        """Whether it comes from a telescope: then in a unit that no network has learnt, its noise measured."""
        return "lr_noise" in self.columns

    @property
    def per_pixel(self) -> bool:
        """Whether values are amounts per pixel, of which finer pixels hold less; simulated ones are brightness."""
        from deeplense_core.superres.enhance_files import is_per_pixel

        return self.real and is_per_pixel(self.unit)

    @cached_property
    def digest(self) -> str:
        """Hash of all that a result or a map of it depends on."""
        digest = hashlib.sha256(self.low.tobytes())
        digest.update(b"" if self.high is None else self.high.tobytes())
        digest.update(repr((self.low.shape, self.low_scale_arcsec, sorted(self.columns.items()))).encode())
        digest.update(b"" if self.kernel is None else self.kernel.tobytes())
        return digest.hexdigest()


def pair_of(data: str, number: int) -> Pair:
    """Pair ``number`` (from 0) of a recipe, or of the test split of a data set.

    Raises:
        UserError: a data set without test pairs.
    """
    if data.startswith(SIM):
        return _simulated(data.removeprefix(SIM), number)
    return _stored(data, open_dataset(Path(data)).fingerprint, number)


@st.cache_data(max_entries=64, show_spinner="Simulating the pair …")
def _simulated(name: str, number: int) -> Pair:
    from deeplense_core.sim import recipe_info, simulate
    from deeplense_core.sources import TEST

    # A stream that no training draws, whatever its seed.
    info, batch = recipe_info(name), simulate(name, 1, seed=SEED, stream=TEST + number)
    assert batch.targets is not None
    truth = {f"truth_{key}": float(value[0]) for key, value in batch.truth.items()}
    return Pair(f"{name} {number}", batch.images[0].numpy(), batch.targets[0].numpy(), info["pixel_scale_arcsec"],
                truth, unit="counts", bands=tuple(info["bands"]))  # fmt: skip


def count_of(data: str) -> int:
    """How many pairs there are to choose from; simulated ones do not end."""
    return 100_000 if data.startswith(SIM) else len(_test_rows(open_dataset(Path(data))))


@st.cache_data(max_entries=64, show_spinner="Reading the pair …")
def _stored(folder: str, fingerprint: str, number: int) -> Pair:
    """Cached by what the data set holds: another one may come to lie in its folder."""
    from deeplense_core.sources import matching_kernel, numeric_columns
    from deeplense_core.superres.pair_set import KIND

    ds = open_dataset(Path(folder))
    row = int(_test_rows(ds)[number])
    columns = {name: float(values[0]) for name, values in numeric_columns(ds, np.array([row])).items()}
    source = ds.manifest["source"]
    registered = source if source.get("kind") == KIND else {}
    assert ds.targets is not None
    return Pair(str(ds.catalog["id"].iloc[row]), np.array(ds.images[row]), np.array(ds.targets[row]),
                ds.pixel_scale_arcsec, columns, registered.get("wcs"), registered.get("fine_wcs"),
                str(ds.manifest.get("units", "")), ds.bands, matching_kernel(ds), registered)  # fmt: skip


def _test_rows(ds: Dataset) -> np.ndarray:
    rows = ds.rows("test")
    if not len(rows):
        raise UserError(f"Data set {ds.name!r} has no test pairs: what was trained on is not shown. Make it again "
                        "with a test split.")  # fmt: skip
    return rows


def scale_of(network: str) -> int:
    """Fine pixels along a side of a coarse one that a trained network makes."""
    return int(find_card(network).card["model_args"]["scale"])


@st.cache_data(max_entries=32, show_spinner="Making it fine …")
def made(row: str, written: float, scale: int, digest: str, _pair: Pair) -> np.ndarray:
    """What a row makes of a coarse image, float32 (c, H, W); cached by the pair's hash.

    Args:
        row: Name of an interpolation or of a trained network, with :data:`AVERAGED` for its mean over symmetries.
        written: When the network's weights were written.
        scale: Fine pixels along a side of a coarse one.
        digest: Of ``_pair``.

    Raises:
        UserError: bands that the network does not know.
    """
    from deeplense_core.models.interpolation import KERNELS
    from deeplense_core.superres.enhance_files import enhance_image
    from deeplense_core.trained import unlearned

    name, averaged = row.removesuffix(AVERAGED), row.endswith(AVERAGED)
    model = unlearned(name, scale) if name in KERNELS else _network(name, written)
    return enhance_image(model, _pair.low, averaged, _pair.name, own_unit=_pair.real)


@st.cache_resource(max_entries=4, show_spinner="Loading the network …")
def _network(name: str, written: float) -> Any:
    from deeplense_core.trained import load_model

    return load_model(name)


@st.cache_data(max_entries=24, show_spinner="Putting it back through the coarse camera …", show_time=True)
def camera_maps(
    row: str, written: float, scale: int, digest: str, _pair: Pair, _image: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """What the coarse image says against a result, what it cannot confirm of it, and what the fine image says.

    Args:
        row: As for :func:`made`, with ``written``, ``scale`` and ``digest`` naming ``_image`` for the cache.

    Returns:
        Re-observed minus coarse, unconfirmed structure, result minus observed fine image, all in sigmas; None for
        what the pair does not say enough for.
    """
    import torch

    from deeplense_core.losses.pixel import knows_noise, matching_blur, noise_variance
    from deeplense_core.superres.support import reobservation_residual, unsupported

    columns = {name: torch.tensor([value], dtype=torch.float32) for name, value in _pair.columns.items()}
    fine = _pair.low_scale_arcsec / scale if _pair.low_scale_arcsec else None
    blur = matching_blur(columns, fine, _pair.kernel)
    image, low = torch.from_numpy(_image[None]), torch.from_numpy(_pair.low[None])
    residual = added = off = None
    if blur is not None and knows_noise(columns, "lr"):
        residual = reobservation_residual(image, low, columns, scale, blur)[0].numpy()
        if knows_noise(columns, "hr"):
            added = unsupported(image, columns, scale, blur)[0].numpy()
    if _pair.high is not None and knows_noise(columns, "hr"):
        off = ((image - torch.from_numpy(_pair.high)) / noise_variance(image, columns, "hr").sqrt())[0].numpy()
    return residual, added, off


@st.cache_data(max_entries=128, show_spinner=False)
def measured(
    row: str, written: float, scale: int, digest: str, _pair: Pair, _image: np.ndarray
) -> tuple[dict[str, float], float]:
    """Every metric of a result, and the data range of its PSNR.

    Args:
        row: As for :func:`made`, with ``written``, ``scale`` and ``digest`` naming ``_image`` for the cache.

    Raises:
        UserError: a fine image without light.
    """
    from deeplense_core.metrics.superres import data_range
    from deeplense_core.tasks.superres_scores import one_image

    assert _pair.high is not None
    fine = _pair.low_scale_arcsec / scale if _pair.low_scale_arcsec else None
    range_ = data_range(_pair.high[None])
    return one_image(_image, _pair.low, _pair.high, _pair.columns, scale, fine, range_, _pair.kernel), range_


def written(row: str) -> float:
    """When the weights behind a row were written; 0 for an interpolation."""
    from deeplense_core.models.interpolation import KERNELS

    name = row.removesuffix(AVERAGED)
    return 0.0 if name in KERNELS else (find_card(name).folder / "model.json").stat().st_mtime


def row_labels(rows: Iterable[str]) -> dict[str, str]:
    """Rows as the reader knows them: a run by its own name or its model, with the end of its id where several are
    called the same; the rest as it is."""
    bare = {row: row.removesuffix(AVERAGED) for row in rows}
    names = short_names({name: _called(name) for name in bare.values()})
    return {row: names[name] + row.removeprefix(name) for row, name in bare.items()}


def _called(name: str) -> str:
    try:
        spec = open_run(name).spec
    except UserError:
        return name
    return spec.name or spec.model
