"""One lens seen twice: behind it another source, or the same sky as another survey takes it.

For networks that shall learn what stays: the mass of the lens, whatever it lenses and whoever observes it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from torch import Tensor

from deeplense_core.errors import UserError
from deeplense_core.sim.galaxies.scene import LENS, GalaxyScene
from deeplense_core.sim.scene import RECIPES, Recipe, Scene
from deeplense_core.spec import make_config

AUGMENT = "augment"
"""No second look: pairs are views of one image."""
PARTNERS = ("source", "survey")


def check_partner(recipe: str, kind: str) -> None:
    """Raises a UserError where a recipe cannot show its lenses a second time in this way."""
    entry = RECIPES[recipe]
    made: Recipe = entry.build(make_config(entry.config, {}), False)
    if kind == "survey" and made.render is None:
        raise UserError(f"{recipe!r} has one camera: pairs=survey needs the recipes lens-finding-easy or "
                        "lens-finding-hard. Take pairs=source, which any recipe of lenses has.")


def partner_scene(scene: Any, other: Any, kind: str) -> Any:
    """``scene`` with the sources of ``other``, or seen as ``other`` is.

    Args:
        scene: A :class:`Scene` or :class:`GalaxyScene` of n systems.
        other: As many systems of the same recipe and labels, drawn anew.
        kind: One of PARTNERS.
    """
    if isinstance(scene, GalaxyScene):
        return _other_source(scene, other) if kind == "source" else replace(
            scene, survey=other.survey, first_survey=scene.survey)
    assert kind == "source", "check_partner comes first"
    names = [f.name for f in fields(Scene) if f.name.startswith("source_")]
    return replace(scene, **{name: getattr(other, name) for name in names})


def _other_source(scene: GalaxyScene, other: GalaxyScene) -> GalaxyScene:
    """Arcs of another galaxy, of another colour and brightness; what is no lens stays as it is."""
    lensed = scene.kind == LENS

    def where_lensed(new: Tensor, old: Tensor) -> Tensor:
        return new.where(lensed.reshape(-1, *(1,) * (new.ndim - 1)), old)

    return replace(scene, source=other.source, extra_sed=where_lensed(other.extra_sed, scene.extra_sed),
                   extra_snr=where_lensed(other.extra_snr, scene.extra_snr))
