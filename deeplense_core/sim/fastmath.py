"""Elementary functions for fused float32 kernels, exact to about one unit in the last place.

The vector library behind compiled CPU code spends most of an image's time in pow, atan and atanh. These are
short polynomials (minimax fits) on bits that are taken apart by hand, three to ten times faster; in any other
precision torch's own functions are used.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXP2 = (0.000218892038, 0.00123843111, 0.00968497547, 0.0554802214, 0.24023055, 0.693146925, 1.0)
_LOG2 = (0.129257568, -0.208930731, 0.215213318, -0.238676183, 0.287939039, -0.36071624, 0.480910281,
         -0.7213472, 1.442695)
_ATAN = (-0.00478021257, 0.0245562833, -0.0599035729, 0.0994268232, -0.140293934, 0.199713709, -0.333320933,
         0.999999911)
_SQRT_HALF_BITS = 0x3F3504F3
_LN2 = 0.6931471805599453


def polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """A polynomial, highest power first, by Estrin's scheme: neighbours are joined in pairs, then pairs of pairs.

    Each step of Horner's rule waits for the one before; here a processor has several to do at once.
    """
    terms, power = list(reversed(coefficients)), x
    while len(terms) > 2:
        last = terms[len(terms) // 2 * 2 :]
        terms = [power * high + low for low, high in zip(terms[::2], terms[1::2], strict=False)] + last
        power = power * power
    return power * terms[1] + terms[0]


def exp2(x: Tensor) -> Tensor:
    """2^x for x up to 127; below -126 it stays at 2^-126."""
    if x.dtype != torch.float32:
        return torch.exp2(x)
    x = x.clamp_min(-126.0)
    whole = torch.floor(x)
    power = (whole.to(torch.int32) + 127) << 23
    return power.view(torch.float32) * polynomial(_EXP2, x - whole)


def log2(x: Tensor) -> Tensor:
    """Binary logarithm of positive, normal numbers."""
    if x.dtype != torch.float32:
        return torch.log2(x)
    bits = x.view(torch.int32)
    exponent = (bits - _SQRT_HALF_BITS) >> 23
    t = (bits - (exponent << 23)).view(torch.float32) - 1.0
    return exponent.to(torch.float32) + t * polynomial(_LOG2, t)


def atan_ratio(y: Tensor, x: Tensor) -> Tensor:
    """arctan(y / x) for x > 0."""
    if y.dtype != torch.float32:
        return torch.atan2(y, x)
    size = y.abs()
    t = torch.minimum(size, x) / torch.maximum(size, x)
    angle = t * polynomial(_ATAN, t * t)
    angle = torch.where(size > x, 1.5707963267948966 - angle, angle)
    return torch.where(y < 0, -angle, angle)


def atanh_ratio(y: Tensor, x: Tensor) -> Tensor:
    """artanh(y / x) for x > \\|y\\|."""
    if y.dtype != torch.float32:
        return torch.atanh(y / x)
    return (0.5 * _LN2) * log2((x + y) / (x - y))
