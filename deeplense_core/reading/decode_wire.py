"""Messages between the app and its decoding processes: a length, a JSON object, and then the bytes it announces."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

MAX_HEADER = 4 * 2**20


class BrokenTalkError(Exception):
    """The other side ended, or said something that is no message."""


def send(connection: socket.socket, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """One message; ``header["bytes"]`` becomes the length of ``body``."""
    size = memoryview(body).nbytes
    text = json.dumps({**header, "bytes": size}).encode()
    connection.sendall(struct.pack("<I", len(text)) + text)
    if size:
        connection.sendall(memoryview(body).cast("B"))


def receive(connection: socket.socket) -> dict[str, Any]:
    """The header of the next message; its body, of ``header["bytes"]``, is still to be read.

    Raises:
        BrokenTalkError: no proper message came.
    """
    (length,) = struct.unpack("<I", receive_into(connection, bytearray(4)))
    if length > MAX_HEADER:
        raise BrokenTalkError("a header that is too long")
    try:
        header = json.loads(bytes(receive_into(connection, bytearray(length))))
    except (ValueError, RecursionError) as err:
        raise BrokenTalkError("a header that is not JSON") from err
    if not isinstance(header, dict) or not isinstance(header.get("bytes"), int) or header["bytes"] < 0:
        raise BrokenTalkError("a header without a length")
    return header


def receive_into(connection: socket.socket, buffer: bytearray | memoryview) -> bytearray | memoryview:
    """Fills ``buffer`` and returns it.

    Raises:
        BrokenTalkError: the other side ended before it was full, or was silent for too long.
    """
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        try:
            count = connection.recv_into(view[done:])
        except (ConnectionError, TimeoutError) as err:
            raise BrokenTalkError(str(err)) from err
        if not count:
            raise BrokenTalkError("the other side ended")
        done += count
    return buffer
