"""D4Net: our own small network for centred lenses, exactly equivariant to flips and quarter turns.

The image is first read off on a polar grid around its centre. There a ring is a straight line, a rotation
is a shift along the angle and a flip is a reversal of it, so ordinary circular convolutions are equivariant
to rotations and, with each filter paired with its mirror image, to flips. Because the grid has a multiple of
four angles, offset by half a step, the eight flips and quarter turns of the pixel grid are shifts and
reversals *exactly*: averaging over the angle and over the mirror pair makes the output invariant.

After Cohen & Welling 2016 (arXiv:1602.07576) for the paired filters and Esteves et al. 2018
(arXiv:1709.01889) for the polar grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.models.names import MODELS
from deeplense_core.spec import knob

STRIDE = 16
"""Total stride of the network along radius and angle: the stem and three stages halve the grid."""


@dataclass(frozen=True)
class D4NetConfig:
    width: int = knob(8, "Mirror pairs of channels in the first stage; later stages double it", ge=2, le=64)
    blocks: int = knob(1, "Residual blocks a stage", ge=1, le=8)
    radii: int = knob(48, "Samples along the radius, a multiple of 16", ge=16, le=256)
    angles: int = knob(192, "Samples along the angle, a multiple of 64", ge=64, le=1024)
    dropout: float = knob(0.0, "Dropout before the last layer", ge=0, le=0.9)


@MODELS.register("d4net", config=D4NetConfig, tasks=("classify", "find", "ssl"), label="D4Net (ours)",
                 source="Cohen & Welling 2016, arXiv:1602.07576; Esteves et al. 2018, arXiv:1709.01889")
class D4Net(nn.Module):
    """D4Net: small, exactly equivariant to flips and quarter turns, made for centred lenses."""

    d4_invariant = True
    compiling_pays = True  # on a CPU: its mirrored filters are many small steps
    grid: Tensor
    radius: Tensor

    def __init__(self, cfg: D4NetConfig, in_channels: int, out_features: int):
        super().__init__()
        radii, angles = -(-cfg.radii // STRIDE) * STRIDE, -(-cfg.angles // (4 * STRIDE)) * 4 * STRIDE
        self.register_buffer("grid", polar_grid(radii, angles), persistent=False)
        # Filters may depend on the radius, never on the angle: the radius is one more input channel.
        self.register_buffer("radius", torch.linspace(-1, 1, radii)[None, None, :, None], persistent=False)
        widths = [cfg.width * 2**i for i in range(4)]
        self.stem = nn.Sequential(MirrorConv(in_channels + 1, widths[0], 6, stride=2, lift=True),
                                  MirrorNorm(widths[0]), nn.ReLU())
        stages = []
        for i, width in enumerate(widths):
            for j in range(cfg.blocks):
                first = j == 0 and i > 0
                stages.append(Block(widths[i - 1] if first else width, width, halve=first))
        self.stages = nn.Sequential(*stages)
        self.head: nn.Module = nn.Identity()
        if out_features:
            self.head = nn.Sequential(nn.Dropout(cfg.dropout), nn.Linear(2 * widths[-1], out_features))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        b, _, h, w = images.shape
        side = min(h, w)
        grid = self.grid * torch.tensor([side / w, side / h], device=images.device)
        x = F.grid_sample(images, grid.expand(b, -1, -1, -1).to(images.dtype), align_corners=False)
        x = torch.cat([x, self.radius.to(x.dtype).expand(b, 1, -1, x.shape[-1])], 1)  # (b, c + 1, r, angle)
        x = self.stages(self.stem(x.contiguous(memory_format=torch.channels_last)))  # (b, 2 f, r / 16, angle / 16)
        x = x.unflatten(1, (2, -1)).flatten(3)  # (b, mirror, f, places)
        return self.head(torch.cat([x.mean((1, 3)), x.mean(1).amax(2)], 1))

    def to_sky(self, polar: Float[Tensor, "b r a"], size: tuple[int, int]) -> Float[Tensor, "b h w"]:
        """A map on this network's (radius, angle) grid as an image of ``size`` (h, w), interpolated linearly.

        It is 0 outside the largest circle in the image, which the network never sees.
        """
        (height, width), angles, side = size, polar.shape[2], min(size)
        y = (2 * torch.arange(height, device=polar.device)[:, None] + 1 - height) / side
        x = (2 * torch.arange(width, device=polar.device) + 1 - width) / side
        radius = torch.hypot(x, y)
        turn = torch.atan2(y, x.expand(height, -1)) / (2 * math.pi) % 1
        closed = F.pad(polar[:, None], (1, 1, 0, 0), mode="circular")
        places = torch.stack([(2 * turn * angles + 2) / (angles + 2) - 1, 2 * radius - 1], -1)  # (h, w, 2)
        sky = F.grid_sample(closed, places.to(polar).expand(len(polar), -1, -1, -1), padding_mode="border",
                            align_corners=False)  # fmt: skip
        return sky[:, 0] * (radius <= 1)


def polar_grid(radii: int, angles: int) -> Float[Tensor, "1 r a 2"]:
    """Where to sample, in units of the image's half side: x and y of each (radius, angle).

    One octant is computed and the others are its exact mirror images, so that no rounding of sines tells
    one quarter turn from another.
    """
    r = (torch.arange(radii, dtype=torch.float64) + 0.5) / radii
    quarter = angles // 4
    angle = (torch.arange(quarter, dtype=torch.float64) + 0.5) * (2 * math.pi / angles)
    cos = angle.cos()
    sin = cos.flip(0)  # sin(a) = cos(pi / 2 - a), and the samples lie symmetrically in the quadrant
    x = torch.cat([cos, -sin, -cos, sin])
    y = torch.cat([sin, cos, -sin, -cos])
    return torch.stack([r[:, None] * x, r[:, None] * y], -1)[None].float()


class MirrorConv(nn.Module):
    """Convolution on (radius, angle), circular in angle, each filter paired with its mirror image.

    Channels are ordered (mirror, field). ``lift`` takes plain channels; otherwise the input is paired too,
    and the mirrored filter also swaps the two halves of its input.
    """

    def __init__(self, fields_in: int, fields_out: int, size: int = 3, stride: int = 1, lift: bool = False):
        super().__init__()
        inputs = fields_in * (1 if lift else 2)
        scale = math.sqrt(2 / (inputs * size * size))
        self.weight = nn.Parameter(torch.randn(fields_out, inputs, size, size) * scale)
        self.stride, self.lift, self.pad = stride, lift, (size - stride) // 2

    def forward(self, x: Float[Tensor, "b c r a"]) -> Float[Tensor, "b c2 r2 a2"]:
        mirrored = self.weight.flip(3)
        if not self.lift:
            mirrored = mirrored.roll(mirrored.shape[1] // 2, 1)
        weight = torch.cat([self.weight, mirrored]).contiguous(memory_format=torch.channels_last)
        if self.pad:
            x = F.pad(x, (self.pad, self.pad, 0, 0), mode="circular")
        return F.conv2d(x, weight, stride=self.stride, padding=(self.pad, 0))


class MirrorNorm(nn.Module):
    """Batch norm whose scale, offset and running statistics are shared by both mirror images."""

    mean: Tensor
    var: Tensor

    def __init__(self, fields: int, momentum: float = 0.05):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(fields))
        self.bias = nn.Parameter(torch.zeros(fields))
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(fields))
        self.register_buffer("var", torch.ones(fields))

    def forward(self, x: Float[Tensor, "b c r a"]) -> Float[Tensor, "b c r a"]:
        mean, var = self.mean.repeat(2), self.var.repeat(2)
        y = F.batch_norm(x, mean, var, self.weight.repeat(2), self.bias.repeat(2), self.training, self.momentum)
        if self.training:
            with torch.no_grad():
                self.mean.copy_(mean.view(2, -1).mean(0))
                self.var.copy_(var.view(2, -1).mean(0))
        return y


class Block(nn.Module):
    """Residual block (He et al. 2016); ``halve`` halves radius and angle with an even, symmetric kernel."""

    def __init__(self, fields_in: int, fields_out: int, halve: bool):
        super().__init__()
        first = MirrorConv(fields_in, fields_out, 4, stride=2) if halve else MirrorConv(fields_in, fields_out)
        last = MirrorNorm(fields_out)
        nn.init.zeros_(last.weight)  # each block starts as the identity
        self.body = nn.Sequential(first, MirrorNorm(fields_out), nn.ReLU(),
                                  MirrorConv(fields_out, fields_out), last)
        shortcut: list[nn.Module] = [nn.AvgPool2d(2)] if halve else []
        if fields_in != fields_out:
            shortcut += [MirrorConv(fields_in, fields_out, 1), MirrorNorm(fields_out)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "b c r a"]) -> Float[Tensor, "b c2 r2 a2"]:
        return F.relu(self.shortcut(x) + self.body(x))
