"""From a recipe's name to a batch of labelled images."""

from __future__ import annotations

import hashlib
import importlib
import logging
import pkgutil
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from deeplense_core.errors import UserError
from deeplense_core.machine import keep_freed_memory
from deeplense_core.sim import recipes
from deeplense_core.sim.partners import AUGMENT, partner_scene
from deeplense_core.sim.scene import RECIPES, Draws, Recipe, Scene
from deeplense_core.spec import make_config

log = logging.getLogger(__name__)

for _module in pkgutil.iter_modules(recipes.__path__):
    importlib.import_module(f"{recipes.__name__}.{_module.name}")

CHUNK = {"cpu": 32, "cuda": 256}
"""Images rendered at once: the working set stays in the cache of a CPU, and fills a GPU. Compiled code pads a batch to
whole chunks, so that a training step of 96 images would pay for 128 with larger ones."""


@dataclass(frozen=True)
class Batch:
    """Labelled images and everything that was drawn to make them."""

    images: Tensor
    """float32 (n, c, h, w) on the device asked for."""
    labels: Tensor
    """int64 (n,): indices into the recipe's classes."""
    truth: dict[str, Tensor]
    """Every drawn parameter, (n,) each."""
    targets: Tensor | None = None
    """float32 (n, c, H, W): what each image should become, for recipes of pairs."""
    partners: Tensor | None = None
    """float32 (n, c, h, w): each lens a second time, where that was asked for."""


def recipe(name: str, as_published: bool = False, settings: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe ``name`` with its settings checked and filled in."""
    entry = RECIPES[name]
    return entry.build(make_config(entry.config, settings or {}), as_published)


def recipe_info(
    name: str, settings: Mapping[str, Any] | None = None, as_published: bool = False
) -> dict[str, Any]:
    """What a recipe makes and how it differs from what was published; simulates nothing.

    ``shape`` and ``pixel_scale_arcsec`` are those of the images; where the scale differs from image to image it is
    None, and ``pixel_scale_range_arcsec`` has the smallest and the largest;
    ``target_shape``, ``target_pixel_scale_arcsec`` and ``scale`` those of the targets of a recipe that makes pairs,
    else None.
    """
    entry, made = RECIPES[name], recipe(name, as_published, settings)
    pair, c = made.pair, len(made.bands)
    side, scale = made.optics.n_pix, None if made.pixel_scale_range_arcsec else made.optics.pixel_scale_arcsec
    if pair is not None:
        side, scale = pair.lr_n_pix, pair.lr_pixel_scale_arcsec
    return {
        "name": name, "classes": made.classes, "shape": (c, side, side),
        "pixel_scale_arcsec": scale, "pixel_scale_range_arcsec": made.pixel_scale_range_arcsec,
        "bands": made.bands, "unit": made.unit,
        "text": made.text, "differences": list(made.differences), "source": entry.about["source"],
        "target_shape": pair and (c, pair.hr_n_pix, pair.hr_n_pix),
        "target_pixel_scale_arcsec": pair and pair.hr_pixel_scale_arcsec, "scale": pair and pair.scale,
    }


@torch.no_grad()
def simulate(
    name: str, count: int, *, seed: int = 0, stream: int = 0, as_published: bool = False,
    settings: Mapping[str, Any] | None = None, labels: Tensor | None = None,
    device: str | torch.device = "cpu", compiled: bool = False, mass_fraction_scale: float = 1.0,
    matched: bool = False, noise: bool = True, partner: str = AUGMENT,
) -> Batch:
    """Makes ``count`` labelled images.

    The same arguments give the same bytes on the same device. Scenes and noise are the same numbers on every
    device, eager or compiled; images may then differ in the last bits, and rarely by one count.

    Args:
        name: A recipe of ``RECIPES``.
        count: Number of images.
        seed, stream: Choose the random numbers; streams of one seed are independent batches.
        as_published: Reproduce the published set, quirks included, instead of the corrected recipe.
        settings: Knobs of the recipe's config.
        labels: Classes wanted, int64 (count,); None draws balanced ones.
        device: Where to compute and where the images stay.
        compiled: Use the fused, compiled function: minutes of images a second, after some seconds to compile.
        mass_fraction_scale: Factor on the mass of the substructure.
        matched: Consecutive images, as many as there are classes, share lens and source and differ in class.
        noise: False gives expected counts.
        partner: ``augment``: none. Each lens a second time, with other noise: ``source``, with another source behind
            it, or ``survey``, the same sky as another survey sees it. The images themselves do not depend on it.

    Raises:
        UserError: on an unknown recipe or setting, labels that do not fit, or a recipe that has no such partners.
    """
    made = recipe(name, as_published, settings)
    if count < 1:
        raise UserError(f"count = {count} images cannot be simulated: ask for at least 1.")
    draws = Draws(_seed(name, seed, stream), count, share=len(made.classes) if matched else 1)
    scene, keys, labels = _draw(made, draws, labels, mass_fraction_scale)
    images, truth, targets = _render(made, scene, keys, torch.device(device), compiled, noise)
    truth = {name: value.to(device) for name, value in (scene.truth() | truth).items()}
    partners = None
    if partner != AUGMENT:
        again = Draws(_seed(f"{name}:{partner}", seed, stream), count, draws.share)
        other, other_keys, _ = _draw(made, again, labels, mass_fraction_scale)
        scene = partner_scene(scene, other, partner)
        partners, _, _ = _render(made, scene, other_keys, torch.device(device), compiled, noise)
    return Batch(images, labels.to(device), truth, targets, partners)


def _render(
    made: Recipe, scene: Any, keys: Tensor, device: torch.device, compiled: bool, noisy: bool
) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
    """Images, what is known only once they are made, and targets of pairs."""
    if made.render is not None:
        return *made.render(scene, keys, device, noisy), None
    images, *others = render_scenes(made, scene, keys, device, compiled, noisy)
    if made.pair is not None:
        return images[:, None], {}, others[0][:, None]
    return images[:, None], dict(zip(("image_min", "image_max"), others, strict=True)), None


@torch.no_grad()
def drawn_truth(name: str, count: int, *, seed: int = 0, stream: int = 0) -> dict[str, Tensor]:
    """What :func:`simulate` draws to make these images, (n,) each, without making them."""
    made = recipe(name)
    scene, _, _ = _draw(made, Draws(_seed(name, seed, stream), count), None, 1.0)
    return scene.truth()


def _draw(made: Recipe, draws: Draws, labels: Tensor | None, mass_scale: float) -> tuple[Any, Tensor, Tensor]:
    """Scenes, keys of their noise, and their labels."""
    keys = draws.keys()
    drawn = draws.labels(len(made.classes), made.fractions)
    labels = drawn if labels is None else _check_labels(labels, draws.count, made.classes)
    return made.draw(draws, labels, mass_scale), keys, labels


def _seed(name: str, seed: int, stream: int) -> int:
    digest = hashlib.blake2b(f"{name}:{seed}:{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _check_labels(labels: Tensor, count: int, classes: tuple[str, ...]) -> Tensor:
    labels = labels.to("cpu", torch.int64)
    if labels.shape != (count,) or labels.min() < 0 or labels.max() >= len(classes):
        raise UserError(f"labels must be {count} whole numbers from 0 to {len(classes) - 1} "
                        f"({', '.join(classes)}); they have shape {tuple(labels.shape)}.")
    return labels


def render_scenes(
    made: Recipe, scene: Scene, keys: Tensor, device: torch.device, compiled: bool, noisy: bool
) -> tuple[Tensor, ...]:
    """Renders n systems, those with equally many point masses together.

    Args:
        made: The recipe's optics and detector, or its pair of cameras.
        scene: Systems on the CPU; point masses come first among (n, k), zeros after.
        keys: Noise keys, int32 (n, 2).
        device: Where to compute.
        compiled: Use the compiled functions.
        noisy: False gives expected counts.

    Returns:
        Images scaled to [0, 1] (n, h, w), and the minima and maxima they were scaled by, (n,); of a pair, the coarse
        (n, h, w) and the fine images (n, H, W).
    """
    compiled = compiled and can_compile(device.type)
    if compiled and device.type == "cpu":
        keep_freed_memory()
    numbers = (scene.mass_theta_E_sq > 0).sum(1)
    outputs: tuple[Tensor, ...] = ()
    for number in numbers.unique().tolist():
        rows = (numbers == number).nonzero()[:, 0]
        group = scene.mapped(lambda v, at=rows, k=number: (v[at] if v.ndim == 1 else v[at, :k]).to(device))
        places = rows.to(device)
        for part in _render_group(made, group, keys[rows].to(device), compiled, noisy):
            outputs = outputs or tuple(v.new_empty(len(keys), *v.shape[1:]) for v in part)
            here, places = places[: len(part[0])], places[len(part[0]) :]
            for out, values in zip(outputs, part, strict=True):  # at once, while they are in the cache
                out[here] = values
    return outputs


def _render_group(
    made: Recipe, scene: Scene, keys: Tensor, compiled: bool, noisy: bool
) -> Iterator[tuple[Tensor, ...]]:
    """Yields pictures of images that have equally many point masses, chunk by chunk."""
    # Imports caustics, which takes seconds: not before something is rendered.
    from deeplense_core.sim.pairs import pair_function
    from deeplense_core.sim.profiles import per_image
    from deeplense_core.sim.render import (
        Constants,
        grid_axis,
        masses_function,
        picture_function,
        rows_function,
        sky_function,
    )

    count, chunk = len(keys), CHUNK.get(keys.device.type, 64)
    if compiled and count % chunk:  # compiled for one size: the last chunk repeats its last image
        padded = torch.arange(-(-count // chunk) * chunk, device=keys.device).clamp_max(count - 1)
        scene, keys = scene.mapped(lambda v: v[padded]), keys[padded]
    constants = Constants.of(scene).packed()
    axis = grid_axis(made.optics, constants)
    sky = sky_function(made.optics, compiled)
    nothing = torch.zeros(min(chunk, len(keys)), *made.optics.grid, device=keys.device)
    for start in range(0, count, chunk):
        stop = start + chunk
        part = constants[start:stop]
        if scene.mass_x.shape[1]:
            masses = (scene.mass_x[start:stop], scene.mass_y[start:stop], scene.mass_theta_E_sq[start:stop])
            pull = masses_function(compiled)(rows_function(made.optics, compiled)(*masses))
        else:
            pull = 2 * (nothing[: len(part)],)
        lensed = sky(part, *pull, axis)
        if made.pair is None:
            picture = picture_function(made.optics, made.detector, noisy, compiled)
            made_chunk = picture(lensed, per_image(scene.exposure_s[start:stop]), keys[start:stop])
        else:
            take = pair_function(made.pair, made.optics, noisy, compiled)
            made_chunk = take(lensed, scene.mapped(lambda v, a=start, b=stop: v[a:b]), keys[start:stop])
        yield tuple(v[: count - start] for v in made_chunk)


@cache
def can_compile(device_type: str) -> bool:
    """Whether fused code can be built; says once why not."""
    if device_type == "cpu" and not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        log.warning("No C++ compiler was found: simulation runs eagerly, several times slower. Install g++.")
        return False
    return True
