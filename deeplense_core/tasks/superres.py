"""Super-resolution: from a coarse image to what a finer camera sees of the same sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.augment import d4
from deeplense_core.errors import UserError
from deeplense_core.familiarity import frame_statistics
from deeplense_core.losses import pixel
from deeplense_core.losses.adversarial import discriminator_accuracy, discriminator_loss, frozen, generator_loss
from deeplense_core.losses.perceptual import LAYERS, perceptual_distance, perceptual_loss, vgg19, view
from deeplense_core.metrics import superres as metrics
from deeplense_core.models.esrgan import SMALLEST, Discriminator
from deeplense_core.sources import Batch, DataInfo, Images, Source
from deeplense_core.spec import config_from, knob
from deeplense_core.superres.enhance import enhance
from deeplense_core.superres.observe import reach
from deeplense_core.tasks.base import TASKS, StepOut
from deeplense_core.tasks.superres_scores import evaluate, noise_floor, pair_scale

PERCEPTUAL_VALIDATION = 16
"""Images of the validation that the perceptual distance is taken of: it costs more than all else."""
FEWEST_INNER = 4
"""Coarse pixels along a side that re-observation must be left with; seeing differs from batch to batch."""


@dataclass(frozen=True)
class SuperResConfig:
    crop: int = knob(48, "Side of the patches that are cut from the coarse images; 0 takes whole images", ge=0, le=512,
                     unit="pixels", group="patches")
    loss: str = knob("chi2", "Distance in pixels: chi2 weighs by the known noise, mse and l1 by nothing",
                     choices=pixel.PIXEL_LOSSES, group="loss")
    physics: float = knob(0.0, "Weight of re-observation: the result put back through the coarse camera must give the "
                          "coarse image", ge=0, le=100, group="loss")
    perceptual: float = knob(0.0, "Weight of the distance in features of VGG19", ge=0, le=100, group="loss")
    perceptual_layer: str = knob("conv5_4", "Layer of VGG19; earlier ones cost less", choices=LAYERS,
                                 group="loss")
    adversarial: float = knob(0.0, "Weight of the relativistic discriminator's opinion", ge=0, le=10, group="loss")
    warm_up: float = knob(0.5, "Part of the training on pixel loss and physics alone, before VGG19 and discriminator",
                          ge=0, le=1, group="loss")


@TASKS.register("superres", configs=(SuperResConfig,), labelled=False, evaluate=evaluate, label="Super-resolution",
                defaults={"batch_size": 16, "weight_decay": 0.0, "grad_clip": 10.0, "ema": 0.999, "val_images": 200,
                          "test_images": 400, "curriculum_start": 1.0, "matched": False})
class SuperResTask:
    """Make a coarse image fine: pairs of one sky, seen by two cameras."""

    def __init__(self, settings: Mapping[str, Any], data: DataInfo):
        self.scale = pair_scale(data)
        self.data = data
        self.cfg = config_from(SuperResConfig, settings)
        self.batch_size = int(settings["batch_size"])
        if self.cfg.crop > min(data.shape[1:]):
            raise UserError(f"crop = {self.cfg.crop} is larger than the coarse images of {data.shape[1]} x "
                            f"{data.shape[2]} pixels. Take a smaller one, or 0 for whole images.")
        side = self.scale * (self.cfg.crop or min(data.shape[1:]))
        if self.cfg.adversarial and side < SMALLEST:
            raise UserError(f"The discriminator sees patches of {side} fine pixels and needs {SMALLEST}. Take a larger "
                            "crop, or adversarial=0.")
        self.features = self.cfg.perceptual > 0 or self.cfg.adversarial > 0
        self.best = "closeness" if self.features else "psnr"
        self.unit, self.noise = 1.0, 0.0
        self.judge: Discriminator | None = None

    def look(self, source: Source) -> None:
        """Takes the spread of the first fine images as the unit that networks count in, one number for all images;
        and notes the noise of the coarse ones, for images that come in another unit."""
        batch = source.batch(0, 0, self.batch_size, 1)
        assert batch.targets is not None
        self.unit = float(f"{float(batch.targets.std()):.3g}")
        self.noise = float(np.median(frame_statistics(batch.images.cpu().numpy())[0]))
        if not self.unit > 0:
            raise UserError(f"The fine images of {self.data.name!r} are all one value: there is nothing to learn.")
        if self.cfg.loss == "chi2":
            pixel.target_variance(batch.images[:1], {k: v[:1] for k, v in batch.columns.items()}, self.scale)
        if self.cfg.physics:
            if self.data.target_pixel_scale_arcsec is None:
                raise UserError(f"{self.data.name!r} does not say its pixel scale, which physics needs. Set physics=0.")
            blur = pixel.matching_sigma_px(batch.columns, self.data.target_pixel_scale_arcsec)
            side, edge = self.cfg.crop or min(self.data.shape[1:]), reach(blur, self.scale)
            if side - 2 * edge < FEWEST_INNER:
                raise UserError(f"physics leaves out the outer {edge} coarse pixels, to which the point-spread "
                                f"function brings light from outside, and the patches have {side}. Set crop to "
                                f"{2 * edge + FEWEST_INNER} or more, or physics=0.")

    def model_args(self) -> dict[str, Any]:
        return {"in_channels": self.data.shape[0], "scale": self.scale, "unit": self.unit}

    def companion(self, net: nn.Module) -> nn.Module | None:
        """The discriminator, where its opinion counts."""
        self.judge = Discriminator(self.data.shape[0]) if self.cfg.adversarial else None
        return self.judge

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> StepOut:
        assert batch.targets is not None
        low, high = cut_patches(batch.images, batch.targets, self.cfg.crop, self.scale, generator)
        low, high = turn_together(low, high, generator)
        made = model(low)
        logs: dict[str, Tensor] = {}
        with torch.autocast(made.device.type, enabled=False):  # brightness in sigmas needs more than three digits
            loss = logs["pixel"] = self._pixel(made, high, low, batch.columns)
            if self.cfg.physics:
                assert self.data.target_pixel_scale_arcsec
                blur = pixel.matching_sigma_px(batch.columns, self.data.target_pixel_scale_arcsec)
                logs["reobservation"] = pixel.reobservation_chi2(made, low, batch.columns, self.scale, blur).mean()
                loss = loss + self.cfg.physics * logs["reobservation"]
        if self.features and progress >= self.cfg.warm_up:
            loss = loss + self._opinions(view(made, self.unit), view(high, self.unit), logs)
        return StepOut(loss, {name: value.detach() for name, value in logs.items()})

    def _pixel(self, made: Tensor, high: Tensor, low: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        variance = pixel.target_variance(low, columns, self.scale) if self.cfg.loss == "chi2" else None
        return pixel.pixel_loss(self.cfg.loss, made, high, variance, self.unit)

    def _opinions(self, made: Tensor, real: Tensor, logs: dict[str, Tensor]) -> Tensor:
        """What VGG19 and the discriminator add to the generator's loss, and the discriminator's own loss.

        One backward pass serves both: the discriminator is fixed where it teaches the generator, and sees the made
        images detached where it learns itself.
        """
        loss = torch.zeros((), device=made.device)
        if self.cfg.perceptual:
            net = vgg19().to(made.device)
            logs["perceptual"] = perceptual_loss(net, made, real, self.cfg.perceptual_layer)
            loss = loss + self.cfg.perceptual * logs["perceptual"]
        if self.judge is not None:
            with frozen(self.judge):
                logs["adversarial"] = generator_loss(self.judge(real), self.judge(made))
            on_real, on_made = self.judge(real), self.judge(made.detach())
            logs["discriminator"] = discriminator_loss(on_real, on_made)
            logs["discriminator_accuracy"] = discriminator_accuracy(on_real, on_made)
            loss = loss + self.cfg.adversarial * logs["adversarial"] + logs["discriminator"]
        return loss

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> Float[np.ndarray, "n c H W"]:
        blocks = [enhance(model, images, averaged).cpu().numpy() for images in part.batches(batch_size, device)]
        return np.concatenate(blocks)

    def score(self, outputs: Float[np.ndarray, "n c H W"], part: Images) -> dict[str, float]:
        assert part.targets is not None
        observed = np.concatenate(list(part.target_blocks(256)))
        range_ = metrics.data_range(observed)
        errors = metrics.mse(outputs, observed)
        found = {"psnr": float(metrics.psnr(errors, range_).mean()),
                 "psnr_of_mean_mse": float(metrics.psnr(errors.mean(), range_)), "mse": float(errors.mean())}
        if pixel.knows_noise(part.columns, "hr"):
            found["psnr_floor"] = float(noise_floor(observed, part.columns, range_).mean())
        if self.features:
            made, real = (view(torch.from_numpy(x[:PERCEPTUAL_VALIDATION]), self.unit)
                          for x in (outputs, observed))
            found["closeness"] = -float(perceptual_distance(vgg19().cpu(), made, real).mean())
        return found

    def card(self, outputs: Float[np.ndarray, "n c H W"], part: Images) -> dict[str, Any]:
        origin = vgg19().origin if self.features else None
        return {"noise": self.noise} | ({"perceptual_weights": origin} if origin else {})


def cut_patches(
    low: Float[Tensor, "b c h w"], high: Float[Tensor, "b c H W"], side: int, scale: int, generator: torch.Generator
) -> tuple[Float[Tensor, "b c s s"], Float[Tensor, "b c S S"]]:
    """The same random square of sky out of both images of each pair; ``side`` in coarse pixels, 0 for all."""
    b, _, height, width = low.shape
    if not side or side == height == width:
        return low, high
    rows = torch.randint(height - side + 1, (b,), generator=generator).tolist()
    columns = torch.randint(width - side + 1, (b,), generator=generator).tolist()

    def cut(images: Tensor, factor: int) -> Tensor:
        size = side * factor
        return torch.stack([image[:, y * factor : y * factor + size, x * factor : x * factor + size]
                            for image, y, x in zip(images, rows, columns, strict=True)])

    return cut(low, 1), cut(high, scale)


def turn_together(low: Tensor, high: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of the eight flips and quarter turns for each pair; of frames that are not square, the four that fit."""
    elements = torch.randint(8, (len(low),), generator=generator).tolist()
    if low.shape[-1] != low.shape[-2]:
        elements = [element - element % 2 for element in elements]

    def turned(images: Tensor) -> Tensor:
        return torch.cat([d4(images[i : i + 1], element) for i, element in enumerate(elements)])

    return turned(low), turned(high)
