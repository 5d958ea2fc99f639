"""What tests of super-resolution share."""

import pytest

from deeplense_core.losses import perceptual


@pytest.fixture
def quick_features(monkeypatch):
    """VGG19 as it is built, without asking any network for its weights."""
    monkeypatch.setattr(perceptual, "_load_torchvision", lambda net: setattr(net, "origin", "no weights"))
    perceptual.vgg19.cache_clear()
    yield
    perceptual.vgg19.cache_clear()
