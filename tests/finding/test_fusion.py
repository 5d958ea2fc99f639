"""Networks of images and features: any width and number of heads, and what is missing is no zero."""

import pytest
import torch

from deeplense_core.models import build_model
from deeplense_core.models.fusion_weights import attention

FEATURES = {"names": ["a", "b"], "centre": [0.0, 1.0], "spread": [1.0, 2.0]}


def net(name: str, **settings):
    torch.manual_seed(0)
    return build_model(name, settings, in_channels=3, out_features=2, features=FEATURES).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "settings"), [
    ("fusion-attention", {"heads": 3}), ("fusion-attention", {"width": 5, "heads": 4}),
    ("fusion-attention", {"width": 4, "heads": 16}), ("fusion-resnet", {"width": 104}), ("fusion-resnet", {"width": 9}),
])  # fmt: skip
def test_widths_that_the_heads_do_not_divide(name, settings):
    assert net(name, **settings)(images(), torch.zeros(2, 2)).shape == (2, 2)


@torch.no_grad()
def test_an_unknown_feature_and_a_missing_band_are_no_zeros():
    finder, some = net("fusion-resnet", width=32), images(1)
    told = finder(some, torch.tensor([[0.0, 1.0]]))  # both at their middle
    assert not torch.allclose(finder(some, torch.tensor([[0.0, torch.nan]])), told, atol=1e-6)
    torch.testing.assert_close(finder(some, torch.tensor([[0.0, torch.nan]])),
                               finder(some, torch.tensor([[0.0, torch.inf]])))  # fmt: skip
    missing, same, filled = (some.clone() for _ in range(3))
    missing[:, 1], same[:, 1], filled[:, 1] = 0.0, 7.0, 0.0
    filled[:, 1, 0, 0] = 1e-6  # there, if hardly
    said = finder(missing, torch.zeros(1, 2))
    torch.testing.assert_close(finder(same, torch.zeros(1, 2)), said)
    assert not torch.allclose(finder(filled, torch.zeros(1, 2)), said, atol=1e-5)


@pytest.mark.parametrize("name", ["fusion-attention", "fusion-resnet"])
def test_the_shares_of_a_decision_are_those_of_places_and_features(name):
    finder = net(name)
    shares = attention(finder, images(), torch.tensor([[0.5, 1.5], [1.0, torch.nan]]), 0)
    assert tuple(shares.image.shape[1:]) == finder.image_grid(images())
    whole = shares.image.sum((1, 2)) + shares.features.sum(1)
    torch.testing.assert_close(whole, torch.ones(2))
    assert (shares.image >= 0).all()
    assert shares.features.shape == (2, 2)


@torch.no_grad()
def test_alone_training_judges_by_the_whole_image_and_use_by_both():
    """With part 1 of the images judged alone, features change nothing while it trains, and the answer when used."""
    some, one, other = images(), torch.tensor([[0.0, 1.0]] * 2), torch.tensor([[3.0, -2.0]] * 2)
    finder = net("fusion-resnet", width=32, alone=1.0, hide=0.0, dropout=0.0)
    for part in finder.backbone.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0  # the same statistics every time
    finder.train()
    alone = finder(some, one)
    torch.testing.assert_close(finder(some, other), alone)
    assert not torch.allclose(finder(some.flip(0), one), alone, atol=1e-5)
    finder.alone = 0.0
    assert not torch.allclose(finder(some, other), finder(some, one), atol=1e-5)
    finder.eval()
    assert not torch.allclose(finder(some, other), finder(some, one), atol=1e-5)
