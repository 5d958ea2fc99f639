"""The command line that does what a form is about to do, to copy into a terminal or a batch script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from deeplense_core.spec import Knob


def changed(settings: Mapping[str, Any], known: Mapping[str, Knob]) -> dict[str, Any]:
    """The settings that are not at their default."""
    return {name: value for name, value in settings.items() if value != known[name].default}


def train_command(
    task: str, data: str, model: str, settings: Mapping[str, Any], seed: int = 0, name: str = ""
) -> str:
    """``python -m deeplense_core train ...``, quoted for a POSIX shell.

    Args:
        task, data, model, seed, name: As :func:`deeplense_core.train.plan` takes them.
        settings: Only those that are not at their default; see :func:`changed`.
    """
    words = ["python", "-m", "deeplense_core", "train", task, "--data", data, "--model", model]
    for key, value in settings.items():
        words += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    words += ["--seed", str(seed)] if seed else []
    words += ["--name", name] if name else []
    return shlex.join([*words, "--where", "local"])
