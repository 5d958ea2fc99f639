"""Where in an image a network finds its answer: two maps that ask it in different ways.

Both are of the log odds of one class, ``log(p / (1 - p))``. Neither says why: a map shows where the network
looks, which need not be where a lens modeller would look, and says nothing about whether the answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.augment import d4, d4_undone
from deeplense_core.lanes import side_by_side
from deeplense_core.models.hooks import listening

BATCH = 64
Network = Callable[[Tensor], Tensor]


def log_odds(logits: Float[Tensor, "b k"], target: int) -> Float[Tensor, " b"]:
    """log(p / (1 - p)) of one class; a single logit is the log odds itself."""
    if logits.shape[1] == 1:
        return logits[:, 0] if target else -logits[:, 0]
    others = [c for c in range(logits.shape[1]) if c != target]
    return logits[:, target] - logits[:, others].logsumexp(1)


def grad_cam(net: nn.Module, images: Float[Tensor, "b c h w"], target: int) -> Float[Tensor, "b h w"]:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of the log odds of a class, 0 or more.

    The last feature map with an extent times the gradient with respect to it, summed over channels; what speaks
    against the class is cut off. The gradient is kept in its place and not averaged first (HiResCAM, Draelos &
    Carin 2020, arXiv:2011.08891): behind a global mean the two agree, and elsewhere the average would light up
    places that the network does not read. The map is as coarse as those features. Networks whose features do not
    lie on the image's own grid bring them back themselves (``to_sky(map, size)``).

    Args:
        net: In evaluation mode.
        images: Preprocessed.
        target: Number of the class.
    """
    with torch.enable_grad(), _spatial_outputs(net) as maps:
        asked = log_odds(net(images.detach().requires_grad_()).float(), target).sum()
        found, gradient = _last_used(asked, maps)
    coarse = (gradient * found).sum(1).relu().detach().float()
    size = (images.shape[-2], images.shape[-1])
    if hasattr(net, "to_sky"):
        return net.to_sky(coarse, size)  # pyright: ignore[reportCallIssue]
    return F.interpolate(coarse[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def turned_grad_cam(net: nn.Module, image: Float[Tensor, "1 c h w"], target: int) -> Float[Tensor, "h w"]:
    """The mean Grad-CAM over the eight flips and quarter turns, for answers that are such a mean too."""
    maps = grad_cam(net, torch.cat([d4(image, element) for element in range(8)]), target)
    return torch.stack([d4_undone(maps[e], e) for e in range(8)]).mean(0)


@contextmanager
def _spatial_outputs(net: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets every (b, c, h, w) output of a part of the network that has an extent, in order."""
    caught: list[Tensor] = []

    def keep(_inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            caught.append(output)

    with listening((module for module in net.modules() if module is not net), keep):
        yield caught


def _last_used(asked: Tensor, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The last of the maps on which ``asked`` depends, and the gradient with respect to it."""
    for found in reversed(maps):
        gradient = torch.autograd.grad(asked, found, retain_graph=True, allow_unused=True)[0]
        if gradient is not None:
            return found, gradient
    raise TypeError("the network has no feature map with an extent: Grad-CAM cannot be drawn")


@torch.no_grad()
def occlusion(
    net: Network, image: Float[Tensor, "1 c h w"], target: int, size: int, stride: int
) -> Float[Tensor, "h w"]:
    """How far the log odds of a class fall when a square of the image is covered (Zeiler & Fergus 2014,
    arXiv:1311.2901).

    The square takes the value of the sky, the median of the outermost pixels of each band. Squares stand
    ``stride`` apart, the last ones flush with the border; a pixel gets the mean over the squares on it. Above 0:
    the network needs what is there; below 0: it speaks against the class.

    Args:
        net: Preprocessed images to logits.
        image: Preprocessed.
        target: Number of the class.
        size: Side of the square in pixels.
        stride: From one square to the next.
    """
    _, _, height, width = image.shape
    tops, lefts = _places(height, size, stride), _places(width, size, stride)
    sky = _border(image).median(-1).values[0, :, None, None]
    corners = [(top, left) for top in tops for left in lefts]
    whole = log_odds(net(image).float(), target)
    total, count = torch.zeros(height, width, device=image.device), torch.zeros(height, width, device=image.device)

    @torch.no_grad()
    def falls(block: list[tuple[int, int]]) -> Tensor:
        covered = image.repeat(len(block), 1, 1, 1)
        for i, (top, left) in enumerate(block):
            covered[i, :, top : top + size, left : left + size] = sky
        return whole - log_odds(net(covered).float(), target)

    blocks = [corners[start : start + BATCH] for start in range(0, len(corners), BATCH)]
    for block, found in zip(blocks, side_by_side(falls, blocks, image.device), strict=True):
        for fall, (top, left) in zip(found, block, strict=True):
            total[top : top + size, left : left + size] += fall
            count[top : top + size, left : left + size] += 1
    return total / count.clamp_min(1)


def _places(length: int, size: int, stride: int) -> list[int]:
    last = max(0, length - size)
    return sorted({*range(0, last, stride), last})


def _border(image: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c n"]:
    """The outermost pixels of each band."""
    rows = image[:, :, [0, -1]].flatten(2)
    return torch.cat([rows, image[:, :, 1:-1, [0, -1]].flatten(2)], 2)
