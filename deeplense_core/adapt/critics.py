"""Networks that judge features, and how they learn against or with the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Judge(nn.Sequential):
    """One number for a vector of features: a domain's logit, or a critic's value."""

    def __init__(self, features: int, width: int = 128):
        super().__init__(nn.Linear(features, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
                         nn.Linear(width, 1))  # fmt: skip

    def forward(self, input: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        return super().forward(input.float())[:, 0]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, *gradients):
        return -ctx.factor * gradients[0], None


def reversed_gradient(x: Tensor, factor: float) -> Tensor:
    """``x`` itself, whose gradient is multiplied by ``-factor`` on the way back (arXiv:1505.07818, section 4.2)."""
    out = _Reverse.apply(x, factor)
    assert isinstance(out, Tensor)
    return out


def domain_loss(source: Float[Tensor, " b"], target: Float[Tensor, " c"]) -> Float[Tensor, ""]:
    """Cross entropy of a judge that should give positive logits to source and negative ones to target; each domain
    counts one half."""
    return 0.5 * (F.softplus(-source).mean() + F.softplus(target).mean())


def domain_accuracy(source: Float[Tensor, " b"], target: Float[Tensor, " c"]) -> Float[Tensor, ""]:
    """Part of the features a judge assigns rightly, each domain counting one half: near 1/2 the domains look alike."""
    return 0.5 * ((source > 0).float().mean() + (target <= 0).float().mean()).detach()


class OwnAdam(nn.Module):
    """Adam (Kingma & Ba 2015) for a network that takes several steps within one of the loop.

    Its moments are buffers of a module: they are saved and restored with the rest of a checkpoint, so a resumed run
    repeats the uninterrupted one. The network's parameters need no gradient: the loop's optimizer leaves them alone,
    and a loss of the encoder passes through them.
    """

    count: Tensor

    def __init__(self, net: nn.Module, lr: float, betas: tuple[float, float] = (0.5, 0.9)):
        super().__init__()
        self.lr, self.betas = lr, betas
        self.net = net.requires_grad_(False)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        for i, parameter in enumerate(net.parameters()):
            self.register_buffer(f"first_{i}", torch.zeros_like(parameter))
            self.register_buffer(f"second_{i}", torch.zeros_like(parameter))

    def learn(self, gradients: Sequence[Tensor]) -> None:
        """One step down along the gradients of the network's parameters, in their order."""
        self.count += 1
        count = float(self.count)
        (a, b), eps = self.betas, 1e-8
        for i, (parameter, gradient) in enumerate(zip(self.net.parameters(), gradients, strict=True)):
            first = self.get_buffer(f"first_{i}").lerp_(gradient, 1 - a)
            second = self.get_buffer(f"second_{i}").mul_(b).addcmul_(gradient, gradient, value=1 - b)
            step = (first / (1 - a**count)) / ((second / (1 - b**count)).sqrt() + eps)
            parameter.data.add_(step, alpha=-self.lr)
