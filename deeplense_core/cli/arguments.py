"""What the commands share: flags, settings, work that can be taken up again, how a result is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def resumable(text: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar over work whose journal lets the same command go on; an interruption says so."""
    from deeplense_core.progress import bar

    try:
        with bar(text) as update:
            yield update
    except KeyboardInterrupt:
        print("The same command goes on from here.", file=sys.stderr)
        raise


def tell_skipped(made: Any, what: str) -> None:
    """On stderr, how many images an interrupted run had done, and where it says why others were skipped."""
    if made.taken_up:
        print(f"{made.taken_up} images were done by the run that was interrupted", file=sys.stderr)
    if made.failed_file:
        print(f"Skipped {made.failed} {what}: {made.failed_file} says why", file=sys.stderr)


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
