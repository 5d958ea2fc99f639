"""The processes that decode files: started by :mod:`deeplense_core.reading.decode`, never imported by the app.

One process is started, imports what decoding needs, and then only forks: for each connection a minder, which
forks the worker that opens the file, waits for it, and tells the app how it died if it did.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import socket
import stat
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.images import read_image
from deeplense_core.reading.decode_seal import CPU_S, limit_memory, limit_time, seal
from deeplense_core.reading.decode_wire import BrokenTalkError, receive, send
from deeplense_core.reading.image_checks import BadImageError

UNPACK_CPU_S = 60
"""Processor time for unpacking a ZIP file of the largest size."""
MAX_MEMBERS = 5_000
MAX_UNPACKED_BYTES = 2 * 2**30
ONE, MANY = b"1", b"n"
"""What a new connection is for: one file of a stranger, or any number of the user's own."""
_CHUNK = 2**20


def main(control: socket.socket) -> None:
    """Forks a minder for every connection that comes through ``control``, until the app ends."""
    _warm_up()
    gc.freeze()  # so that no worker copies memory only to look for rubbish in it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # minders need no burial
    while True:
        kind, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not handles:
            return
        connection = socket.socket(fileno=handles[0])
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _mind(connection, many=kind == MANY)
            os._exit(0)
        connection.close()


def _warm_up() -> None:
    """Imports and sets up, once, what every worker would else have to."""
    import h5py  # noqa: F401
    from astropy.io import fits
    from PIL import Image

    from deeplense_core.reading.fits_image import read_fits

    Image.init()
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "FK5", "EQUINOX": 2000.0})
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.eye(16, dtype=np.int16), header)]).writeto(file)
    read_fits(io.BytesIO(file.getvalue()), "warm-up", None, sky=True)


def _mind(connection: socket.socket, many: bool) -> None:
    """Waits for the worker and says what signal ended it, where one did."""
    worker = os.fork()
    if worker == 0:
        with contextlib.suppress(BrokenTalkError, OSError):  # the app is gone, or does not want the answer any more
            _serve(connection, many)
        os._exit(0)
    _, status = os.waitpid(worker, 0)
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):
            send(connection, {"died": os.WTERMSIG(status)})


def _serve(connection: socket.socket, many: bool) -> None:
    limit_memory()
    if many:
        seal([Path("/")], network=True)
    while True:
        request = receive(connection)
        unpack = request["what"] == "unpack"
        limit_time(UNPACK_CPU_S if unpack else CPU_S, final=not many)
        if not many:
            seal([Path(request["path"])], network=False)
        try:
            (_unpack if unpack else _decode)(connection, request)
        except BadImageError as err:
            send(connection, {"refused": [err.reason, str(err), err.choices]})
        except MemoryError:
            send(connection, {"refused": ["too large", f"{request['name']!r} needs more than 2 GB of memory to "
                                          "be opened. Cut it smaller.", {}]})  # fmt: skip
        except (BrokenTalkError, ConnectionError, TimeoutError):
            raise
        except Exception as err:  # libraries raise nearly anything on hostile bytes
            send(connection, {"refused": ["damaged file", f"{request['name']!r} is damaged "
                                          f"({type(err).__name__}). Copy it again.", {}]})  # fmt: skip
        signal.setitimer(signal.ITIMER_REAL, 0)


def _decode(connection: socket.socket, request: dict[str, Any]) -> None:
    image = read_image(request["path"], name=request["name"], sky=True, **request["options"])
    report = {"shape": image.pixels.shape, "pixel_scale_arcsec": image.pixel_scale_arcsec, "bands": image.bands,
              "meta": dict(image.meta)}  # fmt: skip
    send(connection, report, image.pixels.data)
    connection.sendall(b"done")


def _unpack(connection: socket.socket, request: dict[str, Any]) -> None:
    """Sends the members of a ZIP file: for each its name, its content in pieces, and an end.

    Raises:
        BadImageError: too many, too large, or damaged as a whole. A bad member only spoils itself.
    """
    name = request["name"]
    try:
        with zipfile.ZipFile(request["path"]) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if _is_npz(members, name):
                return send(connection, {"npz": True})
            members = [m for m in members if not _is_junk(m.filename)]
            if len(members) > MAX_MEMBERS:
                raise BadImageError("too large", f"{name!r} holds {len(members)} files; at most {MAX_MEMBERS:,} "
                                    "are taken at once. Split it.")  # fmt: skip
            left = MAX_UNPACKED_BYTES
            for member in members:
                left -= _send_member(connection, archive, member, left, name)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        if isinstance(err, (ConnectionError, TimeoutError)):
            raise
        raise BadImageError("damaged file", f"{name!r} is a damaged ZIP file. Copy it again.") from err
    if not members:
        raise BadImageError("no image", f"{name!r} is a ZIP file with nothing in it.")
    return send(connection, {"end": True})


def _is_npz(members: list[zipfile.ZipInfo], name: str) -> bool:
    """Both are ZIP files of ``.npy`` files; only the name can tell an NPZ from a folder that was zipped."""
    flat_arrays = all(m.filename.endswith(".npy") and "/" not in m.filename for m in members)
    return bool(members) and flat_arrays and not name.lower().endswith(".zip")


def _is_junk(name: str) -> bool:
    """What systems put into a ZIP file beside what their user chose."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _send_member(
    connection: socket.socket, archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int, name: str
) -> int:
    """Sends one member, or why it is refused; returns the bytes that it really had."""
    send(connection, {"member": member.filename})
    label = f"{name}/{member.filename[:255]}"
    if stat.S_ISLNK(member.external_attr >> 16):
        why = f"{label!r} is a link to another file, which is not followed. Put the file itself into the ZIP file."
        send(connection, {"spoilt": ["link", why]})
        return 0
    sent = 0
    try:
        with archive.open(member) as stream:
            while piece := stream.read(_CHUNK):
                sent += len(piece)
                if sent > left:
                    raise BadImageError("too large", f"{name!r} expands to more than "
                                        f"{MAX_UNPACKED_BYTES // 2**30} GB. Split it.")  # fmt: skip
                send(connection, {"piece": True}, piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as err:
        encrypted = isinstance(err, RuntimeError) and member.flag_bits & 1
        why = "encrypted: unpack it and send the files" if encrypted else "damaged: copy it again"
        send(connection, {"spoilt": ["damaged file", f"{label!r} is {why}."]})
        return sent
    send(connection, {"whole": True})
    return sent


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(socket.socket(fileno=int(sys.argv[1])))
