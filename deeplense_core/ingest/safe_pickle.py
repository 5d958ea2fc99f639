"""Reads the pickled ``[image, mass]`` arrays that some published sets hold, without running anything in them.

A pickle is a program. This reader never hands it a real function or class: every name it asks for is looked
up in a short table of numpy's own array builders, and answered by a stand-in that only notes its arguments.
The arrays are put together afterwards, from the notes, with every size checked.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import IO, Any

import numpy as np

from deeplense_core.images import BadImageError, check_size, npy_header

MAX_BYTES = 256 * 2**20
"""Largest pickle that is looked at."""

_ROLES = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "empty" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "buffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "class",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",
}


class _Refused(pickle.UnpicklingError):
    """The pickle asks for something that an array of numbers does not need."""


class _DType:
    """Notes of a dtype: its code (``f8``) and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        plain = isinstance(self.code, str) and re.fullmatch(r"b1|[iu][1248]|f[248]", self.code)
        if not plain or self.order not in ("<", ">", "=", "|"):
            raise _Refused(f"an array of {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Notes of an array: what numpy would be told to fill it with."""

    __slots__ = ("data", "dtype", "fortran", "shape")

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def numpy(self) -> np.ndarray:
        """The array; raises where size and shape do not fit."""
        if not isinstance(self.dtype, _DType) or not isinstance(self.data, (bytes, bytearray, str)):
            raise _Refused("an array whose content is not plain numbers")
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data  # str: from Python 2
        shape = tuple(int(n) for n in self.shape)
        check_size(math.prod(shape), shape, "a pickled array")
        return np.frombuffer(data, self.dtype.numpy()).reshape(shape, order="F" if self.fortran else "C")


class _StandIn:
    """What the pickle gets instead of a function or class of numpy; it cannot be altered by the pickle."""

    __slots__ = ("role",)

    def __init__(self, role: str):
        self.role = role

    def __setstate__(self, state: Any) -> None:
        raise _Refused("changing what builds arrays")

    def __call__(self, *args: Any) -> Any:
        if self.role == "empty":
            return _Array()
        if self.role == "dtype":
            return _DType(args[0])
        if self.role == "bytes" and args[1] == "latin1":
            return args[0].encode("latin1")
        if self.role in ("scalar", "buffer"):
            data, dtype = args[:2] if self.role == "buffer" else args[1::-1]
            shape, fortran = (args[2], args[3] == "F") if self.role == "buffer" else ((), False)
            array = _Array()
            array.__setstate__((1, shape, dtype, fortran, data))
            return array
        raise _Refused(f"calling numpy's {self.role}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ROLES:
            raise _Refused(f"{module_name}.{global_name}")
        return _StandIn(_ROLES[module_name, global_name])


def read_image_and_mass(file: IO[bytes], name: str, size: int) -> tuple[np.ndarray, float | None]:
    """The image, and the mass where there is one, of a pickled ``.npy`` file ``[image, mass]``.

    Args:
        file: A ``.npy`` file with an object array, at its start.
        name: What messages call it.
        size: Bytes there are.

    Returns:
        ``(image array, mass or None)``.

    Raises:
        BadImageError: when anything but arrays of numbers is in it, or it is damaged.
    """
    if size > MAX_BYTES:
        raise BadImageError("too large", f"{name!r} is a pickle of more than {MAX_BYTES // 2**20} MB.")
    npy_header(file, name)
    try:
        held = _Unpickler(file, encoding="latin1").load()
        return _image_and_mass(held)
    except _Refused as err:
        raise BadImageError(
            "unsafe pickle",
            f"{name!r} asks for more than arrays of numbers ({err}); it was not opened. "
            "Save the pixels as a plain array.",
        ) from err
    except BadImageError:
        raise
    except Exception as err:  # hostile bytes make the unpickler raise nearly anything
        raise BadImageError("damaged file", f"{name!r} is a damaged pickle. Copy it again.") from err


def _image_and_mass(held: Any) -> tuple[np.ndarray, float | None]:
    parts = held.data if isinstance(held, _Array) and isinstance(held.data, list) else [held]
    arrays = [part.numpy() if isinstance(part, _Array) else np.array(_number(part)) for part in parts]
    images = [array for array in arrays if array.ndim >= 2]
    masses = [array for array in arrays if array.size == 1]
    if len(images) != 1 or len(images) + len(masses) != len(arrays) or len(masses) > 1:
        raise _Refused(f"{len(arrays)} things where an image and a mass are expected")
    return images[0], float(masses[0].reshape(())) if masses else None


def _number(part: Any) -> float:
    if isinstance(part, (int, float)):
        return float(part)
    raise _Refused(f"a {type(part).__name__}")
