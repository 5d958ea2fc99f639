"""The decoding process with a trap in it: a FITS card TRAP makes it do, for real, what a crafted header could.

Started by the tests in place of ``deeplense_core.reading.decode_child``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np

from deeplense_core.reading import decode_child, decode_seal, fits_sky

decode_child.CPU_S = decode_seal.CPU_S = 1
_read_sky = fits_sky.sky_facts
LIBC = ctypes.CDLL(None, use_errno=True)


def sky_facts(header: bytes, shape: tuple[int, ...]) -> dict:
    found = re.search(rb"TRAP    = '(.*?)\s*'", header)
    return TRAPS[found[1].decode()](header) if found else _read_sky(header, shape)


def overflow(_) -> dict:
    ctypes.string_at(0)
    return {}


def hog(_) -> dict:
    return {"wcs": str(np.ones(2**29).sum())}


def spin(_) -> dict:
    while True:
        pass


def sleep(_) -> dict:
    signal.setitimer(signal.ITIMER_REAL, 0.2)  # in place of two minutes
    time.sleep(60)
    return {}


def killed(_) -> dict:
    signal.raise_signal(signal.SIGKILL)
    return {}


def lie(_) -> dict:
    """A worker that was taken over says what it likes."""
    for handle in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(handle, b"\xff\xff\xff\x7f not a message at all")
    os._exit(0)


def escape(header: bytes) -> dict:
    """Tries to get out, through Python and below it; reports what worked."""
    places = re.search(rb"WHERE   = '(.*?)\s*'", header)
    assert places
    secret, canary, port = places[1].decode().split("|")
    worked = []

    def tried(name: str, attempt) -> None:
        with contextlib.suppress(Exception):
            if attempt():
                worked.append(name)

    def connect_below() -> bool:
        handle = LIBC.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
        address = int(port).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
        return LIBC.connect(handle, socket.AF_INET.to_bytes(2, sys.byteorder) + address, 16) == 0

    tried("socket", lambda: socket.create_connection(("127.0.0.1", int(port)), 2))
    tried("connect in C", connect_below)
    tried("read", lambda: Path(secret).read_text())
    tried("read in C", lambda: LIBC.open(secret.encode(), os.O_RDONLY) >= 0)
    tried("list", lambda: os.listdir(os.path.dirname(secret)))
    tried("write", lambda: Path(canary).write_text("x"))
    tried("write in C", lambda: LIBC.open(canary.encode(), os.O_CREAT | os.O_WRONLY, 0o600) >= 0)
    tried("remove in C", lambda: LIBC.unlink(secret.encode()) == 0)
    tried("run", lambda: os.system("true") == 0)
    tried("run in C", lambda: LIBC.system(b"true") == 0)
    tried("signal in C", lambda: LIBC.kill(os.getppid(), 0) == 0)
    tried("environment", lambda: "DEEPLENSE_SECRET" in os.environ)
    return {"wcs": ", ".join(worked) or "nothing"}


TRAPS = {f.__name__: f for f in (overflow, hog, spin, sleep, killed, lie, escape)}

if __name__ == "__main__":
    fits_sky.sky_facts = sky_facts
    decode_child.main(socket.socket(fileno=int(sys.argv[1])))
