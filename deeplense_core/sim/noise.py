"""Noise as a function of (key, pixel): the same bits eager, compiled, on CPU and on CUDA, in any batch.

A counter-based generator has no state to keep in order, runs inside the fused kernel, and does not depend on
how images are grouped into chunks. Counts are exact integers, drawn by inverting the Poisson distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deeplense_core.sim.fastmath import exp2, log2, polynomial

SMALL_RATE = 10.0
"""Below it the Poisson distribution is inverted term by term, above it by an asymptotic expansion."""
SMALL_RATE_TERMS = 32
"""P(count > 32) is below 1e-8 at a rate of 10, beyond the resolution of the uniform numbers."""

_TAIL_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                 -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)
_TAIL_FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
             -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)


def _mix(h: Tensor) -> Tensor:
    """A bijection of int32 with full avalanche (lowbias32, C. Wellons 2018); masks make the shifts logical."""
    h = (h ^ ((h >> 16) & 0xFFFF)) * 0x7FEB352D
    h = (h ^ ((h >> 15) & 0x1FFFF)) * -0x7B935975
    return h ^ ((h >> 16) & 0xFFFF)


def random_bits(key: Tensor, height: int, width: int, stream: int) -> Tensor:
    """Independent int32 numbers for every pixel.

    Args:
        key: int32 (b, 2), one pair for each image.
        height, width: Size of the image in pixels.
        stream: Tells several draws for the same image apart.

    Returns:
        int32 (b, height, width).
    """
    pixel = torch.arange(height * width, dtype=torch.int32, device=key.device).reshape(height, width)
    first = _mix(pixel + key[:, 0, None, None])
    return _mix(first ^ (key[:, 1, None, None] + stream * 0x3C6EF372))


def normal(bits: Tensor) -> Tensor:
    """Standard normal numbers from int32 bits: Giles' single-precision inverse error function (2010).

    One bit is the sign and 23 choose the tail probability, so both tails have the same resolution.
    """
    tail = ((bits & 0x7FFFFF).to(torch.float32) + 0.5) * 2.0**-23
    size = 1.0 - tail
    w = -0.6931472 * log2(tail * (1.0 + size))
    central, far = polynomial(_TAIL_CENTRAL, w - 2.5), polynomial(_TAIL_FAR, torch.sqrt(w) - 3.0)
    z = torch.where(w < 5.0, central, far) * (size * 1.4142135)
    return torch.where(bits < 0, -z, z)


def poisson(rate: Tensor, bits: Tensor, small_rates: bool = True) -> Tensor:
    """Poisson counts as whole float32 numbers, the inverse distribution function at a uniform number.

    Args:
        rate: Expected counts, at least 0.
        bits: int32 of the same shape, see :func:`random_bits`.
        small_rates: Whether rates below ``SMALL_RATE`` occur; saying no saves their cost.
    """
    z = normal(bits)
    large = _poisson_large(rate.clamp_min(SMALL_RATE), z)
    if not small_rates:
        return large
    # The same bits as a uniform number that rises with z.
    tail = ((bits & 0x7FFFFF).to(torch.float32) + 0.5) * 2.0**-24
    u = torch.where(bits < 0, tail, 1.0 - tail)
    return torch.where(rate < SMALL_RATE, _poisson_small(rate.clamp_max(SMALL_RATE), u), large)


def _poisson_large(rate: Tensor, z: Tensor) -> Tensor:
    """Giles 2016 (ACM Algorithm 955), Q_N3: exact but for about one draw in a thousand, which is one off."""
    root = torch.sqrt(rate)
    z2 = z * z
    first = 1.0 / 3.0 + z2 * (1.0 / 6.0)
    second = z * (-1.0 / 36.0 - z2 * (1.0 / 72.0)) / root
    third = (-8.0 / 405.0 + z2 * (7.0 / 810.0 + z2 * (1.0 / 270.0))) / rate
    return torch.floor(rate + root * z + first + second + third).clamp_min(0.0)


def _poisson_small(rate: Tensor, u: Tensor) -> Tensor:
    """Counts how many terms of the distribution function lie below ``u``."""
    term = exp2(rate * -1.4426950408889634)
    below = term
    count = torch.zeros_like(rate)
    for k in range(1, SMALL_RATE_TERMS + 1):
        count = count + (u > below).to(torch.float32)
        term = term * rate * (1.0 / k)
        below = below + term
    return count
