"""Every network of the project, by name.

A new model is one file here with its settings class and ``@MODELS.register``; nothing else changes.
Builders take ``(cfg, in_channels=..., out_features=...)`` and return an ``nn.Module``; what they know
about where its weights came from is kept in the attribute ``weights_origin``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from torch import nn

from deeplense_core.errors import UserError
from deeplense_core.models.names import MODELS
from deeplense_core.registry import Entry
from deeplense_core.spec import make_config

__all__ = ["MODELS", "build_model", "model_entry", "model_names"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def model_entry(name: str) -> Entry:
    """The registry entry behind a model's name; ``timm:<name>`` is served by the entry ``timm``."""
    return MODELS["timm"] if name.startswith("timm:") else MODELS[name]


def model_names(task: str) -> list[str]:
    """Models that can serve ``task``, in the order they were registered."""
    return [name for name, entry in MODELS.items() if task in entry.about["tasks"] and name != "timm"]


def build_model(name: str, settings: Mapping[str, Any], **shape: int) -> nn.Module:
    """A fresh network.

    Args:
        name: A registered name, or ``timm:<name>``.
        settings: Settings of that model, text or typed.
        **shape: What the task needs: ``in_channels`` and ``out_features`` for a classifier.

    Raises:
        UserError: on an unknown name or setting.
    """
    entry = model_entry(name)
    cfg = make_config(entry.config, settings) if entry.config else None
    if entry is MODELS["timm"]:
        backbone = name.removeprefix("timm:")
        if backbone == name or not backbone:
            raise UserError("Name the timm backbone, for example timm:convnext_tiny.")
        return entry.build(cfg, backbone=backbone, **shape)
    return entry.build(cfg, **shape)
