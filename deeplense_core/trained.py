"""A trained network by name: its weights, its card, and the way from any image to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.familiarity import FeatureCloud, read_cloud, strangeness
from deeplense_core.features import feature_matrix, is_leaky
from deeplense_core.forward import WithFeatures, logits, logits_and_features
from deeplense_core.lanes import Block, Done, side_by_side
from deeplense_core.metrics import apply_temperature, class_sets
from deeplense_core.models import MODELS, build_model, learns, model_entry
from deeplense_core.precision import best_device
from deeplense_core.preprocess import PreprocessConfig, center_crop, resampling, rescale
from deeplense_core.shelf.cards import find_card, pixel_scales

BATCH = 64
"""Images that go through a network together."""
CLOUD_FILE = "familiar.safetensors"
"""Beside the weights: where the features of familiar images lie."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image, and what to keep in mind when reading it."""

    probabilities: Float[np.ndarray, " k"]
    warnings: tuple[str, ...] = ()
    familiar: bool = True
    """False: the image is unlike the training images and the class means nothing; a warning says how."""
    likely: tuple[str, ...] = ()
    """The classes that hold the true one for at least 95 % of the images of each class, where the card has their
    thresholds; only for familiar images."""
    distance: float | None = None
    """From the training images in the network's features; 99 % of such images lie within 1."""


@dataclass(frozen=True)
class Trained:
    """A trained network and its card: the facts of how it was made and what it expects."""

    name: str
    folder: Path
    card: Mapping[str, Any] = field(repr=False)

    @property
    def task(self) -> str:
        return self.card["task"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of the training images."""
        c, h, w = self.card["shape"]
        return c, h, w

    @property
    def pixel_scale_arcsec(self) -> float | None:
        """Of every training image; None where they differ or it is unknown."""
        return self.card["pixel_scale_arcsec"]

    @property
    def scales(self) -> tuple[float, float] | None:
        """Smallest and largest pixels of the training images in arcsec; None where unknown."""
        return pixel_scales(self.card)

    @cached_property
    def net(self) -> nn.Module:
        """The network in evaluation mode, on the best device there is."""
        net = build_model(self.card["model"], self.card["model_settings"], **self.card["model_args"])
        if not learns(model_entry(self.card["model"])):
            return net.eval()
        path = self.folder / "model.safetensors"
        try:
            net.load_state_dict(load_tensors(path.read_bytes()))
        except (OSError, SafetensorError, RuntimeError) as err:
            raise UserError(f"The weights of {self.name!r} cannot be read ({type(err).__name__}): the file "
                            f"{path.name} is damaged or of another model. Train again, or restore it.") from err
        return net.to(memory_format=torch.channels_last).to(best_device()).eval()  # pyright: ignore

    @cached_property
    def cloud(self) -> FeatureCloud | None:
        """Where features of familiar images lie; None where the card does not know."""
        return read_cloud((self.folder / CLOUD_FILE).read_bytes()) if "cloud" in self.card else None

    @property
    def input(self) -> PreprocessConfig:
        """How images at the training size become the network's input."""
        return PreprocessConfig(**self.card["preprocess"])

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def features(self) -> tuple[str, ...]:
        """Columns that the network sees beside the image; none for networks of images alone."""
        return tuple(self.card["model_args"].get("features", {}).get("names", ()))

    @property
    def leaky(self) -> bool:
        """Whether the network sees truth of a simulator among its features."""
        return is_leaky(self.features)

    def seeing(
        self, images: Float[np.ndarray, "n c h w"], columns: Mapping[str, np.ndarray] | None = None
    ) -> nn.Module:
        """The network as a function of these images alone, already at the training size and scale.

        A network that sees features is given those of the images: from ``columns`` of their catalogue, else measured.
        """
        if not self.features:
            return self.net
        found = feature_matrix(self.features, columns or {}, images, self.card["bands"])
        return WithFeatures(self.net, torch.from_numpy(found).to(self.device)).eval()

    def logits(
        self, images: Float[np.ndarray, "n c h w"], averaged: bool = True,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> Float[np.ndarray, "n k"]:
        """Raw class logits (n, k), float64, of images already at the training size and scale.

        ``columns`` of their catalogue are for networks that see features, which are measured where it has none.
        """
        blocks = self._each(lambda net, block: logits(net, block, self.input, averaged), images, columns)
        return torch.cat(blocks).cpu().numpy().astype(np.float64)

    def outputs(
        self, images: Float[np.ndarray, "n c h w"], columns: Mapping[str, np.ndarray] | None = None
    ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n d"]]:
        """As :meth:`logits`, and what its last layers read on the way, float64."""
        pairs = self._each(lambda net, block: logits_and_features(net, block, self.input, True), images, columns)
        raw, read = (torch.cat(part).cpu().numpy().astype(np.float64) for part in zip(*pairs, strict=True))
        return raw, read

    def side_by_side(self, work: Callable[[Block], Done], blocks: Iterable[Block]) -> Iterator[Done]:
        """``work``, which asks this network, of each block in order: :func:`deeplense_core.lanes.side_by_side`."""
        return side_by_side(work, blocks, self.device)

    def _each(
        self, work: Callable[[nn.Module, Tensor], Done], images: np.ndarray, columns: Mapping[str, np.ndarray] | None
    ) -> list[Done]:
        """``work`` with the network as it sees each batch of the images."""
        return list(self.side_by_side(lambda one: work(*one), self._blocks(images, columns)))

    def _blocks(
        self, images: np.ndarray, columns: Mapping[str, np.ndarray] | None
    ) -> Iterator[tuple[nn.Module, Tensor]]:
        for i in range(0, len(images), BATCH):
            block = np.array(images[i : i + BATCH], dtype=np.float32)
            net = self.seeing(block, {name: values[i : i + BATCH] for name, values in (columns or {}).items()})
            yield net, torch.from_numpy(block).to(self.device)

    def calibrate(self, outputs: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Probabilities from logits, with the temperature found on the validation set."""
        return apply_temperature(outputs, self.card["temperature"])

    def predict(
        self, images: Float[np.ndarray, "n c h w"], pixel_scale_arcsec: float | None = None
    ) -> list[Prediction]:
        """Calibrated probabilities of raw images of one shape, brought to the training scale first.

        Raises:
            UserError: wrong number of bands, or values that are not finite.
        """
        fitted, warnings = self.fit(images, pixel_scale_arcsec)
        raw, features = self.outputs(fitted)
        rows = self.calibrate(raw)
        away = self.cloud.distance(features) if self.cloud else [None] * len(rows)
        thresholds = self.card.get("conformal", {}).get("thresholds")
        sets = class_sets(rows, thresholds) if thresholds else np.zeros(rows.shape, bool)
        differences = strangeness(fitted, self.card["familiar"])
        answers = []
        for row, said, distance, inside in zip(rows, differences, away, sets, strict=True):
            strange = self._strange(said, distance)
            likely = () if strange else tuple(name for name, within in zip(self.classes, inside, strict=True) if within)
            answers.append(Prediction(row, warnings + strange, not strange, likely, distance))
        return answers

    def _strange(self, said: list[str], distance: float | None) -> tuple[str, ...]:
        """A warning where an image is unlike those the network knows: its confidence then means nothing."""
        if distance is not None and distance > 1:
            said = [*said, f"features {distance:.3g} times as far away as those of 99 % of them"]
        return (f"unlike the training images, do not trust the class: {', '.join(said)}",) if said else ()

    def fit(
        self, images: Float[np.ndarray, "n c h w"], pixel_scale_arcsec: float | None
    ) -> tuple[Float[np.ndarray, "n c2 h2 w2"], tuple[str, ...]]:
        """Images resampled, cropped or padded to the training field, and warnings that say what was done."""
        images = np.asarray(images, dtype=np.float32)
        bands, height, width = self.shape
        if images.shape[1] != bands:
            raise UserError(f"{self.name!r} was trained on {bands} band(s) and the image has "
                            f"{images.shape[1]}. Choose {bands} band(s) of it, or another model.")
        images, notes = self._filled(images)
        factor = self.factor(images.shape[-2:], pixel_scale_arcsec)
        x, warnings = rescale(torch.from_numpy(np.array(images)), factor), list(notes)
        if self.scales and pixel_scale_arcsec:
            if abs(factor - 1) > 1e-3:
                warnings.append(f"resampled from {pixel_scale_arcsec:.3g} to {pixel_scale_arcsec / factor:.3g} "
                                "arcsec per pixel")
            if factor > 1.5:
                warnings.append("pixels are coarser than in training: fine structure cannot be seen")
        elif images.shape[-2:] != (height, width):
            field_arcsec = f"{height * self.pixel_scale_arcsec:.2g} arcsec" if self.pixel_scale_arcsec else \
                f"{height} pixels"
            why = "the network does not know its pixel scale" if pixel_scale_arcsec else "pixel scale unknown"
            warnings.append(f"{why}: stretched to the training field of {field_arcsec}")
        if x.shape[-2:] != (height, width):
            if min(x.shape[-2:]) < 0.8 * height:
                warnings.append("field smaller than the training field: border repeated")
            x = center_crop(x, height)
        return x.numpy(), tuple(warnings)

    def _filled(self, images: Float[np.ndarray, "n c h w"]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Images whose pixels are all finite: for networks that know of pixels without data, these are filled with
        one value for each band.

        Raises:
            UserError: such pixels, for a network that does not know of them.
        """
        bad = ~np.isfinite(images)
        if not bad.any():
            return images, ()
        if self.input.normalise != "sky":
            raise UserError("The image has pixels that are not finite (NaN or infinity). Fill or crop them.")
        gone = bad.all((2, 3), keepdims=True)
        level = np.nanmedian(np.where(gone, 0, np.where(bad, np.nan, images)), (2, 3), keepdims=True)
        return np.where(bad, level, images), (f"{bad.mean():.1%} of the pixels carry no data".replace("%", " %"),)

    def factor(self, size: Sequence[int], pixel_scale_arcsec: float | None) -> float:
        """By how much :meth:`fit` resamples an image of this (h, w), as :func:`resampling` says."""
        return resampling(size, pixel_scale_arcsec, self.shape[1:], self.scales)


def load_model(name: str) -> Trained:
    """A finished run, a model that ships with the project, or one that has nothing to learn, by name.

    Raises:
        UserError: no such run or model, or one that has no weights yet.
    """
    if name in MODELS and not learns(MODELS[name]):
        return unlearned(name)
    found = find_card(name)
    return Trained(found.name, found.folder, found.card)


def unlearned(name: str, scale: int = 2) -> Trained:
    """An interpolation as if it had been trained: it has no weights and fits any number of bands."""
    args = {"in_channels": None, "scale": scale, "unit": 1.0}
    card = {"task": "superres", "model": name, "model_settings": {}, "model_args": args, "seed": 0,
            "test_images": 400, "data_fingerprint": "", "data": "nothing"}
    return Trained(name, Path(), card)
