"""How long work shows itself on the command line: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PLAIN_EVERY_S = 15.0


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Gives ``update(done, total)``; writes to stderr so that stdout stays clean for results."""
    if sys.stderr.isatty():
        with _rich() as progress:
            row = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(row, completed=done, total=total)
        return
    said = time.monotonic()

    def update(done: int, total: int | None) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_EVERY_S:
            said = time.monotonic()
            print(f"{what}: {done}" + (f" of {total}" if total else ""), file=sys.stderr, flush=True)

    yield update


@contextlib.contextmanager
def training() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives what :func:`deeplense_core.train.train` reports to: ticks and finished epochs."""
    if sys.stderr.isatty():
        with _rich() as progress:
            row = progress.add_task("training", total=1.0)

            def on_terminal(facts: Mapping[str, Any]) -> None:
                if "progress" in facts:
                    progress.update(row, completed=facts["progress"], description=_tick(facts))
                else:
                    progress.console.print(_epoch(facts))

            yield on_terminal
        return
    said = 0.0

    def plain(facts: Mapping[str, Any]) -> None:
        nonlocal said
        if "progress" not in facts:
            print(_epoch(facts), file=sys.stderr, flush=True)
        elif time.monotonic() - said >= PLAIN_EVERY_S:
            said = time.monotonic()
            print(f"{facts['progress']:4.0%}  {_tick(facts)}  {facts['eta_s'] / 60:.1f} min left",
                  file=sys.stderr, flush=True)

    yield plain


def _tick(facts: Mapping[str, Any]) -> str:
    return (f"epoch {facts['epoch']}/{facts['epochs']}  loss {facts['loss']:.4f}  "
            f"{facts['images_per_s']:.0f} images/s")


def _epoch(facts: Mapping[str, Any]) -> str:
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in facts.items() if isinstance(value, float))
    return f"epoch {facts['epoch']}/{facts['epochs']}  {numbers}" + ("  (best so far)" if facts["better"] else "")


def _rich():
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
                    TimeRemainingColumn(), console=Console(stderr=True))
