"""The vectors before the decision: the head applied to them gives the outputs, for every kind of network."""

import pytest
import torch

from deeplense_core.models import build_model
from deeplense_core.models.features import feature_size, features, head_of


@pytest.mark.parametrize("name", ["d4net", "resnet18", "resnet50", "timm:test_resnet", "timm:test_vit"])
def test_head_of_features_is_the_output(name):
    settings = {} if name == "d4net" else {"pretrained": False}
    size = 160 if name == "timm:test_vit" else 64
    net = build_model(name, settings, in_channels=1, out_features=3).eval()
    images = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = features(net, images)
        assert found.shape == (2, feature_size(net))
        torch.testing.assert_close(head_of(net)(found), net(images))


def test_gradients_flow_and_no_hook_stays():
    net = build_model("d4net", {}, in_channels=1, out_features=3)
    images = torch.randn(2, 1, 64, 64, requires_grad=True)
    features(net, images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not head_of(net)._forward_pre_hooks
