"""From scenes of galaxies to images, chunk by chunk."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deeplense_core.sim.galaxies import camera, light
from deeplense_core.sim.galaxies.scene import LENS, ZERO_POINT, GalaxyScene

CHUNK = {"cpu": 16, "cuda": 256}
"""Images rendered at once: the working set stays near the cache of a CPU, and fills a GPU."""
MODEL_ERROR = 0.1
"""Part of the light of galaxies that no smooth model of them takes away: arcs must stand out from it to be seen."""
MAX_SHARE = 1.5
"""Light of the arcs, or of what could be taken for them, at most, in units of the main galaxy's."""


def render(scene: GalaxyScene, keys: Tensor, device: torch.device, noisy: bool, n_pix: int
           ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Images (n, b, h, w) and what is known only once they are made, (n,) each.

    Args:
        scene: On the CPU.
        keys: Noise keys, int32 (n, 2).
        device: Where to compute and where the images stay.
        noisy: False leaves the noise out; what went wrong at the telescope stays.
        n_pix: Pixels along a side.
    """
    size = CHUNK.get(device.type, 64)
    parts = []
    for start in range(0, len(keys), size):
        chunk = scene.mapped(lambda v, a=start: v[a : a + size].to(device))
        parts.append(_render(chunk, keys[start : start + size].to(device), noisy, n_pix))
    images = torch.cat([image for image, _ in parts])
    return images, {name: torch.cat([truth[name] for _, truth in parts]) for name in parts[0][1]}


def _render(scene: GalaxyScene, key: Tensor, noisy: bool, n_pix: int) -> tuple[Tensor, dict[str, Tensor]]:
    expected, extra = _field(scene, n_pix), _extra(scene, n_pix)
    factor, truth = _balance(scene, expected, extra)
    if scene.first_survey is not None:
        first = replace(scene, survey=scene.first_survey)
        factor, truth = _balance(first, _field(first, n_pix), _extra(first, n_pix))
    expected = expected.addcmul_(extra, factor)
    camera.add_points(expected, *light.pixels(n_pix, scene.survey.pixel_scale), scene.stars, scene.survey)
    return camera.stored(expected, scene.survey, key, noisy), truth


def _field(scene: GalaxyScene, n_pix: int) -> Tensor:
    """Expected counts of the main galaxy, its neighbours and the spikes of stars, (n, b, h, w)."""
    scale = scene.survey.pixel_scale
    sky = light.profiles(*light.grid(n_pix, scale), scene.galaxy, light.soft_sq(scale))
    light.add_patches(sky, scale, scene.around)
    spikes = light.spikes(*light.pixels(n_pix, scale), scene.stars, scene.survey.fwhm)
    return camera.blur(sky, scene.survey, n_pix) + spikes * scale.square()[:, None, None, None]


def _extra(scene: GalaxyScene, n_pix: int) -> Tensor:
    """Expected counts of the extra light before it is given its brightness, (n, b, h, w)."""
    scale = scene.survey.pixel_scale
    image = scale.new_zeros(*scene.extra_sed.shape, n_pix, n_pix)
    knots = scene.knots.flux.amax((1, 2)) > 0
    there = ((scene.kind == LENS) | (scene.pattern.flux > 0) | knots).nonzero()[:, 0]
    if not len(there):
        return image
    scene = scene.mapped(lambda v: v[there])
    scale = scene.survey.pixel_scale
    x, y = light.grid(n_pix, scale)
    soft, area = light.soft_sq(scale), (scale / light.FINE).square()[:, None, None]
    sky = x.new_zeros(len(scale), 1, x.shape[2], x.shape[2])
    rows = (scene.kind == LENS).nonzero()[:, 0]
    if len(rows):
        some = scene.mapped(lambda v: v[rows])
        sky[rows] = light.lensed_source(x[rows], y[rows], some.lens, some.source, soft[rows])
    rows = (scene.pattern.flux > 0).nonzero()[:, 0]
    if len(rows):
        some = scene.mapped(lambda v: v[rows])
        sky[rows] = light.pattern(x[rows], y[rows], some.pattern, area[rows])
    light.add_patches(sky, scale, scene.knots)
    image[there] = camera.blur(sky, scene.survey, n_pix) * scene.extra_sed[:, :, None, None]
    return image


def _balance(scene: GalaxyScene, field: Tensor, extra: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The factor that gives the extra light its signal to noise, (n, 1, 1, 1), and what follows from it.

    Signal to noise is that of a matched filter over all bands, ``sqrt(sum(light^2 / variance))``. The variance is
    that of the field without it, and of what a model of its galaxies gets wrong; without the latter the light of arcs
    hidden in the middle of a bright galaxy, which no one can tell from the galaxy's own, would count in full.
    """
    var = camera.variance(field, scene.survey) + (MODEL_ERROR * field).square()
    drawn = (extra.square() / var).sum((1, 2, 3)).sqrt()
    wanted = torch.where(drawn > 0, scene.extra_snr / drawn.clamp_min(1e-20), 0.0)
    most = MAX_SHARE * scene.galaxy.flux.sum((1, 2)) / extra.sum((1, 2, 3)).clamp_min(1e-20)
    factor = torch.minimum(wanted, most)[:, None, None, None]
    snr, lensed = drawn * factor[:, 0, 0, 0], scene.kind == LENS
    above = (extra * factor > var.sqrt()).any(1).sum((1, 2))
    seen = (extra.mean(1, keepdim=True) * factor).sum((1, 2, 3))
    source = scene.source.flux.sum((1, 2)) * scene.extra_sed.mean(1) * factor[:, 0, 0, 0]
    of_arcs = {
        "arc_snr": snr, "arc_pixels": above.float(), "magnification": seen / source.clamp_min(1e-9),
        "arc_mag": _magnitude(seen), "source_mag": _magnitude(source),
    }  # fmt: skip
    nan = torch.full_like(snr, float("nan"))
    return factor, {"extra_snr": snr} | {name: torch.where(lensed, v, nan) for name, v in of_arcs.items()}


def _magnitude(counts: Tensor) -> Tensor:
    return ZERO_POINT - 2.5 * counts.clamp_min(1e-9).log10()
