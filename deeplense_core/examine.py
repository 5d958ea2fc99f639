"""A closer look at one image: what the network was given, what its answer rests on, whether a turn changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

from deeplense_core.augment import d4, d4_undone
from deeplense_core.errors import UserError
from deeplense_core.evidence import grad_cam, occlusion, turned_grad_cam
from deeplense_core.forward import WithFeatures, turned_logits
from deeplense_core.images import LensImage
from deeplense_core.models.fusion_weights import attention
from deeplense_core.preprocess import center_crop, preprocess, rescale, rescaled_size, undo_fit
from deeplense_core.trained import Trained

KINDS = ("grad-cam", "occlusion", "attention")
SCALED = {"minmax": "Scaled to 0 to 1", "sky": "In sigmas of the sky", "none": "As it is"}
SQUARES_PER_SIDE = 8
"""The covered square of an occlusion map is this part of what the network sees; squares overlap by half."""


@dataclass(frozen=True, eq=False)
class Step:
    """One stage of an image on its way into a network."""

    title: str
    pixels: Float[np.ndarray, "c h w"]
    pixel_scale_arcsec: float | None


def steps(model: Trained, image: LensImage) -> list[Step]:
    """The image as it was read, at the training scale, cut to the field that is seen, scaled, and stretched.

    A stage that changes nothing is left out.
    """
    fitted, _ = model.fit(image.pixels[None], image.pixel_scale_arcsec)
    cfg, x = model.input, torch.from_numpy(fitted)
    factor = model.factor(image.pixels.shape[-2:], image.pixel_scale_arcsec)
    scale = image.pixel_scale_arcsec and image.pixel_scale_arcsec / factor
    cut = center_crop(x, cfg.crop) if cfg.crop else x
    found = [
        Step("As read", image.pixels, image.pixel_scale_arcsec),
        Step("Resampled", rescale(torch.from_numpy(image.pixels[None]), factor)[0].numpy(), scale),
        Step("Field that is seen", cut[0].numpy(), scale),
        Step(SCALED[cfg.normalise], preprocess(x, replace(cfg, stretch="none"))[0].numpy(), scale),
        Step(f"Stretched ({cfg.stretch})", preprocess(x, cfg)[0].numpy(), scale),
    ]
    kept = found[:1]
    for step in found[1:]:
        if step.pixels.shape != kept[-1].pixels.shape or not np.array_equal(step.pixels, kept[-1].pixels):
            kept.append(step)
    return kept


def turned_probabilities(model: Trained, image: LensImage) -> Float[np.ndarray, "8 k"]:
    """Calibrated probabilities of the image under each of the eight flips and quarter turns.

    Raises:
        UserError: the training images are not square, so that a quarter turn does not fit.
    """
    net, x = _network_input(model, image)
    if x.shape[-1] != x.shape[-2]:
        raise UserError("The training images are not square: a quarter turn does not fit the network.")
    outputs = turned_logits(net, x)[:, 0].cpu().numpy().astype(np.float64)
    return model.calibrate(outputs)


def largest_change(turned: Float[np.ndarray, "8 k"]) -> float:
    """The most that any class's probability changes between two of the eight orientations."""
    return float(np.ptp(turned, axis=0).max())


def evidence_map(model: Trained, image: LensImage, target: str, kind: str) -> Float[np.ndarray, "h w"]:
    """Where in the image the network finds what speaks for a class, on the image's own pixels.

    Args:
        model: What was asked.
        image: As it was asked about.
        target: Name of the class.
        kind: ``grad-cam`` (scaled to a maximum of 1; nothing below 0), ``occlusion`` (change of the calibrated
            log odds) or, of networks that see features, ``attention`` (:func:`carried`).

    Returns:
        The map; 0 where the network sees nothing of the image.
    """
    if kind not in KINDS:
        raise UserError(f"Unknown kind of evidence {kind!r}. Choose from: {', '.join(KINDS)}.")
    if kind == "attention":
        return carried(model, image, target)[0]
    (net, x), number = _network_input(model, image), model.classes.index(target)
    once = getattr(model.net, "d4_invariant", False) or x.shape[-1] != x.shape[-2]
    if kind == "grad-cam":
        seen = grad_cam(net, x, number)[0] if once else turned_grad_cam(net, x, number)
        seen = seen / seen.max().clamp_min(1e-12)
    else:
        size = max(2, x.shape[-1] // SQUARES_PER_SIDE)
        temperature = model.card["temperature"]

        def answer(block: torch.Tensor) -> torch.Tensor:
            return (net(block) if once else turned_logits(net, block).mean(0)) / temperature

        seen = occlusion(answer, x, number, size, max(1, size // 2))
    return _on_image(model, image, seen)


def carried(
    model: Trained, image: LensImage, target: str
) -> tuple[Float[np.ndarray, "h w"], dict[str, tuple[float, float]]]:
    """What carried the decision of a network that sees features: places of the image, and features.

    Attention weighed by its gradient (:mod:`deeplense_core.models.fusion_weights`), the mean over the eight flips and
    quarter turns.

    Returns:
        The map on the image's own pixels, scaled to a maximum of 1, and column -> (its value, NaN where unknown; its
        share of the decision). The shares of the features and of the image add up to 1.
    """
    net, x = _network_input(model, image)
    if not isinstance(net, WithFeatures):
        raise UserError(f"{model.name!r} sees images alone: its attention to features cannot be shown.")
    square = x.shape[-1] == x.shape[-2]
    versions = torch.cat([d4(x, element) for element in range(8)]) if square else x
    found = attention(net.net, versions, net.features.expand(len(versions), -1), model.classes.index(target))
    seen = F.interpolate(found.image[:, None], x.shape[-2:], mode="bilinear", align_corners=False)
    seen = torch.stack([d4_undone(seen[e, 0], e) for e in range(len(seen))]).mean(0)
    shares = found.features.mean(0).tolist()
    values = net.features[0].tolist()
    return _on_image(model, image, seen / seen.max().clamp_min(1e-12)), dict(
        zip(model.features, zip(values, shares, strict=True), strict=True))


def _on_image(model: Trained, image: LensImage, seen: torch.Tensor) -> Float[np.ndarray, "h w"]:
    """A map over the network's input on the image's own pixels."""
    size = (image.pixels.shape[-2], image.pixels.shape[-1])
    rescaled = rescaled_size(size, model.factor(size, image.pixel_scale_arcsec))
    sides = [model.shape[1], *([model.input.crop] if model.input.crop else [])]
    return undo_fit(seen.cpu(), size, rescaled, sides).numpy()


def _network_input(model: Trained, image: LensImage) -> tuple[nn.Module, torch.Tensor]:
    """The network as a function of versions of this image, and what it is given of it."""
    fitted, _ = model.fit(image.pixels[None], image.pixel_scale_arcsec)
    return model.seeing(fitted), preprocess(torch.from_numpy(fitted).to(model.device), model.input)
