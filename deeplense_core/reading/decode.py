"""Files are opened here: in processes of their own, which can be crashed by a file and do no harm with it.

The app never parses what a stranger uploads. A worker process does, with 2 GB of memory, 20 s of processor time,
no network and no file but that one (:mod:`deeplense_core.reading.decode_seal`); it answers with pixels and a report,
and both are checked. Its death is one clear error for the file at hand.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from deeplense_core.images import LensImage
from deeplense_core.reading.decode_seal import CPU_S, WALL_S
from deeplense_core.reading.decode_wire import BrokenTalkError, receive, receive_into, send
from deeplense_core.reading.image_checks import MAX_CHANNELS, MAX_PIXELS, BadImageError
from deeplense_core.workspace import ROOT

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TMPDIR")
"""What of the environment the decoding processes get: nothing that could be a secret."""
_AT_ONCE = threading.BoundedSemaphore(4)
"""Uploads decoded at the same time, each with up to 2 GB."""
_DEATHS = {
    signal.SIGXCPU: f"took more than {CPU_S} s to be opened and was given up. Cut it smaller.",
    signal.SIGALRM: f"took more than {WALL_S} s to be opened and was given up. Try again, or cut it smaller.",
    signal.SIGKILL: "needed more memory or time than there is and was given up. Cut it smaller.",
}


def decode(path: Path, name: str, **options: Any) -> LensImage:
    """The image in a stranger's file, as :func:`deeplense_core.images.read_image` reads it with its sky position.

    Args:
        path: The file, which is never opened in this process.
        name: What messages call it.
        **options: ``hdu``, ``plane``, ``key``, ``channels``.

    Raises:
        BadImageError: on every file that is not one proper image, and on one that crashes the decoder.
    """
    with _AT_ONCE, Decoder(b"1") as decoder:
        return decoder.read(path, name, **options)


@dataclass(frozen=True)
class Member:
    """One file that was in a ZIP file."""

    name: str
    """As the ZIP file calls it: text, never a path."""
    path: Path
    """Where it is now."""
    sha256: str
    size: int
    refused: BadImageError | None = None
    """Why it could not be unpacked; then there is no file at ``path``."""


def unpack(path: Path, name: str, into: Path) -> list[Member] | None:
    """Writes the members of a ZIP file as ``into/0``, ``into/1`` ...

    Returns:
        One entry a member; None where the file is an NPZ.

    Raises:
        BadImageError: too many, too large, or damaged as a whole.
    """
    with _AT_ONCE, Decoder(b"1") as decoder:
        return decoder.unpack(path, name, into)


def start() -> None:
    """Starts the decoding process ahead of the first file; it is ready a second or two later."""
    with _FORKER.lock:
        _FORKER.control()


class Decoder:
    """A connection to one worker process, to be used by one thread; a dead worker is replaced at the next file.

    For many files of the user's own: there the worker goes on to the next file, and may read any file.
    """

    def __init__(self, kind: bytes = b"n"):
        self._kind = kind
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def read(self, path: Path, name: str, **options: Any) -> LensImage:
        """As :func:`decode`."""
        connection = self._ask({"what": "decode", "path": os.path.abspath(path), "name": name, "options": options})
        try:
            report = self._answer(connection, name)
            pixels = _pixels(connection, report)
            if bytes(receive_into(connection, bytearray(4))) != b"done":
                raise BrokenTalkError("no end")
            return _image(pixels, report)
        except (BrokenTalkError, KeyError, TypeError, ValueError) as err:
            self.close()
            raise _crashed(name) from err

    def unpack(self, path: Path, name: str, into: Path) -> list[Member] | None:
        """As :func:`unpack`."""
        connection = self._ask({"what": "unpack", "path": os.path.abspath(path), "name": name})
        try:
            return _members(self, connection, name, into)
        except (BrokenTalkError, KeyError, TypeError, ValueError) as err:
            self.close()
            raise _crashed(name) from err

    def _ask(self, request: dict[str, Any]) -> socket.socket:
        if self._connection is None:
            self._connection = _FORKER.connect(self._kind)
        try:
            send(self._connection, request)
        except OSError:  # the worker was ended from outside, while it had no file
            self.close()
            self._connection = _FORKER.connect(self._kind)
            send(self._connection, request)
        return self._connection

    def _answer(self, connection: socket.socket, name: str) -> dict[str, Any]:
        """The next message, where it is not about the end of the file or of the worker."""
        header = receive(connection)
        if "died" in header:
            self.close()
            raise _crashed(name, int(header["died"]))
        if "refused" in header:
            reason, message, choices = header["refused"]
            raise BadImageError(str(reason), str(message), choices)
        return header


def _crashed(name: str, number: int | None = None) -> BadImageError:
    if number in _DEATHS:
        return BadImageError("too large", f"{name!r} {_DEATHS[signal.Signals(number)]}")
    how = f" ({signal.Signals(number).name})" if number in set(signal.Signals) else ""
    return BadImageError(
        "crashed the decoder",
        f"{name!r} crashed the program that opens files{how}: it is damaged, or made to do harm. Nothing else was "
        "touched. Copy it again, or save it anew from what made it.",
    )


def _pixels(connection: socket.socket, report: dict[str, Any]) -> np.ndarray:
    """The pixels that a report announces, its claims checked."""
    shape = tuple(int(n) for n in report["shape"])
    count = math.prod(shape)
    if len(shape) != 3 or min(shape) < 1 or shape[0] > MAX_CHANNELS or count > MAX_PIXELS:
        raise BrokenTalkError(f"an image of shape {shape}")
    if report["bytes"] != 4 * count:
        raise BrokenTalkError("pixels of another size")
    pixels = np.empty(shape, np.float32)
    receive_into(connection, pixels.data)
    return pixels


def _image(pixels: np.ndarray, report: dict[str, Any]) -> LensImage:
    scale, meta = report["pixel_scale_arcsec"], dict(report["meta"])
    meta["array_shape"] = tuple(meta["array_shape"])
    return LensImage(pixels, None if scale is None else float(scale), tuple(map(str, report["bands"])), meta)


def _members(decoder: Decoder, connection: socket.socket, name: str, into: Path) -> list[Member] | None:
    found: list[Member] = []
    while "end" not in (header := decoder._answer(connection, name)):
        if "npz" in header:
            return None
        found.append(_member(decoder, connection, name, str(header["member"]), into / str(len(found))))
    return found


def _member(decoder: Decoder, connection: socket.socket, name: str, member: str, path: Path) -> Member:
    buffer, digest, size = bytearray(2**20), hashlib.sha256(), 0
    with open(path, "xb") as file:
        while "piece" in (header := decoder._answer(connection, name)):
            piece = receive_into(connection, memoryview(buffer)[: header["bytes"]])
            if len(piece) != header["bytes"]:
                raise BrokenTalkError("a piece that is too long")
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    refused = None
    if "spoilt" in header:
        path.unlink()
        reason, message = map(str, header["spoilt"])
        refused = BadImageError(reason, message)
    return Member(member, path, digest.hexdigest(), size, refused)


class _Forker:
    """The process that only forks, shared by all threads of this one."""

    def __init__(self, module: str = "deeplense_core.reading.decode_child") -> None:
        self._module = module
        self.lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen | None = None

    def connect(self, kind: bytes) -> socket.socket:
        """A new worker's connection."""
        ours, theirs = socket.socketpair()
        with theirs, self.lock:
            for attempt in range(2):
                try:
                    socket.send_fds(self.control(), [kind], [theirs.fileno()])
                    break
                except OSError:  # it was ended from outside
                    self.stop()
                    if attempt:
                        raise
        ours.settimeout(WALL_S + 60)
        return ours

    def control(self) -> socket.socket:
        """The way to the process, started when there is none. With the lock held."""
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.stop()
            ours, theirs = socket.socketpair()
            kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
            one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._module, str(theirs.fileno())],
                    cwd=ROOT, env={**kept, **one_thread}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            self._control = ours
        return self._control

    def stop(self) -> None:
        """Ends the process; workers end with their files."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


_FORKER = _Forker()
atexit.register(_FORKER.stop)
