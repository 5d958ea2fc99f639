"""The equivariant transformer: exactly equivariant as we combine the turns, and how far the seed's sum is from it."""

from __future__ import annotations

import pytest
import torch

from deeplense_core.augment import d4
from deeplense_core.models import build_model
from deeplense_core.models.equivariant_transformer import equivariance_error

SMALL = {"backbone": "resnet18", "pretrained": False, "width": 32, "layers": 1}


def net(combine: str, out_features: int = 0, **settings):
    torch.manual_seed(0)
    return build_model("equivariant-transformer", {**SMALL, "combine": combine, **settings}, in_channels=1,
                       out_features=out_features).eval()  # fmt: skip


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 1, 50, 50, generator=torch.Generator().manual_seed(0))


def test_turned_back_maps_turn_with_the_image(images):
    assert equivariance_error(net("turned-back"), images) < 1e-5


def test_added_maps_do_not(images):
    assert equivariance_error(net("added"), images) > 0.5


@torch.no_grad()
def test_features_do_not_change_under_quarter_turns(images):
    encoder = net("turned-back")
    straight = encoder(images)
    assert straight.shape == (3, 32)
    assert straight.std(0).max() > 1e-3  # images are told apart
    for turn in (1, 2, 3):
        torch.testing.assert_close(encoder(d4(images, turn)), straight, atol=1e-5, rtol=0)


@torch.no_grad()
def test_attention_knows_how_far_from_the_centre_a_place_is(images):
    """The same vectors in another order of places, from the middle outwards, are other features."""
    encoder = net("turned-back")
    near, far = torch.zeros(2, 1, 1, 97, 97)
    near[..., 44:53, 44:53], far[..., 4:13, 44:53] = 1.0, 1.0
    encoder.feature_map = lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 7).expand(-1, 512, -1, -1)
    assert (encoder(near) - encoder(far)).abs().max() > 1e-3


def test_it_learns_in_both_versions_and_as_a_classifier(images):
    for combine in ("turned-back", "added"):
        classifier = net(combine, out_features=4).train()
        out = classifier(images)
        assert out.shape == (3, 4)
        out.square().sum().backward()
        assert all(p.grad is not None for p in classifier.parameters())


@torch.no_grad()
def test_frames_that_are_not_square_are_read_in_half_turns(images):
    encoder, wide = net("turned-back"), images[..., :30, :]
    torch.testing.assert_close(encoder(wide.rot90(2, (-2, -1))), encoder(wide), atol=1e-5, rtol=0)
