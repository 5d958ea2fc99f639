"""The contrastive loss with margin, the seed's; the losses of the other methods are lightly's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def margin_loss(
    first: Float[Tensor, "p d"], second: Float[Tensor, "p d"], same: Bool[Tensor, " p"], margin: float
) -> Float[Tensor, ""]:
    """Mean over pairs of D^2 where they are the same, of max(0, margin - D)^2 where they are not.

    D is the Euclidean distance. Hadsell, Chopra & LeCun 2006, equation 4, without its factor of one half. No pair at
    all costs nothing.
    """
    distance = (first - second).square().sum(1).clamp_min(1e-12).sqrt()  # a root of 0 has no gradient
    cost = torch.where(same, distance.square(), F.relu(margin - distance).square())
    return cost.sum() / max(1, len(cost))
