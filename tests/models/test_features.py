"""The vectors before the decision: the head applied to them gives the outputs, for every kind of network."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from deeplense_core.forward import logits_and_features
from deeplense_core.models import build_model
from deeplense_core.models.features import feature_size, features, head_of
from deeplense_core.preprocess import PreprocessConfig


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
    assert not head_of(net)._forward_hooks


class Meeting(nn.Module):
    """Lets nobody on before two threads are in it."""

    def __init__(self):
        super().__init__()
        self.barrier = threading.Barrier(2)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        self.barrier.wait(timeout=30)
        outputs = self.head(x.mean((2, 3)))
        self.barrier.wait(timeout=30)
        return outputs


def test_two_sessions_that_share_a_network_hear_their_own_features_only():
    net, images = Meeting().eval(), torch.rand(2, 5, 4, 8, 8)
    plain = PreprocessConfig(normalise="none", stretch="none")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda x: logits_and_features(net, x, plain, False), images))
    for x, (outputs, found) in zip(images, answers, strict=True):
        torch.testing.assert_close(found, x.mean((2, 3)))
        torch.testing.assert_close(outputs, net.head(found))
