"""A trained network by name: its weights, its card, and the way from any image to its answer."""

from __future__ import annotations

from collections.abc import Mapping
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

from deeplense_core.cards import find_card
from deeplense_core.errors import UserError
from deeplense_core.familiarity import strangeness
from deeplense_core.forward import logits
from deeplense_core.metrics import apply_temperature
from deeplense_core.models import build_model
from deeplense_core.preprocess import PreprocessConfig, center_crop, rescale

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image, and what to keep in mind when reading it."""

    probabilities: Float[np.ndarray, " k"]
    warnings: tuple[str, ...] = ()


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
        return self.card["pixel_scale_arcsec"]

    @cached_property
    def net(self) -> nn.Module:
        """The network in evaluation mode, on the best device there is."""
        net = build_model(self.card["model"], self.card["model_settings"], **self.card["model_args"])
        path = self.folder / "model.safetensors"
        try:
            net.load_state_dict(load_tensors(path.read_bytes()))
        except (OSError, SafetensorError, RuntimeError) as err:
            raise UserError(f"The weights of {self.name!r} cannot be read ({type(err).__name__}): the file "
                            f"{path.name} is damaged or of another model. Train again, or restore it.") from err
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return net.to(memory_format=torch.channels_last).to(device).eval()  # pyright: ignore

    def logits(self, images: Float[np.ndarray, "n c h w"], averaged: bool = True) -> Float[np.ndarray, "n k"]:
        """Raw class logits (n, k), float64, of images already at the training size and scale."""
        device = next(self.net.parameters()).device
        cfg = PreprocessConfig(**self.card["preprocess"])
        blocks = [
            logits(self.net, torch.from_numpy(np.array(images[i : i + BATCH], dtype=np.float32)).to(device),
                   cfg, averaged)
            for i in range(0, len(images), BATCH)
        ]
        return torch.cat(blocks).cpu().numpy().astype(np.float64)

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
        rows = self.calibrate(self.logits(fitted))
        return [Prediction(row, warnings + self._strange(image)) for row, image in zip(rows, fitted, strict=True)]

    def _strange(self, image: Float[np.ndarray, "c h w"]) -> tuple[str, ...]:
        """A warning where the image is unlike those the network knows: its confidence then means nothing."""
        said = strangeness(image, self.card["familiar"])
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
        if not np.isfinite(images).all():
            raise UserError("The image has pixels that are not finite (NaN or infinity). Fill or crop them.")
        x, warnings = torch.from_numpy(np.array(images)), []
        if self.pixel_scale_arcsec and pixel_scale_arcsec:
            x = self._to_scale(x, pixel_scale_arcsec, warnings)
        elif x.shape[-2:] != (height, width):
            field_arcsec = f"{height * self.pixel_scale_arcsec:.2g} arcsec" if self.pixel_scale_arcsec else \
                f"{height} pixels"
            warnings.append(f"pixel scale unknown: stretched to the training field of {field_arcsec}")
            x = rescale(x, height / x.shape[-2])
        if x.shape[-2:] != (height, width):
            if min(x.shape[-2:]) < 0.8 * height:
                warnings.append("field smaller than the training field: border repeated")
            x = center_crop(x, height)
        return x.numpy(), tuple(warnings)

    def _to_scale(self, x: Tensor, pixel_scale_arcsec: float, warnings: list[str]) -> Tensor:
        assert self.pixel_scale_arcsec
        factor = pixel_scale_arcsec / self.pixel_scale_arcsec
        if abs(factor - 1) > 1e-3:
            warnings.append(f"resampled from {pixel_scale_arcsec:.3g} to {self.pixel_scale_arcsec:.3g} "
                            "arcsec per pixel")
        if factor > 1.5:
            warnings.append("pixels are coarser than in training: fine structure cannot be seen")
        return rescale(x, factor)


def load_model(name: str) -> Trained:
    """A finished run, or a model that ships with the project, by name.

    Raises:
        UserError: no such run or model, or one that has no weights yet.
    """
    found = find_card(name)
    return Trained(found.name, found.folder, found.card)
