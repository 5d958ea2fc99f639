"""What of a fine image the coarse one it was made from can confirm, and what it cannot."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from deeplense_core.losses.pixel import Columns, matching_sigma_px, noise_variance
from deeplense_core.superres.observe import observe

STEPS = 160
"""Of the conjugate gradients: what is left is then below a thousandth of the noise. (At 40 it was 0.6 sigma.)"""


def reobservation_residual(
    made: Float[Tensor, "b c H W"], low: Float[Tensor, "b c h w"], columns: Columns, scale: int,
    pixel_scale_arcsec: float,
) -> Float[Tensor, "b c h w"]:
    """The result put back through the coarse camera, minus the coarse image, in sigmas of its noise.

    Args:
        made: On the fine grid.
        low: The coarse image.
        columns: As the simulator writes them: point-spread functions, sky and counts per unit.
        scale: Fine pixels along a side of a coarse one.
        pixel_scale_arcsec: Side of a fine pixel.
    """
    again = observe(made, matching_sigma_px(columns, pixel_scale_arcsec), scale)
    return (again - low) / noise_variance(again, columns, "lr").sqrt()


def unsupported(
    made: Float[Tensor, "b c H W"], columns: Columns, scale: int, pixel_scale_arcsec: float
) -> Float[Tensor, "b c H W"]:
    """Structure in the result that the coarse image cannot confirm, in sigmas of the fine camera's noise.

    The result is put back through the coarse camera and deconvolved again as well as that camera's noise allows
    (Wiener: the prior is the spread of the result itself). What does not come back was not in the coarse image:
    the network added it from what it has learnt, rightly or wrongly.

    Args:
        made: On the fine grid.
        columns: Point-spread functions, sky and counts per unit.
        scale: Fine pixels along a side of a coarse one.
        pixel_scale_arcsec: Side of a fine pixel.
    """
    sigma = matching_sigma_px(columns, pixel_scale_arcsec)
    weight = 1 / noise_variance(observe(made, sigma, scale), columns, "lr")
    prior = 1 / made.var((1, 2, 3), keepdim=True).clamp_min(1e-12)

    def normal(image: Tensor) -> Tensor:
        """Through the camera, weighed by its noise, and back by the transposed way."""
        with torch.enable_grad():
            image = image.detach().requires_grad_()
            seen = observe(image, sigma, scale)
            (back,) = torch.autograd.grad(seen, image, weight * seen.detach())
        return back

    rest = made
    for _ in range(2):  # what a first pass only dampens, a second brings back
        rest = rest - _solve(lambda image: normal(image) + prior * image, normal(rest))
    return rest / noise_variance(made, columns, "hr").sqrt()


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
