"""Which places of an image and which features carried a fusion network's decision.

Attention weights times the gradient of the decision with respect to them, what is above 0, followed through the
layers (Chefer et al. 2021, arXiv:2103.15679, eqs. 5 and 6). Bare attention says where a network looks, for every class
the same; weighed by the gradient it says what spoke for this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.evidence import log_odds
from deeplense_core.models.fusion import Attention
from deeplense_core.models.hooks import listening


class Carried(NamedTuple):
    """Shares of a decision, together 1 for each image; all 0 where nothing spoke for the class."""

    image: Float[Tensor, "b h w"]
    """On the grid of image tokens, coarser than the pixels."""
    features: Float[Tensor, "b f"]


def attention(
    net: Any, images: Float[Tensor, "b c h w"], features: Float[Tensor, "b f"], target: int
) -> Carried:
    """Which image tokens and which features spoke for a class.

    Args:
        net: A fusion network in evaluation mode.
        images: Preprocessed.
        features: In their own units, NaN where unknown.
        target: Number of the class.
    """
    with torch.enable_grad(), kept_weights(net) as kept:
        given = features.detach().requires_grad_()
        asked = log_odds(net(images, given).float(), target).sum()
        *slopes, to_features = torch.autograd.grad(asked, [*kept, given])
    tokens = kept[0].shape[-1]
    carried = torch.eye(tokens, device=images.device).expand(len(images), -1, -1)
    for weights, slope in zip(kept, slopes, strict=True):
        step = (weights * slope).clamp_min(0).unflatten(0, (len(images), -1)).mean(1)
        carried = carried + step @ carried
    row, first = net.read_off(carried.detach() - torch.eye(tokens, device=images.device))
    rows, columns = net.image_grid(images)
    after = first + rows * columns
    of_image, of_features = row[:, first:after].unflatten(1, (rows, columns)), row[:, after:]
    if of_features.shape[1] == 1 < features.shape[1]:  # one token for all: shared out by what each one moves
        moved = (to_features * (features - net.scale.centre)).nan_to_num(0, 0, 0).abs()
        of_features = of_features * moved / moved.sum(1, keepdim=True).clamp_min(1e-30)
    whole = (of_image.sum((1, 2)) + of_features.sum(1)).clamp_min(1e-30)
    return Carried(of_image / whole[:, None, None], of_features / whole[:, None])


@contextmanager
def kept_weights(net: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets the attention weights (b heads, n, n) of each layer, in order."""
    kept: list[Tensor] = []
    weights = (module.weights for module in net.modules() if isinstance(module, Attention))
    with listening(weights, lambda _, output: kept.append(output)):
        yield kept
