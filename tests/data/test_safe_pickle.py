"""The restricted unpickler: published axion files open, and nothing in a pickle ever runs."""

import contextlib
import io
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplense_core.images import BadImageError
from deeplense_core.ingest import safe_pickle
from deeplense_core.ingest.safe_pickle import read_image_and_mass

IMAGE = np.arange(64.0).reshape(8, 8)


def pair(image, mass):
    held = np.empty(2, dtype=object)
    held[0], held[1] = image, mass
    return held


def object_npy(held, protocol=None, **options):
    """A .npy file with an object array, as numpy writes it or with another protocol of pickle."""
    file = io.BytesIO()
    np.save(file, held, allow_pickle=True)
    if protocol is None:
        return file.getvalue()
    return object_header() + pickle.dumps(held, protocol, **options)


def object_header():
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def read(content):
    return read_image_and_mass(io.BytesIO(content), "axion.npy", len(content))


MASSES = [1e-23, 3, np.float64(1e-23), np.float32(2.5), np.array(1e-23), np.array([1e-23])]


@pytest.mark.parametrize("mass", MASSES, ids=lambda m: type(m).__name__ + str(np.shape(m)))
@pytest.mark.parametrize("protocol", [None, 2, 3, 4, 5])
def test_image_and_mass_come_out(mass, protocol):
    image, read_mass = read(object_npy(pair(IMAGE, mass), protocol))
    np.testing.assert_array_equal(image, IMAGE)
    assert read_mass == float(np.asarray(mass).reshape(()))


@pytest.mark.parametrize("image", [IMAGE.astype(">f4"), IMAGE.astype("u1"), IMAGE.T, IMAGE[None], IMAGE > 5])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_dtypes_byte_orders_and_memory_orders(image, protocol):
    out, _ = read(object_npy(pair(image, 1.0), protocol))
    np.testing.assert_array_equal(out, image)
    assert out.dtype == image.dtype


def test_files_of_numpy_1_open():
    old = pickle.dumps(pair(IMAGE, 1e-22), 3).replace(b"numpy._core", b"numpy.core")
    image, mass = read(object_header() + old)
    np.testing.assert_array_equal(image, IMAGE)
    assert mass == 1e-22


def test_an_image_alone_has_no_mass():
    assert read(object_npy(IMAGE, 4))[1] is None


class Runs:
    """Unpickled, it calls what it was given."""

    def __init__(self, call, *args):
        self.call = (call, args)

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": lambda canary: Runs(os.system, f"touch {canary}"),
    "open": lambda canary: Runs(open, canary, "w"),
    "eval": lambda canary: Runs(eval, f"open({canary!r}, 'w')"),
    "exec": lambda canary: Runs(exec, f"open({canary!r}, 'w')"),
    "getattr": lambda canary: Runs(getattr, "text", "upper"),
    "numpy.save": lambda canary: Runs(np.save, canary, IMAGE),
    "numpy.load": lambda canary: Runs(np.load, canary),
    "numpy.fromfile": lambda canary: Runs(np.fromfile, canary),
    "import": lambda canary: Runs(__import__, "antigravity"),
    "itself": lambda canary: Runs(safe_pickle.read_image_and_mass, None, "x", 0),
    "set": lambda canary: {1},
    "dict": lambda canary: {"a": 1},
    "text": lambda canary: "text",
    "complex array": lambda canary: IMAGE.astype(complex),
    "object array": lambda canary: np.array([[1, 2], [3, None]], dtype=object),
    "record array": lambda canary: np.zeros((3, 3), "f4,f4"),
    "datetime array": lambda canary: np.zeros((3, 3), "M8[s]"),
    "two images": lambda canary: IMAGE,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("place", [0, 1])
def test_nothing_runs(tmp_path, hostile, place):
    canary = str(tmp_path / "canary")
    held = pair(IMAGE, IMAGE)
    held[place] = hostile(canary)
    with pytest.raises(BadImageError, match="asks for more than arrays of numbers") as caught:
        read(object_npy(held))
    assert caught.value.reason == "unsafe pickle"
    assert not os.path.exists(canary)


def scripted(*opcodes):
    return object_header() + b"\x80\x04" + b"".join(opcodes) + b"."


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"
SCRIPTS = {
    "state set on the builder": (scripted(RECONSTRUCT, b"}", b"b"), "unsafe pickle"),
    "class called": (scripted(NDARRAY, b"(K\x03t", b"R"), "unsafe pickle"),
    "codec of the attacker": (scripted(b"c_codecs\nencode\n", b"(\x8c\x01a\x8c\x05rot13t", b"R"), "unsafe pickle"),
    "data outside": (scripted(b"Pcanary\n"), "damaged file"),
    "extension registry": (scripted(b"\x82\x01"), "damaged file"),
    "stack underflow": (scripted(b"R"), "damaged file"),
    "nothing": (object_header(), "damaged file"),
    "claims 4 GB of bytes": (object_header() + b"\x80\x04B\xff\xff\xff\xffabc.", "damaged file"),
    "claims 8 EB of bytes": (object_header() + b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "damaged file"),
}


@pytest.mark.parametrize(("content", "reason"), SCRIPTS.values(), ids=SCRIPTS)
def test_hand_written_pickles(content, reason):
    with pytest.raises(BadImageError) as caught:
        read(content)
    assert caught.value.reason == reason


def test_shape_and_data_must_fit():
    content = object_npy(pair(IMAGE, 1.0), 2)
    assert content.count(b"K\x08K\x08\x86") == 1
    with pytest.raises(BadImageError, match="damaged pickle"):
        read(content.replace(b"K\x08K\x08\x86", b"K\x08K\x09\x86"))
    with pytest.raises(BadImageError, match="claims shape"):
        read(content.replace(b"K\x08K\x08\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"))


@settings(deadline=None, max_examples=300)
@given(data=st.data(), protocol=st.sampled_from([2, 4]))
def test_spoilt_pickles_never_raise_anything_else(data, protocol):
    content = bytearray(object_npy(pair(IMAGE[:2, :3], 1e-23), protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(80, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadImageError):
        assert isinstance(read(bytes(content))[0], np.ndarray)
