"""Views: drawn for each image, equal for equal seeds, and the physics of a lens stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplense_core.augment import d4
from deeplense_core.ssl.views import ViewConfig, blurred, jittered, moved, noised, view

SIDE = 65
OFF = {"flips": False, "rotation": False, "shift": 0.0, "zoom": 0.0, "blur": 0.0, "noise": 0.0, "jitter": 0.0}


def ring(radius: float = 15.0, spot: float = 0.0, count: int = 4, bands: int = 1) -> torch.Tensor:
    """Smooth rings about the centre, brighter at angle ``spot``."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    image = np.exp(-((np.hypot(x, y) - radius) ** 2) / 8) * (1 + 0.5 * np.cos(np.arctan2(y, x) - spot))
    return torch.from_numpy(np.tile(image, (count, bands, 1, 1))).float()


def radius_of(images: torch.Tensor) -> torch.Tensor:
    """Mean distance of the light from its centroid."""
    axis = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    light = images.sum(1)
    total = light.sum((1, 2))
    cx, cy = (light.sum(1) @ axis) / total, (light.sum(2) @ axis) / total
    far = torch.hypot(axis - cx[:, None, None], axis[:, None] - cy[:, None, None])
    return (light * far).sum((1, 2)) / total


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_same_seed_same_views_and_each_image_its_own():
    images = ring()
    first, again, other = (view(images, ViewConfig(blur=1.0), seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({float(image.std()) for image in first}) == len(images)


def test_flips_are_the_eight_symmetries_exactly():
    images = torch.rand(1, 1, 9, 9, generator=seeded()).expand(64, -1, -1, -1)
    eight = torch.stack([d4(images[:1], k)[0] for k in range(8)])
    found = view(images, ViewConfig(**{**OFF, "flips": True}), seeded())
    matches = (found[:, None] == eight[None]).flatten(2).all(2)
    assert matches.any(1).all()
    assert matches.any(0).sum() == 8


@pytest.mark.parametrize("settings", [{"rotation": True}, {"shift": 3.0},
                                      {"flips": True, "rotation": True, "shift": 2.0}])
def test_geometry_keeps_the_einstein_radius(settings):
    images = ring(count=16)
    found = view(images, ViewConfig(**{**OFF, **settings}), seeded())
    assert not torch.allclose(found, images, atol=1e-2)
    torch.testing.assert_close(radius_of(found), radius_of(images), atol=0.05, rtol=0)


def test_zoom_changes_the_einstein_radius_and_is_off():
    assert ViewConfig().zoom == 0
    images = ring(count=16)
    ratio = radius_of(view(images, ViewConfig(**{**OFF, "zoom": 0.2}), seeded())) / radius_of(images)
    assert ratio.min() < 0.9
    assert ratio.max() > 1.1


def test_rotation_turns_about_the_centre_by_any_angle():
    """The brightest place goes round the ring, and a rotation back gives the image again."""
    images = ring(count=64)
    found = moved(images, ViewConfig(**{**OFF, "rotation": True}), seeded())
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    x, y = (found[:, 0].sum(1) @ axis), (found[:, 0].sum(2) @ axis)
    angles = torch.atan2(y, x)
    assert torch.histc(angles, 4, -torch.pi, torch.pi).min() >= 6
    torch.testing.assert_close(torch.hypot(x, y), torch.hypot(x, y).mean().expand(64), rtol=0.02, atol=0)


def test_rotation_of_a_frame_that_is_not_square_does_not_shear():
    tall = torch.nn.functional.pad(ring(radius=10.0, count=8)[..., 12:-12], (0, 0, 0, 0))
    found = moved(tall, ViewConfig(**{**OFF, "rotation": True}), seeded())
    middle = found[..., 12:-12, :]
    torch.testing.assert_close(radius_of(middle), radius_of(tall[..., 12:-12, :]), atol=0.1, rtol=0)


def test_shifts_are_fractions_of_a_pixel():
    images = ring(count=32)
    found = moved(images, ViewConfig(**{**OFF, "shift": 3.0}), seeded())
    axis = torch.arange(SIDE, dtype=torch.float32)
    x, before = ((some[:, 0].sum(1) @ axis) / some[:, 0].sum((1, 2)) for some in (found, images))
    centre = x - before
    assert centre.abs().max() <= 3.01
    assert centre.abs().max() > 1.5
    assert (centre - centre.round()).abs().max() > 0.1


def test_blur_keeps_the_light_and_widens_the_ring():
    images = ring(count=16, bands=3)
    found = blurred(images, 2.0, seeded())
    torch.testing.assert_close(found.sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=1e-3, atol=0)
    assert (found.amax((1, 2, 3)) <= images.amax((1, 2, 3)) + 1e-5).all()
    assert found.amax((1, 2, 3)).std() > 0.01


def test_noise_is_white_and_of_a_strength_drawn_for_each_image():
    images = ring(count=32, bands=2)
    added = noised(images, 0.5, seeded()) - images
    strength = added.std((2, 3)) / images.std((2, 3))
    assert strength.max() <= 0.52
    torch.testing.assert_close(strength[:, 0], strength[:, 1], rtol=0.1, atol=0.01)
    assert strength[:, 0].std() > 0.05
    assert (added[..., 1:] * added[..., :-1]).mean().abs() < 0.05 * added.var()


def test_jitter_changes_bands_apart():
    inputs = torch.ones(50, 3, 4, 4)
    factors = jittered(inputs, 0.2, seeded())[:, :, 0, 0]
    assert factors.min() >= 0.8
    assert factors.max() <= 1.2
    assert factors.std(1).min() > 0
