"""Losses, lightly's and ours, against the papers' formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from deeplense_core.ssl.collapse import effective_rank
from deeplense_core.ssl.losses import margin_loss
from deeplense_core.ssl.methods import METHODS, NAMES, MethodConfig, Teacher, TwoViews

B, D = 6, 5


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(B, D, generator=g, dtype=torch.float64) for _ in range(2))
    return a, a + 0.3 * b


def built(name: str, **settings):
    torch.manual_seed(0)
    return METHODS[name].build(MethodConfig(projection=D, hidden=8, **settings), nn.Linear(4, D), D)


def test_every_method_is_a_choice():
    assert set(METHODS) == set(NAMES)


def test_simclr_is_equation_1_of_chen_2020(pair):
    tau = 0.3
    z = torch.cat(pair)
    z = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(2 * B):
        j = (i + B) % (2 * B)
        below = sum(math.exp(float(z[i] @ z[k]) / tau) for k in range(2 * B) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[j]) / tau) / below)
    assert float(built("simclr", temperature=tau).loss(*pair)) == pytest.approx(total / (2 * B), rel=1e-9)


def test_vicreg_is_equations_1_to_6_of_bardes_2022(pair):
    """The code of its authors, which lightly follows, halves the variance terms and takes the mean over
    dimensions of the invariance term."""

    def variance(z):
        return sum(max(0.0, 1 - math.sqrt(z[:, j].var(ddof=1) + 1e-4)) for j in range(D)) / D

    def covariance(z):
        c = np.cov(z, rowvar=False)
        return sum(c[i, j] ** 2 for i in range(D) for j in range(D) if i != j) / D

    a, b = (z.numpy() for z in pair)
    invariance = sum(((a[i] - b[i]) ** 2).sum() for i in range(B)) / B / D
    expected = 25 * invariance + 25 * (variance(a) + variance(b)) / 2 + covariance(a) + covariance(b)
    assert float(built("vicreg").loss(*pair)) == pytest.approx(expected, rel=1e-9)


def test_byol_is_equation_2_of_grill_2020_up_to_its_constant(pair):
    """|| q/|q| - z/|z| ||^2 = 2 - 2 cos: lightly gives -cos."""
    q, z = (v / v.norm(dim=1, keepdim=True) for v in pair)
    squared = float((q - z).square().sum(1).mean())
    assert 2 + 2 * float(built("byol").loss(*pair)) == pytest.approx(squared, rel=1e-9)


def test_dino_is_equations_2_and_3_of_caron_2021(pair):
    loss = built("dino", prototypes=D, teacher_temperature=0.07).loss.double()
    centre = torch.linspace(-0.2, 0.2, D, dtype=torch.float64)
    loss.center.data = centre[None, None].clone()
    students = (pair[1].flip(1), pair[0].flip(1))
    total = 0.0
    for teacher, student in ((pair[0], students[1]), (pair[1], students[0])):
        p_t = torch.softmax((teacher - centre) / 0.07, 1)
        log_s = torch.log_softmax(student / 0.1, 1)
        total += float(-(p_t * log_s).sum(1).mean()) / 2
    assert float(loss(list(pair), list(students))) == pytest.approx(total, rel=1e-6)
    moved = 0.9 * centre + 0.1 * torch.cat(pair).mean(0)
    torch.testing.assert_close(loss.center.data[0, 0], moved)


def test_margin_is_equation_4_of_hadsell_2006(pair):
    a, b = pair
    same = torch.tensor([True, False, True, False, False, True])
    b = torch.where(same[:, None], b, a + torch.linspace(0.1, 3, B, dtype=torch.float64)[:, None] / math.sqrt(D))
    expected = 0.0
    for i in range(B):
        distance = math.dist(a[i].tolist(), b[i].tolist())
        expected += distance**2 if same[i] else max(0.0, 1.5 - distance) ** 2
    assert float(margin_loss(a, b, same, 1.5)) == pytest.approx(expected / B, rel=1e-9)
    assert float(margin_loss(a[:0], b[:0], same[:0], 1.5)) == 0


def test_margin_has_a_gradient_where_two_images_coincide():
    a = torch.ones(2, 3, requires_grad=True)
    margin_loss(a, torch.ones(2, 3), torch.tensor([True, False]), 1.0).backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def views(labels, progress: float = 0.0) -> TwoViews:
    g = torch.Generator().manual_seed(1)
    a, b = (torch.randn(B, D, generator=g) for _ in range(2))
    inputs = torch.randn(B, 4, generator=g)
    return TwoViews((inputs, inputs), (a, b), torch.as_tensor(labels), torch.Generator().manual_seed(2), progress)


@torch.no_grad()
def test_margin_labels_looks_at_labels_and_margin_does_not():
    by_label, plain = built("margin-labels"), built("margin")
    assert float(by_label(views([0] * B))) != pytest.approx(float(by_label(views(range(B)))))
    assert float(plain(views([0] * B))) == float(plain(views(range(B))))
    assert float(by_label(views(range(B)))) == pytest.approx(float(plain(views([0] * B))))


@torch.no_grad()
def test_margin_labels_leaves_unlabelled_images_out_of_its_pairs():
    loss = built("margin-labels")
    some, none = float(loss(views([0, -1, -1, -1, -1, -1]))), float(loss(views([-1] * B)))
    assert some == none


def test_a_teacher_follows_its_student_and_stops_at_the_end():
    net, head, same = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(3, 2)
    teacher = Teacher(net, head, same, momentum=0.75)
    torch.testing.assert_close(same.weight, head.weight)
    before = teacher.averaged[0].weight.clone()
    with torch.no_grad():
        net.weight.add_(1.0)
    teacher(views([0] * B))
    torch.testing.assert_close(teacher.averaged[0].weight, before + 0.25)
    teacher(views([0] * B, progress=1.0))
    torch.testing.assert_close(teacher.averaged[0].weight, before + 0.25)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert "averaged.0.weight" in teacher.state_dict()
    assert len(teacher.state_dict()) == 4  # the students are not its own


def test_effective_rank_of_known_matrices():
    rng = np.random.default_rng(0)
    assert effective_rank(np.ones((50, 8))) == pytest.approx(1.0)
    assert effective_rank(np.zeros((50, 8))) == 1.0
    assert effective_rank(np.eye(8)) == pytest.approx(8.0)
    three = rng.normal(size=(400, 3)) @ np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    assert effective_rank(three) == pytest.approx(3.0, abs=0.1)
    shares = np.array([0.5, 0.25, 0.25])
    assert effective_rank(np.diag(shares)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
