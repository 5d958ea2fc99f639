"""Lenses seen twice by the simulator: another source behind the same mass, or the same sky in another survey."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from deeplense_core.errors import UserError
from deeplense_core.sim import RECIPES, simulate
from deeplense_core.sim.galaxies import render
from deeplense_core.sim.generate import _draw, recipe
from deeplense_core.sim.partners import check_partner, partner_scene
from deeplense_core.sim.scene import Draws
from deeplense_core.sources import OnlineConfig, SimulatedSource


def two_scenes(name: str, count: int = 6):
    made = recipe(name)
    scene, _, labels = _draw(made, Draws(1, count), None, 1.0)
    other, _, _ = _draw(made, Draws(2, count), labels, 1.0)
    return scene, other


@pytest.mark.parametrize("name", ["common-test", "model-1", "lens-finding-hard"])
def test_the_images_do_not_depend_on_their_partners(name):
    alone = simulate(name, 4, seed=3)
    both = simulate(name, 4, seed=3, partner="source")
    assert alone.partners is None
    assert torch.equal(alone.images, both.images)
    assert both.partners is not None
    assert both.partners.shape == both.images.shape
    assert not torch.equal(both.partners, both.images)
    again = simulate(name, 4, seed=3, partner="source").partners
    assert again is not None
    assert torch.equal(both.partners, again)


def test_another_source_behind_the_same_lens():
    scene, other = two_scenes("common-test")
    partner = partner_scene(scene, other, "source")
    for name, value in scene.tensors().items():
        expected = getattr(other if name.startswith("source_") else scene, name)
        assert torch.equal(getattr(partner, name), expected), name
        if name in ("source_x", "source_phi"):
            assert not torch.equal(getattr(partner, name), value)


def test_what_is_no_lens_keeps_its_light():
    scene, other = two_scenes("lens-finding-hard", 40)
    partner = partner_scene(scene, other, "source")
    lens = scene.kind == 0
    assert 5 < lens.sum() < 35
    assert torch.equal(partner.extra_sed[~lens], scene.extra_sed[~lens])
    assert not torch.equal(partner.extra_sed[lens], scene.extra_sed[lens])
    assert torch.equal(partner.lens.theta_E, scene.lens.theta_E)


def test_another_survey_sees_equally_bright_arcs():
    """Without noise and faults, the light of the second look is that of the first, wherever it is spread."""
    entry = RECIPES["lens-finding-easy"]
    made = entry.build(entry.config(snr_min=200, snr_max=400), False)
    scene, _, labels = _draw(made, Draws(1, 8), torch.zeros(8, dtype=torch.int64), 1.0)
    other, _, _ = _draw(made, Draws(2, 8), labels, 1.0)
    worse = other.survey._replace(fwhm=scene.survey.fwhm * 1.5, depth=scene.survey.depth - 1.5,
                                  pixel_scale=scene.survey.pixel_scale)  # fmt: skip
    keys = torch.zeros(8, 2, dtype=torch.int32)
    second = partner_scene(scene, dataclasses.replace(other, survey=worse), "survey")
    first_look, first_truth = render.render(scene, keys, torch.device("cpu"), False, 64)
    second_look, second_truth = render.render(second, keys, torch.device("cpu"), False, 64)
    torch.testing.assert_close(second_truth["arc_mag"], first_truth["arc_mag"])
    light = [look[:, 1].sum((1, 2)) for look in (first_look, second_look)]
    torch.testing.assert_close(light[1], light[0], rtol=0.05, atol=0)
    assert not torch.allclose(first_look, second_look, rtol=0.05)


def test_recipes_of_one_camera_have_no_other_survey():
    check_partner("common-test", "source")
    check_partner("lens-finding-easy", "survey")
    with pytest.raises(UserError, match="one camera"):
        check_partner("common-test", "survey")


def test_the_source_brings_fresh_partners_each_step():
    cfg = OnlineConfig(images_per_epoch=64, matched=False)
    source = SimulatedSource("lens-finding-easy", cfg, 1, torch.device("cpu"), False, "survey")
    first, next_ = (source.batch(0, step, 4, 10) for step in (0, 1))
    assert first.partner is not None
    assert next_.partner is not None
    assert not torch.equal(first.partner, next_.partner)
    plain = SimulatedSource("lens-finding-easy", cfg, 1, torch.device("cpu"), False).batch(0, 0, 4, 10)
    assert plain.partner is None
    assert torch.equal(plain.images, first.images)
