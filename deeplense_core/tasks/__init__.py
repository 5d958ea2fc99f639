"""Tasks: what a network is trained for. A new task is one file here with ``@TASKS.register``."""

from __future__ import annotations

import importlib
import pkgutil

from deeplense_core.tasks.base import TASKS, Outcome, StepOut, Task

__all__ = ["TASKS", "Outcome", "StepOut", "Task"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
