"""What a classifier knows of an image before its last layers decide: the vector that its head reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.hooks import listening

HEADS = ("head", "fc", "classifier")
"""Names under which the networks of this project, torchvision and timm keep their last layers."""


def head_of(net: nn.Module) -> nn.Module:
    """The last layers of a network, those that turn its features into outputs.

    An encoder, built with ``out_features=0``, has the identity there: its features are its output.
    """
    get_classifier: Any = getattr(net, "get_classifier", None)
    if get_classifier is not None:  # timm
        return get_classifier()
    return next(getattr(net, name) for name in HEADS if hasattr(net, name))


@contextmanager
def head_inputs(net: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets the features (b, d) of each pass of ``net`` within the block."""
    caught: list[Tensor] = []
    with listening([head_of(net)], lambda inputs, _: caught.append(inputs[0].flatten(1))):
        yield caught


def features(net: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """Features of preprocessed images, the input of :func:`head_of`; gradients flow through them."""
    with head_inputs(net) as caught:
        net(images)
    return caught[0]


def feature_size(net: nn.Module) -> int:
    """Length d of the vectors that :func:`features` gives."""
    linear = next(m for m in head_of(net).modules() if isinstance(m, (nn.Linear, nn.BatchNorm1d)))
    return linear.in_features if isinstance(linear, nn.Linear) else linear.num_features
