"""Which bands of an image a network is given, when it has others, or another number of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage


@dataclass(frozen=True)
class BandPlan:
    """Places of the bands to take, in the network's order, and what a reader should know; no places: their mean."""

    places: tuple[int, ...]
    note: str = ""

    def apply(self, pixels: Float[np.ndarray, "... c h w"]) -> Float[np.ndarray, "... k h w"]:
        """The bands of one image or of many."""
        return pixels[..., list(self.places), :, :] if self.places else pixels.mean(axis=-3, keepdims=True)


def band_names(image: LensImage) -> list[str]:
    """What the bands are called, by number where the file does not say."""
    return list(image.bands) or [f"band {i + 1}" for i in range(len(image.pixels))]


def plan_bands(have: Sequence[str], wanted: int, names: Sequence[str] = (), chosen: Sequence[int] = ()) -> BandPlan:
    """How the bands of an image become those of a network.

    Args:
        have: Names of the image's bands.
        wanted: How many the network takes.
        names: What they are called, where that is known.
        chosen: Places that the user picked; one may be picked more than once.

    Raises:
        UserError: the user picked what is not there, or nothing says which ones to take.
    """
    if chosen:
        return _picked(have, wanted, chosen)
    if len(have) == wanted:
        return BandPlan(tuple(range(wanted)))
    short = [_short(name) for name in have]
    if len(names) == wanted and all(short.count(_short(name)) == 1 for name in names):
        places = tuple(short.index(_short(name)) for name in names)
        return BandPlan(places, f"only {', '.join(have[i] for i in places)} of {len(have)} bands")
    if wanted == 1:
        return BandPlan((), f"mean of {len(have)} bands: the network was trained on one")
    called = f" ({', '.join(names)})" if names else ""
    raise UserError(
        f"The image has {len(have)} band(s) ({', '.join(have)}) and the network takes {wanted}{called}. Say which one "
        f"to use for each ('predict' takes --bands), or choose a network for {len(have)} band(s)."
    )


@dataclass(frozen=True)
class BandRule:
    """How the bands of any image become those of one network; arguments as for :func:`plan_bands`."""

    wanted: int
    names: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()

    def plan(self, have: Sequence[str]) -> BandPlan:
        """For an image with these bands."""
        return plan_bands(have, self.wanted, self.names, self.chosen)


def _picked(have: Sequence[str], wanted: int, chosen: Sequence[int]) -> BandPlan:
    if len(chosen) != wanted or not all(0 <= place < len(have) for place in chosen):
        raise UserError(f"Bands {', '.join(str(place + 1) for place in chosen)} do not fit: the network takes {wanted} "
                        f"and the image has {len(have)} ({', '.join(have)}). Pick {wanted} of them.")  # fmt: skip
    if len(set(chosen)) < len(chosen):
        return BandPlan(tuple(chosen), f"{len(set(chosen))} band(s) stand for {wanted}: its colours mean nothing")
    note = f"only {', '.join(have[i] for i in chosen)} of {len(have)} bands" if len(chosen) < len(have) else ""
    return BandPlan(tuple(chosen), note)


def fit_bands(image: LensImage, plan: Callable[[Sequence[str]], BandPlan]) -> LensImage:
    """An image with the bands of a plan, which is asked with their names; its notes say what became of the others."""
    have = band_names(image)
    made = plan(have)
    if made.places == tuple(range(len(have))):
        return image
    kept = tuple(have[i] for i in made.places) or ("mean",)
    notes = [*image.meta.get("notes", ()), *([made.note] if made.note else [])]
    return replace(image, pixels=made.apply(image.pixels), bands=kept, meta={**image.meta, "notes": notes})


def parse_bands(text: str) -> tuple[int, ...]:
    """``2,3,4`` (counted from 1) as places.

    Raises:
        UserError: anything else.
    """
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", text.strip()):
        raise UserError(f"--bands {text!r} is no list of numbers from 1. For the second and third: --bands 2,3.")
    return tuple(int(part) - 1 for part in text.split(","))


def _short(name: str) -> str:
    """``HSC-G``, ``sdss_g`` and ``g`` are one band."""
    return re.split(r"[-_ .]", name.strip().lower())[-1]
