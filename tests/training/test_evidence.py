"""Evidence maps find what was planted, and are what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deeplense_core.augment import d4, d4_undone
from deeplense_core.evidence import grad_cam, log_odds, occlusion, turned_grad_cam
from deeplense_core.models import build_model, model_entry, model_names
from deeplense_core.models.d4net import polar_grid
from deeplense_core.preprocess import center_crop, rescale, rescaled_size, undo_fit
from deeplense_core.spec import knobs

SIDE = 32


class Corner(nn.Module):
    """Class 1 is as likely as the upper right corner is bright; nothing else counts."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.AvgPool2d(4)

    def forward(self, x):
        bright = self.smooth(x)[:, 0, :2, -2:].mean((1, 2))
        return torch.stack([torch.zeros_like(bright), 5 * bright - 2], 1)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) + 0.5


def share_in_corner(found: torch.Tensor) -> float:
    return float(found[:8, -8:].abs().sum() / found.abs().sum())


def test_log_odds_are_those_of_the_softmax():
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    p = z.softmax(1)
    for c in range(4):
        torch.testing.assert_close(log_odds(z, c), torch.log(p[:, c] / (1 - p[:, c])))
    one = torch.tensor([[2.0]])
    assert (log_odds(one, 1).item(), log_odds(one, 0).item()) == (2.0, -2.0)


def test_planted_evidence_is_found(image):
    net = Corner().eval()
    cam = grad_cam(net, image, 1)[0]
    assert cam.shape == (SIDE, SIDE)
    assert share_in_corner(cam) > 0.8, "the map has pixels of 4, drawn smooth"
    assert cam[16:].max() == 0
    assert cam[:, :16].max() == 0
    covered = occlusion(net, image, 1, 8, 4)
    # Squares that reach the corner reach beyond it by up to their side.
    assert covered[:8, -8:].abs().min() > 0
    assert covered[16:].abs().max() == 0
    assert covered[:, :16].abs().max() == 0


def test_grad_cam_shows_the_features_that_are_read(image):
    """Two feature maps, of which the head reads one: the map is that one."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            self.head = nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.conv.weight[:] = torch.tensor([1.0, -1.0])[:, None, None, None]
                self.head.weight[:] = torch.tensor([[0.0, 0.0], [3.0, 0.0]])

        def forward(self, x):
            return self.head(self.conv(x).mean((2, 3)))

    found = grad_cam(Net().eval(), image, 1)[0]
    torch.testing.assert_close(found / found.max(), image[0, 0] / image.max())
    assert grad_cam(Net().eval(), image, 0).abs().max() == 0, "what speaks against a class is cut off"


@pytest.mark.parametrize(("size", "stride"), [(7, 3), (8, 8), (40, 5)])
def test_occlusion_equals_brute_force(size, stride):
    gen = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 2, 20, 23, generator=gen)
    image = torch.rand(1, 2, 20, 23, generator=gen)

    def net(x):
        return torch.einsum("bchw,kchw->bk", x, weight).tanh()

    total, count = np.zeros((20, 23)), np.zeros((20, 23))
    frame = np.ones((20, 23), bool)
    frame[1:-1, 1:-1] = False
    sky = [torch.sort(image[0, c][torch.from_numpy(frame)]).values[(frame.sum() - 1) // 2] for c in range(2)]
    rows = sorted({*range(0, max(0, 20 - size), stride), max(0, 20 - size)})
    columns = sorted({*range(0, max(0, 23 - size), stride), max(0, 23 - size)})
    for y in rows:
        for x in columns:
            covered = image.clone()
            for c in range(2):
                covered[0, c, y : y + size, x : x + size] = sky[c]
            fall = (log_odds(net(image), 2) - log_odds(net(covered), 2)).item()
            total[y : y + size, x : x + size] += fall
            count[y : y + size, x : x + size] += 1
    assert count.min() >= 1, "every pixel is covered at least once"
    np.testing.assert_allclose(occlusion(net, image, 2, size, stride).numpy(), total / count, atol=1e-5)


@pytest.mark.parametrize("name", [*model_names("classify"), "timm:test_resnet", "timm:test_convnext", "timm:test_vit"])
def test_grad_cam_of_every_network(name):
    torch.manual_seed(0)
    size = 160 if name == "timm:test_vit" else 64
    settings = {"pretrained": False} if "pretrained" in knobs(model_entry(name).config) else {}
    net = build_model(name, settings, in_channels=1, out_features=3).eval()
    images = torch.rand(2, 1, size, size)
    found = torch.stack([grad_cam(net, images, target) for target in range(3)])
    assert found.shape == (3, 2, size, size)
    assert found.isfinite().all()
    assert (found >= 0).all()
    assert found.max() > 0
    assert not any(module._forward_hooks for module in net.modules()), "hooks are taken off again"


@pytest.fixture(scope="module")
def d4net() -> nn.Module:
    torch.manual_seed(1)
    net = build_model("d4net", {"width": 4}, in_channels=1, out_features=3)
    for norm in (m for m in net.modules() if type(m).__name__ == "MirrorNorm"):
        nn.init.uniform_(norm.weight, 0.5, 1.5)  # blocks start as the identity; these are as if trained
    return net.eval()


@pytest.mark.parametrize("element", range(8))
def test_evidence_turns_with_the_image(d4net, image, element):
    cam = grad_cam(d4net, image, 2)
    torch.testing.assert_close(grad_cam(d4net, d4(image, element), 2), d4(cam, element), atol=2e-5, rtol=1e-3)
    torch.testing.assert_close(d4_undone(d4(image, element), element), image)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    turned = turned_grad_cam(conv, d4(image, element), 1)
    torch.testing.assert_close(turned, d4(turned_grad_cam(conv, image, 1)[None, None], element)[0, 0])


def test_polar_maps_come_back_to_the_sky(d4net):
    """A map that is a known function of the position, sampled on the polar grid, is that function again."""
    radii, angles = 48, 192
    grid = polar_grid(radii, angles)[0]
    polar = (1 + 0.5 * grid[..., 0] - 0.3 * grid[..., 1])[None]  # (1, r, a), linear in x and y
    sky = d4net.to_sky(polar, (60, 80))[0]
    y, x = np.mgrid[:60, :80]
    y, x = (2 * y + 1 - 60) / 60, (2 * x + 1 - 80) / 60
    inside = np.hypot(x, y) < 1 - 1 / radii
    expected = 1 + 0.5 * x - 0.3 * y
    assert np.abs(sky.numpy() - expected)[inside & (np.hypot(x, y) > 1 / radii)].max() < 5e-3
    assert np.abs(sky.numpy()[np.hypot(x, y) > 1]).max() == 0


@pytest.mark.parametrize(("shape", "factor"), [((150, 150), 1.0), ((75, 75), 2.0), ((300, 280), 0.5), ((51, 90), 1.7),
                                               ((90, 91), 1.0)])  # fmt: skip
def test_maps_are_laid_back_where_the_image_came_from(shape, factor):
    """A spot sent through the steps of an image and back is where it was."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = 0.55 * shape[0], 0.42 * shape[1]
    spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (3 / min(1, factor)) ** 2)).astype(np.float32)
    image = torch.from_numpy(spot)[None, None]
    seen = center_crop(center_crop(rescale(image, factor), 150), 100)[0, 0]
    back = undo_fit(seen, shape, rescaled_size(shape, factor), [150, 100]).numpy()
    weights = back / back.sum()
    assert np.hypot((weights * y).sum() - cy, (weights * x).sum() - cx) < 0.1
    assert np.abs(back - spot).max() < 0.1
