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
from deeplense_core.models.cascade import FAMILY, cascade_entry
from deeplense_core.models.names import MODELS, learns
from deeplense_core.models.timm_models import check_backbone
from deeplense_core.registry import Entry
from deeplense_core.spec import make_config

__all__ = ["MODELS", "build_model", "check_model", "learns", "model_entry", "model_names"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def model_entry(name: str) -> Entry:
    """The registry entry behind a model's name; ``timm:<name>`` is served by the entry ``timm``, and a cascade's is
    made of its members'."""
    family, colon, members = name.partition(":")
    if colon and family == FAMILY:
        return cascade_entry(members)
    return MODELS["timm"] if name.startswith("timm:") else MODELS[name]


def check_model(name: str) -> None:
    """Raises a UserError for a name that :func:`build_model` would refuse."""
    if model_entry(name) is MODELS["timm"]:
        if not name.removeprefix("timm:") or ":" not in name:
            raise UserError("Name the timm backbone, for example timm:convnext_tiny.")
        check_backbone(name.removeprefix("timm:"))


def model_names(task: str) -> list[str]:
    """Networks that can learn ``task``, those that name it first among their tasks before the others."""
    fit = [name for name, entry in MODELS.items()
           if task in entry.about["tasks"] and learns(entry) and name not in ("timm", FAMILY)]
    return sorted(fit, key=lambda name: MODELS[name].about["tasks"].index(task) > 0)


def build_model(name: str, settings: Mapping[str, Any], **shape: Any) -> nn.Module:
    """A fresh network.

    Args:
        name: A registered name, or ``timm:<name>``.
        settings: Settings of that model, text or typed.
        **shape: What the task needs: ``in_channels`` and ``out_features`` for a classifier (0 for an encoder, which
            gives its features), ``in_channels``, ``scale`` and ``unit`` for super-resolution.

    Raises:
        UserError: on an unknown name or setting.
    """
    check_model(name)
    entry = model_entry(name)
    cfg = make_config(entry.config, settings) if entry.config else None
    if entry is MODELS["timm"]:
        return entry.build(cfg, backbone=name.removeprefix("timm:"), **shape)
    return entry.build(cfg, **shape)
