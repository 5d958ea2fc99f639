"""A workspace of its own for each test, small images, and the real ones where they are at hand."""

from pathlib import Path

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """The workspace folder."""
    monkeypatch.setenv("DEEPLENSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def real_data():
    """Folder of real images."""
    if not REAL.is_dir():
        pytest.skip("the real images are not beside this checkout, in ../shared/data")
    return REAL


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def make_dataset(tmp_path):
    """Makes a small data set: (name, images (n,c,h,w), labels, **more columns) -> Dataset."""

    def make(name, images, labels, classes=None, batch=16, **columns):
        classes = classes or tuple(sorted({label for label in labels if label}))
        with DatasetWriter(tmp_path / name, classes=classes, shape=images.shape[1:], source={}) as writer:
            for start in range(0, len(images), batch):
                part = slice(start, start + batch)
                rows = {"label": labels[part], **{key: value[part] for key, value in columns.items()}}
                writer.append(images[part], rows)
            return writer.finish()

    return make
