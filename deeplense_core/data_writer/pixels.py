"""A file of pixels on its way to disk: streamed, hashed, and given its true length at the end."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from deeplense_core.data_writer.rows import sync_and_close

HEADER_BYTES = 128
"""Length of the header; fixed, so that it can be rewritten once the count is known."""


class PixelFile:
    """A float32 ``.npy`` file of ``(n, *shape)``, its n unknown until the end."""

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self._shape = shape
        self._hash = hashlib.sha256()
        self._file = open(path, "wb")  # noqa: SIM115 (held while writing)
        self._file.write(_npy_header((0, *shape)))

    def write(self, pixels: np.ndarray) -> None:
        """Adds a batch, little-endian float32 in C order."""
        self._file.write(pixels.data)
        self._hash.update(pixels.data)

    def finish(self, count: int) -> str:
        """Completes the file for ``count`` images; returns the sha256 of its pixels."""
        self._file.seek(0)
        self._file.write(_npy_header((count, *self._shape)))
        sync_and_close(self._file)
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Lets go of the file; a full disk refuses the last buffered bytes too, and they are not wanted."""
        with suppress(OSError):
            self._file.close()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """Header of a float32 ``.npy`` file (format 1.0), padded to HEADER_BYTES."""
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    padding = HEADER_BYTES - 10 - len(text) - 1
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text + b" " * padding + b"\n"
