"""The last layer that begins as a linear probe: equal to the probe, with and without batch norm, or left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deeplense_core.ssl.first_head import begin_as_probe
from deeplense_core.ssl.probes import linear_probe


class Net(nn.Module):
    """Pixels as features, then a head of some layers."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, images):
        return self.head(images.flatten(1))


def lots(classes: int, count: int = 90):
    """Images (n, 1, 2, 3) that tell ``classes`` apart, and their labels."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=count)
    images = rng.normal(5.0, 2.0, size=(count, 1, 2, 3))
    images[:, 0, 0, 0] += 3 * labels
    return torch.from_numpy(images).float(), torch.from_numpy(labels)


def in_two(images, labels):
    return [(images[:40], labels[:40]), (images[40:], labels[40:])]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("layers", [(), (nn.Dropout(0.5),), (nn.BatchNorm1d(6, eps=0), nn.Dropout(0.5))],
                         ids=["bare", "dropout", "batch norm"])
def test_its_probabilities_are_those_of_the_probe(classes, layers):
    images, labels = lots(classes)
    net = Net(nn.Sequential(*layers, nn.Linear(6, classes)))
    begin_as_probe(net, in_two(images, labels), classes)
    with torch.no_grad():
        said = net.eval()(images).softmax(1).numpy()
    features = images.flatten(1).numpy().astype(np.float64)
    np.testing.assert_allclose(said, linear_probe(features, labels.numpy(), features, classes), atol=1e-5)
    assert np.mean(said.argmax(1) == labels.numpy()) > 0.7
    assert "a linear probe of 90 images" in net.weights_origin  # pyright: ignore[reportOperatorIssue]


def test_images_without_a_label_teach_nothing():
    images, labels = lots(3)
    some, all_of_them = Net(nn.Linear(6, 3)), Net(nn.Linear(6, 3))
    hidden = torch.where(torch.arange(90) < 50, labels, -1)
    begin_as_probe(some, in_two(images, hidden), 3)
    begin_as_probe(all_of_them, [(images[:50], labels[:50])], 3)
    assert torch.equal(some.head.weight, all_of_them.head.weight)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("head", "hidden"), [
    (nn.Linear(6, 3), 2), (nn.Linear(6, 3), None), (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)), -1),
], ids=["a class without an image", "no label at all", "two layers"])  # fmt: skip
def test_otherwise_it_is_left_alone(head, hidden):
    images, labels = lots(3)
    labels = torch.where(labels == hidden, -1, labels) if hidden is not None else torch.full_like(labels, -1)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    net = Net(head)
    begin_as_probe(net, in_two(images, labels), 3)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert not hasattr(net, "weights_origin")
