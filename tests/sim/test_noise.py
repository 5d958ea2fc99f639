"""The noise is what it says: uniform bits, normal numbers, exact Poisson counts."""

import numpy as np
import pytest
import torch
from scipy import stats

from deeplense_core.sim import noise


def bits(size: int, stream: int = 0, seed: int = 3) -> torch.Tensor:
    """``size`` x 250 x 400 bits."""
    keys = torch.randint(-2**31, 2**31, (size, 2), generator=torch.Generator().manual_seed(seed)).int()
    return noise.random_bits(keys, 250, 400, stream)


def test_every_bit_is_fair_and_streams_images_and_neighbours_are_independent():
    b = bits(20)
    assert len(b.unique()) > 0.999 * b.numel()
    signs = [((b >> shift) & 1).double() * 2 - 1 for shift in (0, 1, 7, 16, 22, 31)]
    limit = 5 / b.numel() ** 0.5
    for s in signs:
        assert abs(float(s.mean())) < limit
        assert abs(float((s[:, :, 1:] * s[:, :, :-1]).mean())) < limit
        assert abs(float((s[:, 1:] * s[:, :-1]).mean())) < limit
        assert abs(float((s[1:] * s[:-1]).mean())) < 1.1 * limit
    other = bits(20, stream=1)
    assert abs(float((signs[-1] * (((other >> 31) & 1).double() * 2 - 1)).mean())) < limit


def test_normal_numbers_follow_the_normal_distribution():
    z = noise.normal(bits(20)).double().flatten()
    assert float(z.mean()) == pytest.approx(0, abs=5 / len(z) ** 0.5)
    assert float(z.var()) == pytest.approx(1, abs=5 * (2 / len(z)) ** 0.5)
    edges = stats.norm.ppf(np.linspace(0, 1, 201))
    counts, _ = np.histogram(z.numpy(), edges)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert float(z.abs().max()) > 4.5


@pytest.mark.parametrize("rate", [0.05, 0.7, 3.0, 9.99, 10.0, 12.5, 47.3, 800.0])
def test_counts_follow_the_poisson_distribution(rate):
    b = bits(20)
    counts = noise.poisson(torch.full_like(b, rate, dtype=torch.float32), b).numpy().astype(np.int64).ravel()
    mass = stats.poisson.pmf(np.arange(counts.max() + 60), rate) * counts.size
    seen = np.bincount(counts, minlength=len(mass))[: len(mass)]
    common = np.flatnonzero(mass >= 30)
    low, high = common[0], common[-1] + 1
    observed = np.r_[seen[:low].sum(), seen[low:high], seen[high:].sum()]
    expected = np.r_[mass[:low].sum(), mass[low:high], counts.size - mass[:high].sum()]
    keep = expected > 5
    chi_squared = ((observed - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2.sf(chi_squared, keep.sum() - 1) > 1e-4


def test_saying_that_no_rate_is_small_changes_nothing_above_ten():
    b = bits(1)
    rate = 10 + 90 * torch.rand(b.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(noise.poisson(rate, b, small_rates=False), noise.poisson(rate, b))


def test_no_light_gives_no_counts():
    b = bits(1)
    assert float(noise.poisson(torch.zeros(b.shape), b).max()) == 0
