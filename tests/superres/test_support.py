"""What the coarse image confirms comes back through the camera; what is finer than its pixels does not."""

import pytest
import torch

from deeplense_core.losses.pixel import matching_blur, noise_variance
from deeplense_core.superres import support
from deeplense_core.superres.observe import observe
from deeplense_core.superres.support import reobservation_residual, unsupported

SCALE, ARCSEC = 2, 0.05
COLUMNS = {name: torch.tensor([value]) for name, value in {
    "truth_lr_psf_sigma": 0.15, "truth_hr_psf_sigma": 0.087, "truth_sky": 10.0,
    "truth_lr_counts_per_unit": 4.0, "truth_hr_counts_per_unit": 1.0}.items()}  # fmt: skip

BLUR = matching_blur(COLUMNS, ARCSEC)


@pytest.fixture
def smooth():
    y, x = torch.meshgrid(torch.linspace(-2, 2, 64), torch.linspace(-2, 2, 64), indexing="ij")
    return 200 * torch.exp(-((torch.hypot(x, y) - 1) ** 2) / 0.1)[None, None]


def test_residual_is_in_sigmas(smooth):
    sigma = ((0.15**2 - 0.087**2) ** 0.5) / ARCSEC
    again = observe(smooth, sigma, SCALE)
    spread = noise_variance(again, COLUMNS, "lr").sqrt()
    found = reobservation_residual(smooth, again - 3 * spread, COLUMNS, SCALE, BLUR)
    torch.testing.assert_close(found, torch.full_like(found, 3.0), atol=1e-3, rtol=0)


def test_broad_structure_is_supported_and_pixel_structure_is_not(smooth):
    # Compared with its own noise, the broad ring must come back nearly whole.
    broad = unsupported(smooth, COLUMNS, SCALE, BLUR)[..., 8:-8, 8:-8]
    assert broad.abs().mean() < 0.25
    checks = torch.ones(64, 64)
    checks[::2, ::2] = checks[1::2, 1::2] = -1
    amplitude = 30.0
    with_checks, without = (
        unsupported(image, COLUMNS, SCALE, BLUR) * noise_variance(image, COLUMNS, "hr").sqrt()
        for image in (smooth + amplitude * checks, smooth)
    )
    inner = ((with_checks - without) / (amplitude * checks))[..., 8:-8, 8:-8]
    assert inner.mean() == pytest.approx(1.0, abs=0.03)


def test_the_solution_has_converged(monkeypatch):
    """A bright arc on a faint sky, whose noise differs from place to place: the hard case."""
    y, x = torch.meshgrid(torch.linspace(-3.7, 3.7, 148), torch.linspace(-3.7, 3.7, 148), indexing="ij")
    arc = 600 * torch.exp(-((torch.hypot(x, y) - 1.5) ** 2) / 0.05) * (1 + x / torch.hypot(x, y)) / 2
    found = unsupported(arc[None, None], COLUMNS, SCALE, BLUR)
    monkeypatch.setattr(support, "STEPS", 4 * support.STEPS)
    assert (unsupported(arc[None, None], COLUMNS, SCALE, BLUR) - found).abs().max() < 0.01
