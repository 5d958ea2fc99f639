"""Names for models, tasks and recipes: one decorator registers, one lookup finds."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deeplense_core.errors import UserError


def nearest(name: str, valid: Mapping[str, Any] | list[str]) -> str:
    """A sentence that helps after an unknown name: the nearest valid one, or all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Choose from: {', '.join(names)}." if names else ""


@dataclass(frozen=True)
class Entry:
    """One registered thing: how to build it, its settings class and what is known about it."""

    name: str
    build: Callable[..., Any]
    config: Any
    """Settings class, or None."""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the docstring of what was registered."""
        return (self.build.__doc__ or "").strip().split("\n", 1)[0]


class Registry(Mapping[str, Entry]):
    """Name -> :class:`Entry`, filled by :meth:`register`; an unknown name suggests the nearest."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, *, config: type | None = None, **about: Any):
        """Decorator that files a function or class under ``name``.

        Args:
            name: What a user types.
            config: Frozen dataclass of :func:`deeplense_core.spec.knob` fields, or None.
            **about: Facts shown to users and used for filtering (``tasks``, ``source`` ...).
        """

        def add(build):
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = Entry(name, build, config, about)
            return build

        return add

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise UserError(f"Unknown {self.kind} {name!r}. {nearest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
