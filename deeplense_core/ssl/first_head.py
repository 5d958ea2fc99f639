"""Where the last layer of a classifier begins that starts from an encoder: as a linear probe of its features.

A random layer would send its errors into features that were right, and with few labels they never recover: Kumar et
al. 2022, arXiv:2202.10054.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deeplense_core.models.features import head_of
from deeplense_core.models.hooks import listening
from deeplense_core.ssl.probes import probe_weights


@torch.no_grad()
def begin_as_probe(
    net: nn.Module, batches: Iterable[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]], classes: int
) -> None:
    """Fits the last layer of ``net`` to what its features tell of labelled images; the rest stays as it is.

    Batch norm between the features and the last layer gets their mean and variance. Where a class has no image, or
    the last layers are more than one, nothing changes.

    Args:
        net: A network whose features are trained and whose last layer is new.
        batches: Preprocessed images and their labels, -1 where there is none.
        classes: How many the last layer tells apart.
    """
    layers = [part for part in head_of(net).modules() if isinstance(part, nn.Linear)]
    if len(layers) != 1 or layers[0].out_features != classes:
        return
    last, (features, labels) = layers[0], told(net, batches)
    if len(np.unique(labels)) < classes:
        return
    weight, bias, mean, spread = probe_weights(features, labels, classes)
    norms = [part for part in head_of(net).modules() if isinstance(part, nn.BatchNorm1d)]
    for norm in norms:
        _put(norm.running_mean, mean)
        _put(norm.running_var, spread**2)
    if not norms:
        weight = weight / spread
        bias = bias - weight @ mean
    _put(last.weight, weight)
    _put(last.bias, bias)
    net.weights_origin = (  # pyright: ignore[reportArgumentType]
        f"{getattr(net, 'weights_origin', '')}; last layer: a linear probe of {len(labels):,} images")


def told(
    net: nn.Module, batches: Iterable[tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]]
) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
    """What the head of ``net`` reads of the labelled images, and their labels."""
    features, labels = [], []
    net.eval()
    with listening([head_of(net)], lambda inputs, _: features.append(inputs[0].flatten(1).double().cpu().numpy())):
        for images, truth in batches:
            if len(images := images[truth >= 0]):
                net(images)
                labels.append(truth[truth >= 0].cpu().numpy())
    if not labels:
        return np.zeros((0, 1)), np.zeros(0, int)
    return np.concatenate(features), np.concatenate(labels)


def _put(place: Tensor | None, values: np.ndarray) -> None:
    assert place is not None  # norms here keep their statistics
    place.copy_(torch.from_numpy(values))
