"""The command line that does what a form is about to do, to copy into a terminal or a batch script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from deeplense_core.spec import Knob


def changed(settings: Mapping[str, Any], known: Mapping[str, Knob]) -> dict[str, Any]:
    """The settings that are not at their default."""
    return {name: value for name, value in settings.items() if value != known[name].default}


def set_words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them: ``--set name=value`` each."""
    return [word for key, value in settings.items()
            for word in ("--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}")]


def simulate_words(
    recipe: str, count: int, out: str, seed: int = 0, as_published: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """``simulate`` and its arguments, as :func:`deeplense_core.sim.simulate_dataset` takes them.

    Args:
        settings: Of the recipe, those that are not at their default; see :func:`changed`.
    """
    return ["simulate", recipe, "--count", str(count), "--seed", str(seed), *["--as-published"] * as_published,
            *set_words(settings or {}), "--out", out]


def shown(words: Sequence[str]) -> str:
    """A command to copy into a terminal, quoted for a POSIX shell."""
    return shlex.join(["python", "-m", "deeplense_core", *words])


def train_command(
    task: str, data: str, model: str, settings: Mapping[str, Any], seed: int = 0, name: str = ""
) -> str:
    """``python -m deeplense_core train ...``, quoted for a POSIX shell.

    Args:
        task, data, model, seed, name: As :func:`deeplense_core.train.plan` takes them.
        settings: Only those that are not at their default; see :func:`changed`.
    """
    words = ["train", task, "--data", data, "--model", model, *set_words(settings)]
    words += ["--seed", str(seed)] if seed else []
    words += ["--name", name] if name else []
    return shown([*words, "--where", "local"])
