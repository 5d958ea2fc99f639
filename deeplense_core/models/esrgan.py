"""ESRGAN: a generator of dense blocks within residual blocks, and the discriminator it is trained against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deeplense_core.models.names import MODELS
from deeplense_core.models.superres_net import OverBicubic, SubPixel, conv, initialise, sub_pixel_reach
from deeplense_core.spec import knob

RESIDUAL_SCALE = 0.2
SLOPE = 0.2
"""Of the leaky ReLU; both as in the paper."""
DENSE_LAYERS, DENSE_BLOCKS = 5, 3
SMALLEST = 16
"""Side of the smallest image that the discriminator can judge: it halves it four times."""


@dataclass(frozen=True)
class EsrganConfig:
    width: int = knob(24, "Channels", ge=4, le=128, quick=16)
    growth: int = knob(12, "Channels that each layer of a dense block adds", ge=4, le=64, quick=8)
    blocks: int = knob(2, "Residual-in-residual dense blocks", ge=1, le=32, quick=1)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        outputs = [growth] * (DENSE_LAYERS - 1) + [width]
        self.layers = nn.ModuleList(conv(width + i * growth, out) for i, out in enumerate(outputs))

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers[:-1]:
            seen = torch.cat((seen, nn.functional.leaky_relu(layer(seen), SLOPE)), 1)
        return x + RESIDUAL_SCALE * self.layers[-1](seen)


class ResidualDense(nn.Module):
    """RRDB: three dense blocks, and a skip around them."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.blocks(x)


class RrdbBody(nn.Module):
    """The generator: head, RRDBs with a skip around them all, sub-pixel upsampling, two last convolutions."""

    def __init__(self, cfg: EsrganConfig, channels: int, scale: int):
        super().__init__()
        self.head = conv(channels, cfg.width)
        self.blocks = nn.Sequential(*(ResidualDense(cfg.width, cfg.growth) for _ in range(cfg.blocks)),
                                    conv(cfg.width, cfg.width))
        self.up = SubPixel(cfg.width, scale)
        self.tail = nn.Sequential(nn.LeakyReLU(SLOPE), conv(cfg.width, channels))
        initialise(self, self.tail[1])  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        x = x + self.blocks(x)
        return self.tail(self.up(x))


@MODELS.register("esrgan", config=EsrganConfig, tasks=("superres",), source="Wang et al. 2018, arXiv:1809.00219",
                 label="ESRGAN", learns=True,
                 defaults={"adversarial": 0.2, "perceptual": 3.0, "perceptual_layer": "conv3_4", "warm_up": 0.35,
                           "crop": 32, "batch_size": 8})
def esrgan(cfg: EsrganConfig, in_channels: int, scale: int, unit: float) -> nn.Module:
    """ESRGAN's generator, dense blocks within residual blocks; trained against a discriminator."""
    reach = 2 + DENSE_BLOCKS * DENSE_LAYERS * cfg.blocks + sub_pixel_reach(scale)
    return OverBicubic(RrdbBody(cfg, in_channels, scale), scale, unit, reach)


class Discriminator(nn.Module):
    """Tells observed fine images from made ones: one logit an image, whatever its size.

    Spectral norm (Miyato et al. 2018, arXiv:1802.05957) on every layer bounds its slope, so that it cannot run away
    from the generator; no batch norm, which would let images of a batch see each other.
    """

    def __init__(self, channels: int, width: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for outputs in (width, 2 * width, 4 * width, 4 * width):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1)), nn.LeakyReLU(SLOPE),
                       spectral_norm(nn.Conv2d(outputs, outputs, 4, stride=2, padding=1)), nn.LeakyReLU(SLOPE)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.judge = spectral_norm(nn.Linear(inputs, 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return self.judge(self.features(images).mean((-2, -1)))[:, 0]
