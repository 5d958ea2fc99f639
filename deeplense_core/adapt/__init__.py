"""Domain adaptation: from labelled source images to the images of another survey.

A method is one file here: a settings class of knobs whose names begin with the method's, and a class with
``@ADAPTATIONS.register`` (see :class:`names.Adaptation`). Form, flags, bench and tests follow.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deeplense_core.adapt.names import ADAPTATIONS, BASELINE, Adaptation, Learner
from deeplense_core.adapt.target import check_target, target_validation, with_target
from deeplense_core.spec import config_from, knob

__all__ = ["ADAPTATIONS", "ADAPT_CONFIGS", "BASELINE", "Learner", "adaptation", "check_target", "target_validation",
           "with_target"]  # fmt: skip

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


@dataclass(frozen=True)
class AdaptConfig:
    """Which survey to adapt to, and how."""

    adapt: str = knob(BASELINE, "How to learn for another survey. Without any label of it: dann, adda, wdgrl, mmd; "
                      "with a few: fixmatch, finetune", choices=(BASELINE, *sorted(set(ADAPTATIONS) - {BASELINE})),
                      group="adaptation")  # fmt: skip
    target: str = knob("", "Images of that survey: the folder of a data set, or sim:RECIPE. With none: nothing is "
                       "adapted", group="adaptation")


ADAPT_CONFIGS: tuple[type, ...] = (AdaptConfig, *(entry.config for entry in ADAPTATIONS.values() if entry.config))
"""Every settings class of adaptation: a task that can adapt names them among its own."""


def adaptation(settings: Mapping[str, Any]) -> Adaptation | None:
    """The method of a run's settings; None for a run without a target."""
    if not settings.get("target"):
        return None
    entry = ADAPTATIONS[settings["adapt"]]
    return entry.build(config_from(entry.config, settings)) if entry.config else entry.build()
