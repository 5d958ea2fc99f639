"""What the commands share: flags, settings, how a result is printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from deeplense_core.errors import UserError

Verb = Callable[..., argparse.ArgumentParser]
"""``(name, command, help) -> parser``, as :func:`deeplense_core.cli.parser` makes it."""


def json_flag(sub: argparse.ArgumentParser) -> None:
    """Adds ``--json``."""
    sub.add_argument("--json", action="store_true", help="one JSON object on stdout")


def settings_flag(sub: argparse.ArgumentParser, whose: str) -> None:
    """Adds ``--set``."""
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting {whose}")


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict.

    Raises:
        UserError: a pair without ``=``, or a key given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--set {pair!r} is not KEY=VALUE.")
        if key in found:
            raise UserError(f"--set {key} is given twice.")
        found[key] = value
    return found


def say(value: Any) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, indent=1, allow_nan=False))


def interval(report: dict[str, Any], name: str) -> str:
    """A metric of a report with its interval, in one line."""
    metric = report["metrics"][name]
    if metric["value"] is None:
        return str(metric.get("undefined", "undefined"))
    if metric["low"] is None:
        return f"{name} {metric['value']:.4f}"
    return f"{name} {metric['value']:.4f} (95 % {metric['low']:.4f} to {metric['high']:.4f})"
