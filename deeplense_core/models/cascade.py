"""Cascades: one network enlarges, a second refines what it made at the fine scale; trained together, end to end."""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.models.names import MODELS, learns
from deeplense_core.registry import Entry

FAMILY = "cascade"
PARTS = ("first", "second")


class Cascade(nn.Module):
    """``first`` enlarges, ``second`` (built for scale 1) corrects the result."""

    def __init__(self, first: nn.Module, second: nn.Module, scale: int):
        super().__init__()
        self.first, self.second, self.scale = first, second, scale
        self.reach = int(first.reach) + -(-int(second.reach) // scale)  # pyright: ignore[reportArgumentType]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        return self.second(self.first(images))


@MODELS.register(FAMILY, tasks=("superres",), source="the seed's SRCNN into EDSR", label="Cascade", learns=True)
def cascade(cfg: Any, in_channels: int, scale: int, unit: float) -> nn.Module:
    """Two networks in a row, named cascade:<first>+<second>, for example cascade:srcnn+edsr."""
    raise UserError("Name the two networks of the cascade, for example cascade:srcnn+edsr.")


@cache
def cascade_entry(members: str) -> Entry:
    """The registry entry of ``cascade:<first>+<second>``; settings are the members' with ``first_`` and ``second_``.

    Raises:
        UserError: not two networks, or one that is not for super-resolution or learns nothing as the second.
    """
    names = members.split("+")
    if len(names) != 2:
        raise UserError(f"'{FAMILY}:{members}' is not two networks. Write it as cascade:srcnn+edsr.")
    entries = [MODELS[name] for name in names]
    for entry in entries:
        if "superres" not in entry.about["tasks"] or entry.name == FAMILY:
            raise UserError(f"{entry.name!r} cannot be part of a cascade: it is not a super-resolution network.")
    if not learns(entries[1]):
        raise UserError(f"The second part of a cascade refines what the first made; {names[1]!r} learns nothing.")
    config = _joined(entries)

    def build(cfg: Any, in_channels: int, scale: int, unit: float) -> nn.Module:
        first, second = (
            entry.build(_own(cfg, part, entry), in_channels=in_channels, scale=its_scale, unit=unit)
            for part, entry, its_scale in zip(PARTS, entries, (scale, 1), strict=True)
        )
        return Cascade(first, second, scale)

    build.__doc__ = cascade.__doc__
    defaults = {k: v for entry in entries for k, v in entry.about.get("defaults", {}).items()}
    about = {**MODELS[FAMILY].about, "label": " into ".join(e.about["label"] for e in entries), "defaults": defaults}
    return Entry(f"{FAMILY}:{members}", build, config, about)


def _joined(entries: list[Entry]) -> type:
    """The settings of both members as one class."""
    fields = []
    for part, entry in zip(PARTS, entries, strict=True):
        if entry.config is None:
            continue
        hints = typing.get_type_hints(entry.config)
        fields += [(f"{part}_{f.name}", hints[f.name], dataclasses.field(default=f.default, metadata=f.metadata))
                   for f in dataclasses.fields(entry.config)]
    return dataclasses.make_dataclass("CascadeConfig", fields, frozen=True)


def _own(cfg: Any, part: str, entry: Entry) -> Any:
    """The settings of one member out of the joined ones."""
    if entry.config is None:
        return None
    names = [f.name for f in dataclasses.fields(entry.config)]
    return entry.config(**{name: getattr(cfg, f"{part}_{name}") for name in names})
