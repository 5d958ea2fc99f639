"""Running a network that is not learning: the recorded preprocessing, then once or under all eight symmetries."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.augment import d4
from deeplense_core.models.features import head_inputs
from deeplense_core.preprocess import PreprocessConfig, preprocess


class WithFeatures(nn.Module):
    """A network that looks at features beside images, with those of its images given: a function of images alone.

    One row of features serves any number of images, all of them versions of one.
    """

    def __init__(self, net: nn.Module, features: Float[Tensor, "b f"]):
        super().__init__()
        self.net, self.features = net, features

    @property
    def head(self) -> nn.Module:
        return self.net.head  # pyright: ignore[reportReturnType]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.net(images, self.features.expand(len(images), -1))


@torch.no_grad()
def logits(
    model: nn.Module, images: Float[Tensor, "b c h w"], cfg: PreprocessConfig, averaged: bool
) -> Float[Tensor, "b k"]:
    """Class logits; ``averaged`` takes the mean over the eight flips and quarter turns.

    Networks that are exactly equivariant say so (``model.d4_invariant``) and are run once.
    """
    model.eval()
    x = preprocess(images, cfg)
    if not averaged or getattr(model, "d4_invariant", False) or x.shape[-1] != x.shape[-2]:
        return model(x).float()
    return turned_logits(model, x).mean(0)


def logits_and_features(
    model: nn.Module, images: Float[Tensor, "b c h w"], cfg: PreprocessConfig, averaged: bool
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d"]]:
    """As :func:`logits`, and what the head read meanwhile, its mean over the symmetries."""
    with head_inputs(model) as caught:
        outputs = logits(model, images, cfg, averaged)
    return outputs, torch.stack(caught).float().mean(0)


@torch.no_grad()
def turned_logits(model: nn.Module, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "8 b k"]:
    """Class logits of preprocessed square images under each of the eight flips and quarter turns."""
    return torch.stack([model(d4(x, element)).float() for element in range(8)])
