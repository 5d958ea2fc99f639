"""Any timm backbone by name: ``timm:convnext_tiny``, ``timm:vit_small_patch16_224`` ..."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from torch import nn

from deeplense_core.errors import UserError
from deeplense_core.models.names import MODELS
from deeplense_core.models.weights import with_pretrained
from deeplense_core.spec import knob


@dataclass(frozen=True)
class TimmConfig:
    pretrained: bool = knob(True, "Start from ImageNet weights where they can be fetched")
    dropout: float = knob(0.0, "Dropout before the last layer", ge=0, le=0.9)


@MODELS.register("timm", config=TimmConfig, tasks=("classify", "find", "ssl"), label="timm backbone",
                 source="Wightman, PyTorch Image Models, doi:10.5281/zenodo.4414861")
def timm_model(
    cfg: TimmConfig, in_channels: int, out_features: int, backbone: str, weights_file: str | None = None
) -> nn.Module:
    """Any backbone of the timm library, its first convolution summed over channels for grey images.

    ``weights_file`` reads the weights from a local file instead of the hub.
    """
    import timm

    overlay = {"file": weights_file} if weights_file else None

    patches = _cut_in_patches(backbone)
    any_size: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True} if patches else {}

    def build(pretrained: bool) -> nn.Module:
        return timm.create_model(
            backbone, pretrained=pretrained, in_chans=in_channels, num_classes=out_features,
            drop_rate=cfg.dropout, pretrained_cfg_overlay=overlay, **any_size,
        )

    return with_pretrained(cfg.pretrained, build, f"timm weights of {backbone}")


def _cut_in_patches(backbone: str) -> bool:
    """Whether it is a plain vision transformer, which timm builds for one size of image unless it is told otherwise."""
    return backbone.startswith(("vit_", "deit", "test_vit"))


def check_backbone(backbone: str) -> None:
    """Raises a UserError that names the nearest backbone when timm has none of this name."""
    import timm

    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, timm.list_models(), n=1)
        hint = f" Did you mean 'timm:{close[0]}'?" if close else ""
        raise UserError(f"timm has no model {backbone!r}.{hint}")
