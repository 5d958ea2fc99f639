"""Elementary functions against torch's own in double precision."""

import pytest
import torch

from deeplense_core.sim import fastmath

ONE = torch.ones(())
CASES = {
    "exp2": (fastmath.exp2, torch.exp2, torch.linspace(-120, 120, 400_001), "relative"),
    "log2": (fastmath.log2, torch.log2, torch.logspace(-37, 37, 400_001), "relative"),
    "log2 near 1": (fastmath.log2, torch.log2, torch.linspace(0.9, 1.1, 400_001), "absolute"),
    "atan": (lambda x: fastmath.atan_ratio(x, ONE), torch.atan, torch.linspace(-40, 40, 400_001), "absolute"),
    "atanh": (lambda x: fastmath.atanh_ratio(x, ONE), torch.atanh, torch.linspace(-0.95, 0.95, 400_001), "absolute"),
}


@pytest.mark.parametrize("name", CASES)
def test_float32_is_exact_to_a_few_units_in_the_last_place(name):
    ours, exact, x, kind = CASES[name]
    expected = exact(x.double())
    error = (ours(x).double() - expected).abs()
    if kind == "relative":
        error = error / expected.abs().clamp_min(1e-30 if name == "exp2" else 1.0)
    assert float(error.max()) < 4e-7


@pytest.mark.parametrize("name", CASES)
def test_float64_is_torch_s_own(name):
    ours, exact, x, _ = CASES[name]
    torch.testing.assert_close(ours(x.double()), exact(x.double()), rtol=1e-12, atol=1e-12)


def test_exp2_of_very_little_stays_finite():
    assert 0 <= float(fastmath.exp2(torch.tensor([-1e30]))) < 1e-37
