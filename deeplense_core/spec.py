"""Settings and specifications: what a run is, in names and numbers only.

A setting is one dataclass field made with :func:`knob`. The command-line flag, the widget on a page,
the validation and the documentation all read that one field.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deeplense_core.errors import UserError
from deeplense_core.registry import nearest


def knob(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    unit: str = "",
    choices: tuple | None = None,
    quick: Any = None,
    group: str = "",
) -> Any:
    """A dataclass field that carries everything a form, a flag and a check need.

    Args:
        default: Default value; its type is the field's annotation (bool, int, float or str).
        help: One plain sentence.
        ge, le: Inclusive bounds.
        unit: Unit shown beside the value.
        choices: The only values allowed.
        quick: Value of the "quick" preset, where it differs from the default.
        group: Heading under which forms show it.
    """
    meta = {"help": help, "ge": ge, "le": le, "unit": unit, "choices": choices, "quick": quick, "group": group}
    return field(default=default, metadata={"knob": meta})


def same_knob(config: type, name: str, default: Any) -> Any:
    """The field ``name`` of another settings class again, with another default."""
    inherited = next(f for f in dataclasses.fields(config) if f.name == name)
    return field(default=default, metadata=inherited.metadata)


@dataclass(frozen=True)
class Knob:
    """One setting as forms, flags and docs see it."""

    name: str
    type: type
    default: Any
    help: str
    ge: float | None
    le: float | None
    unit: str
    choices: tuple | None
    quick: Any
    group: str

    def parse(self, value: Any) -> Any:
        """``value`` (text or typed) as this setting's type, checked against bounds and choices.

        Raises:
            UserError: naming the setting, the value and the limit.
        """
        parsed = self._convert(value)
        if self.choices is not None and parsed not in self.choices:
            hint = nearest(str(parsed), [str(c) for c in self.choices])
            raise UserError(f"{self.name} = {value!r} is not one of its choices. {hint}")
        for limit, wrong, word in ((self.ge, _below, "at least"), (self.le, _above, "at most")):
            if limit is not None and wrong(parsed, limit):
                unit = f" {self.unit}" if self.unit else ""
                raise UserError(f"{self.name} = {value!r} must be {word} {limit:g}{unit}.")
        return parsed

    def _convert(self, value: Any) -> Any:
        try:
            if self.type is bool:
                if isinstance(value, bool):
                    return value
                return {"true": True, "1": True, "yes": True, "on": True,
                        "false": False, "0": False, "no": False, "off": False}[str(value).lower()]
            if self.type is int:
                if isinstance(value, float) and not value.is_integer():
                    raise ValueError
                return int(value)
            if self.type is float:
                number = float(value)
                if not math.isfinite(number):
                    raise ValueError
                return number
            return str(value)
        except (KeyError, ValueError, TypeError, OverflowError):
            kind = {bool: "true or false", int: "a whole number", float: "a number"}[self.type]
            raise UserError(f"{self.name} = {value!r} is not {kind}.") from None


def _below(value: float, limit: float) -> bool:
    return value < limit


def _above(value: float, limit: float) -> bool:
    return value > limit


def knobs(config: type | None) -> dict[str, Knob]:
    """The settings of a config dataclass, by name, in order."""
    if config is None:
        return {}
    hints = typing.get_type_hints(config)
    return {f.name: Knob(name=f.name, type=hints[f.name], default=f.default, **f.metadata["knob"])
            for f in dataclasses.fields(config) if "knob" in f.metadata}


def make_config(config: type, settings: Mapping[str, Any]) -> Any:
    """An instance of ``config`` with ``settings`` (text or typed values) checked and filled in.

    Raises:
        UserError: on an unknown name (suggesting the nearest) or a value out of bounds.
    """
    known = knobs(config)
    for name in settings:
        if name not in known:
            raise UserError(f"Unknown setting {name!r}. {nearest(name, known)}")
    made = config(**{name: known[name].parse(value) for name, value in settings.items()})
    _check_ranges(made, known)
    return made


def _check_ranges(made: Any, known: Mapping[str, Knob]) -> None:
    """Of ``x_min`` and ``x_max`` the first is not above the second."""
    for low in known:
        high = f"{low.removesuffix('_min')}_max"
        if low.endswith("_min") and high in known and getattr(made, low) > getattr(made, high):
            raise UserError(f"{low} = {getattr(made, low):g} is above {high} = {getattr(made, high):g}. "
                            "Change one of them.")


def split_settings(settings: Mapping[str, Any], *configs: type | None) -> list[dict[str, Any]]:
    """Deals flat ``--set`` pairs out to several config classes by name and resolves every default.

    Returns one complete dict of settings for each config, in the order given.

    Raises:
        UserError: when no config has that name, or a value is out of bounds.
    """
    known = [knobs(c) for c in configs]
    every = {name for names in known for name in names}
    for name in settings:
        if name not in every:
            raise UserError(f"Unknown setting {name!r}. {nearest(name, sorted(every))}")
    return [
        dataclasses.asdict(make_config(c, {k: v for k, v in settings.items() if k in names})) if c else {}
        for c, names in zip(configs, known, strict=True)
    ]


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's outcome. JSON on disk; names and numbers only."""

    task: str
    """Registered task: ``classify`` ..."""
    data: str
    """Path of a data set, or ``sim:RECIPE`` for online simulation."""
    model: str
    """Registered model, or ``timm:NAME``."""
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    train_settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    """``device``: auto, cpu, cuda."""
    seed: int = 0
    name: str = ""
    """Free text shown in lists."""

    def to_json(self) -> str:
        """The spec as JSON text with sorted keys."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in plain.items()}
        return json.dumps(plain, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """The inverse of :meth:`to_json`; unknown keys are an error."""
        try:
            plain = json.loads(text)
            return cls(**plain)
        except (json.JSONDecodeError, TypeError) as err:
            raise UserError(f"spec.json is not a run specification: {err}") from err




def config_from(config: type, settings: Mapping[str, Any]) -> Any:
    """An instance of ``config`` from the entries of ``settings`` that belong to it; others are left."""
    mine = knobs(config)
    return make_config(config, {name: value for name, value in settings.items() if name in mine})
