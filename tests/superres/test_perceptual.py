"""Features of VGG19: weights from a file, distances that are 0 for equal images alone, and one view for all."""

import numpy as np
import pytest
import torch

from deeplense_core.errors import UserError
from deeplense_core.losses import perceptual
from deeplense_core.losses.perceptual import LAYERS, Vgg19, perceptual_distance, perceptual_loss, view


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Vgg19().eval().requires_grad_(False)


def test_weights_come_from_the_file_that_is_named(net, tmp_path, monkeypatch):
    path = tmp_path / "vgg.pth"
    torch.save(net.state_dict(), path)
    monkeypatch.setenv(perceptual.FILE_VARIABLE, str(path))
    perceptual.vgg19.cache_clear()
    found = perceptual.vgg19()
    perceptual.vgg19.cache_clear()
    assert "from a file" in found.origin
    images = torch.rand(1, 3, 16, 16)
    for name, response in net(images, LAYERS).items():
        assert torch.allclose(found(images, (name,))[name], response, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x80\x02K\x01."], ids=["empty", "text", "a pickle"])
def test_a_file_of_something_else_is_one_message(content, tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"does not hold VGG19's convolutions: \w.*\. Unset it"):
        perceptual._load_file(Vgg19(), path)


def test_other_weights_are_one_message(tmp_path):
    for number, saved in enumerate(([1, 2], {"a": 1}, {str(i): torch.zeros(1) for i in range(34)})):
        torch.save(saved, tmp_path / f"{number}.pth")
        with pytest.raises(UserError, match="does not hold VGG19's convolutions"):
            perceptual._load_file(Vgg19(), tmp_path / f"{number}.pth")


def test_only_equal_images_are_at_no_distance(net):
    torch.manual_seed(1)
    images = torch.rand(3, 1, 32, 32)
    near, far = images + 0.01 * torch.randn_like(images), images + 0.3 * torch.randn_like(images)
    assert perceptual_distance(net, images, images).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert (perceptual_distance(net, near, images) > 0).all()
    assert (perceptual_distance(net, near, images) < perceptual_distance(net, far, images)).all()
    assert perceptual_loss(net, images, images, "conv2_2") == 0
    assert 0 < perceptual_loss(net, near, images, "conv2_2") < perceptual_loss(net, far, images, "conv2_2")


def test_the_loss_does_not_depend_on_how_weights_are_normalised(net):
    torch.manual_seed(2)
    images, made = torch.rand(2, 1, 2, 1, 16, 16).flatten(1, 2)
    before = perceptual_loss(net, made, images, "conv1_1")
    scaled = Vgg19().requires_grad_(False)
    scaled.load_state_dict(net.state_dict())
    for parameter in scaled.convolutions[0].parameters():
        parameter.mul_(7)
    assert perceptual_loss(scaled, made, images, "conv1_1") == pytest.approx(before.item(), rel=1e-5)


def test_the_view_is_one_for_all_images():
    """About linear for faint light, logarithmic for bright, 1 at ten times the unit."""
    seen = view(torch.tensor([0.0, 0.01, 0.02, 100.0, 500.0, 1000.0]), 100.0)
    assert seen[0] == 0
    assert seen[2] == pytest.approx(2 * seen[1].item(), rel=1e-4)
    assert seen[-1] == pytest.approx(1, abs=1e-6)
    assert (seen[-1] - seen[-2]).item() == pytest.approx(np.log(2) / np.arcsinh(100), rel=1e-3)
