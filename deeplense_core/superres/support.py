"""What of a fine image the coarse one it was made from can confirm, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from deeplense_core.losses.pixel import Columns, noise_variance
from deeplense_core.superres.observe import camera_operator, observe

Linear = Callable[[Tensor], Tensor]
STEPS = 160
"""Of the conjugate gradients: what is left is then below a thousandth of the noise. (At 40 it was 0.6 sigma.)"""


def reobservation_residual(
    made: Float[Tensor, "b c H W"], low: Float[Tensor, "b c h w"], columns: Columns, scale: int, blur: Tensor
) -> Float[Tensor, "b c h w"]:
    """The result put back through the coarse camera, minus the coarse image, in sigmas of its noise.

    Args:
        made: On the fine grid.
        low: The coarse image.
        columns: What says the coarse image's noise.
        scale: Fine pixels along a side of a coarse one.
        blur: From :func:`deeplense_core.losses.pixel.matching_blur`.
    """
    again = observe(made, blur, scale)
    return (again - low) / noise_variance(again, columns, "lr").sqrt()


def unsupported(
    made: Float[Tensor, "b c H W"], columns: Columns, scale: int, blur: Tensor
) -> Float[Tensor, "b c H W"]:
    """Structure in the result that the coarse image cannot confirm, in sigmas of the fine camera's noise.

    The result is put back through the coarse camera and deconvolved again as well as that camera's noise allows
    (Wiener: the prior is the spread of the result itself). What does not come back was not in the coarse image:
    the network added it from what it has learnt, rightly or wrongly.

    Args:
        made: On the fine grid.
        columns: What says the noise of both images.
        scale: Fine pixels along a side of a coarse one.
        blur: From :func:`deeplense_core.losses.pixel.matching_blur`.
    """
    seen, back = camera(blur, made, scale)
    weight = 1 / noise_variance(seen(made), columns, "lr")
    prior = 1 / made.var((1, 2, 3), keepdim=True).clamp_min(1e-12)

    def normal(image: Tensor) -> Tensor:
        """Through the camera, weighed by its noise, and back by the transposed way."""
        return back(weight * seen(image))

    rest = made
    for _ in range(2):  # what a first pass only dampens, a second brings back
        rest = rest - _solve(lambda image: normal(image) + prior * image, normal(rest))
    return rest / noise_variance(made, columns, "hr").sqrt()


def camera(blur: Tensor, made: Float[Tensor, "b c H W"], scale: int) -> tuple[Linear, Linear]:
    """``observe`` of images like ``made`` and its transpose, as two functions; a Gaussian's are matrix products."""
    if blur.ndim >= 2:

        def seen(image: Tensor) -> Tensor:
            return observe(image, blur, scale)

        def back(image: Tensor) -> Tensor:
            with torch.enable_grad():
                any_ = torch.zeros_like(made).requires_grad_()
                return torch.autograd.grad(seen(any_), any_, image)[0]

        return seen, back
    rows, columns = (camera_operator(blur.to(made), side // scale, scale)[:, None] for side in made.shape[-2:])
    return (lambda image: rows @ image @ columns.mT), (lambda image: rows.mT @ image @ columns)


def _solve(operator, right: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """``operator(x) = right`` for a symmetric positive operator, by conjugate gradients, each image for itself."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2, 3), keepdim=True)

    x, rest = torch.zeros_like(right), right.clone()
    way, size = rest.clone(), dot(rest, rest)
    for _ in range(STEPS):
        applied = operator(way)
        step = size / dot(way, applied).clamp_min(1e-30)
        x, rest = x + step * way, rest - step * applied
        before, size = size, dot(rest, rest)
        way = rest + size / before.clamp_min(1e-30) * way
    return x
