"""The relativistic average discriminator: is an observed image more real than the made ones are on average?

Jolicoeur-Martineau 2018, arXiv:1807.00734; used by ESRGAN, arXiv:1809.00219, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def discriminator_loss(real: Float[Tensor, " b"], made: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """-E[log s(C(real) - E C(made))] - E[log(1 - s(C(made) - E C(real)))], s the logistic function."""
    return F.softplus(-(real - made.mean())).mean() + F.softplus(made - real.mean()).mean()


def generator_loss(real: Float[Tensor, " b"], made: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """The same with the parts exchanged: -E[log(1 - s(C(real) - E C(made)))] - E[log s(C(made) - E C(real))]."""
    return F.softplus(real - made.mean()).mean() + F.softplus(-(made - real.mean())).mean()


def discriminator_accuracy(real: Float[Tensor, " b"], made: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Part of the images told apart rightly: near 1/2 it learns nothing, at 1 it teaches nothing."""
    return torch.cat((real > made.mean(), made < real.mean())).float().mean()


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Within, ``net`` is a fixed function: gradients pass through it and leave none in its parameters."""
    learning = [p for p in net.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
