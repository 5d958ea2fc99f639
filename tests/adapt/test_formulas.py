"""The formulas of the methods, each against its paper written out plainly."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deeplense_core.adapt.adda import fooling_loss
from deeplense_core.adapt.critics import Judge, OwnAdam, domain_accuracy, domain_loss, reversed_gradient
from deeplense_core.adapt.dann import conditioned
from deeplense_core.adapt.fixmatch import consistency
from deeplense_core.adapt.mmd import WIDTHS, discrepancy
from deeplense_core.adapt.names import rising
from deeplense_core.adapt.wdgrl import gradient_penalty


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_reversal_is_exact():
    x = torch.randn(5, 3, requires_grad=True)
    out = reversed_gradient(x, 0.7)
    assert torch.equal(out, x)
    (gradient,) = torch.autograd.grad((out * torch.arange(3.0)).sum(), x)
    assert torch.equal(gradient, -0.7 * torch.arange(3.0).expand(5, 3))


def test_schedule_of_the_paper():
    assert rising(0) == 0
    assert rising(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert 0.9999 < rising(1) < 1


def test_domain_loss_is_the_mean_of_two_cross_entropies():
    source, target = torch.randn(7), torch.randn(4)
    expected = 0.5 * (F.binary_cross_entropy_with_logits(source, torch.ones(7))
                      + F.binary_cross_entropy_with_logits(target, torch.zeros(4)))  # fmt: skip
    assert torch.allclose(domain_loss(source, target), expected)
    assert domain_accuracy(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, -2.0, -3.0, 4.0])) == 0.5 * (0.5 + 0.75)


def test_conditioning_is_the_outer_product():
    features, probabilities = torch.randn(4, 3), torch.randn(4, 2).softmax(1)
    made = conditioned(features, probabilities)
    for i in range(4):
        assert torch.allclose(made[i], torch.outer(features[i], probabilities[i]).flatten())


@pytest.mark.parametrize(("n", "m"), [(6, 6), (3, 8)])
def test_discrepancy_against_a_double_loop(n, m):
    x, y = torch.randn(n, 5, dtype=torch.float64), 0.5 + 2 * torch.randn(m, 5, dtype=torch.float64)
    points = [*x, *y]
    pairs = [(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
    scale = sum(float(((a - b) ** 2).sum()) for a, b in pairs) / len(pairs)

    def kernel(a, b):
        return sum(math.exp(-float(((a - b) ** 2).sum()) / (2 * scale * w)) for w in WIDTHS) / len(WIDTHS)

    def mean(first, second):
        return sum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))

    assert float(discrepancy(x, y)) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-9)
    assert float(discrepancy(x, x)) == pytest.approx(0, abs=1e-12)


def test_discrepancy_has_a_gradient_that_brings_domains_together():
    x, y = torch.randn(32, 4, requires_grad=True), torch.randn(32, 4) + 2
    (slope,) = torch.autograd.grad(discrepancy(x, y), x)
    assert discrepancy(x - 5 * slope, y) < discrepancy(x, y)


def test_gradient_penalty_of_known_critics():
    weights = torch.tensor([3.0, 4.0])
    points = torch.randn(6, 2)
    assert float(gradient_penalty(lambda x: x @ weights, points)) == pytest.approx((5 - 1) ** 2, rel=1e-5)
    norms = 2 * points.norm(dim=1)  # the slope of |x|^2
    assert torch.allclose(gradient_penalty(lambda x: x.square().sum(1), points), ((norms - 1) ** 2).mean(), rtol=1e-4)


def test_gradient_penalty_against_autograd_on_a_network():
    critic, points = Judge(3, width=8), torch.randn(5, 3)
    total = 0.0
    for point in points:
        slope = torch.autograd.functional.jacobian(lambda p: critic(p[None])[0], point)
        total += (float(slope.norm()) - 1) ** 2
    assert gradient_penalty(critic, points).item() == pytest.approx(total / 5, rel=1e-4)
    gradient_penalty(critic, points).backward()
    assert critic[0].weight.grad is not None, "the penalty must teach the critic"


def test_own_adam_is_adam_and_can_be_put_away():
    net, reference = nn.Linear(3, 2), nn.Linear(3, 2)
    reference.load_state_dict(net.state_dict())
    own = OwnAdam(net, 0.01)
    adam = torch.optim.Adam(reference.parameters(), lr=0.01, betas=(0.5, 0.9))
    assert not any(p.requires_grad for p in own.parameters()), "the loop's optimizer must leave it alone"
    for step in range(4):
        x = torch.randn(6, 3)
        adam.zero_grad()
        reference(x).square().sum().backward()
        own.learn([p.grad for p in reference.parameters() if p.grad is not None])
        adam.step()
        if step == 1:  # a checkpoint in between
            other = OwnAdam(nn.Linear(3, 2), 0.01)
            other.load_state_dict(own.state_dict())
            own = other
    for mine, theirs in zip(own.net.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-7)


def test_fooling_teaches_the_encoder_alone():
    judge, features = Judge(3), torch.randn(4, 3, requires_grad=True)
    loss = fooling_loss(judge, features)
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(judge(features), torch.ones(4)))
    loss.backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())


def test_fixmatch_counts_confident_images_only():
    probabilities = torch.tensor([[0.96, 0.04], [0.94, 0.06], [0.02, 0.98], [0.5, 0.5]])
    strong = torch.randn(4, 2)
    loss, sure = consistency(probabilities.log(), strong, 0.95)
    assert sure.tolist() == [True, False, True, False]
    assert torch.allclose(loss, -(strong.log_softmax(1)[0, 0] + strong.log_softmax(1)[2, 1]) / 4)
    nothing, _ = consistency(probabilities.log(), strong, 0.99)
    assert float(nothing) == 0
