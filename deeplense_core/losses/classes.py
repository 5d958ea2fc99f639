"""Losses on class logits when one class is rare or many images carry no label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def class_loss(
    logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None,
    gamma: float = 0.0, smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the labelled images of a batch; 0 where there are none.

    Args:
        logits: Of any float type.
        labels: -1 where unlabelled: such images have no part in it.
        weights: Of the classes; the mean is weighted too, so that the loss keeps its scale.
        gamma: Of the focal loss (Lin et al. 2017, arXiv:1708.02002, eq. 4): each image counts ``(1 - p)^gamma``, p the
            probability of its class. 0 is plain cross-entropy.
        smoothing: Probability mass spread over all classes.
    """
    there = labels >= 0
    logits, labels = logits[there].float(), labels[there]
    if not len(labels):
        return logits.sum()  # 0, and a gradient of 0 for every weight
    each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    if gamma:
        own = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        each = each * (1 - own.exp()).clamp_min(0) ** gamma
    if weights is None:
        return each.mean()
    weight = weights.to(each)[labels]
    return (each * weight).sum() / weight.sum()


def balancing_weights(labels: Int[Tensor, " n"], classes: int) -> Float[Tensor, " k"]:
    """Weights that make every class count alike, 1 on average over the labelled images; 0 for a class without any."""
    counts = torch.bincount(labels[labels >= 0], minlength=classes).float()
    present = int((counts > 0).sum())
    return torch.where(counts > 0, counts.sum() / (max(1, present) * counts.clamp_min(1)), 0.0)
