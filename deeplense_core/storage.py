"""Files that survive a crash: atomic replacement, locks between processes, whole lines, full disks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from deeplense_core.errors import UserError

TEMPORARY = ".tmp-"
"""Prefix of files being written; whatever carries it after a crash may be removed."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(err: OSError) -> bool:
    """Whether ``err`` says that the disk, or the user's share of it, is full."""
    return err.errno in _NO_SPACE


def disk_full(path: Path, needed: int | None = None) -> UserError:
    """The error shown when ``path`` did not fit on its disk; ``needed`` bytes, where that is known."""
    try:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB free"
    except OSError:
        free = "free space unknown"
    need = "" if needed is None else f"{path.name} needs {needed / 1e6:.1f} MB, "
    return UserError(
        f"No space left on the disk that holds {str(path.parent)!r}: {need}{free}. Free some space there and go on."
    )


def atomic_write(path: Path, payload: bytes, *, durable: bool = True) -> None:
    """Replaces ``path`` by ``payload``: a reader, and a crash, see the old bytes or the new ones.

    Args:
        path: File to replace, in an existing folder.
        payload: All of its new bytes.
        durable: Also force file and folder to the disk, so that a power cut changes nothing of this.

    Raises:
        UserError: when the disk is full; the old file is untouched.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as err:
        temporary.unlink(missing_ok=True)
        if isinstance(err, OSError) and is_disk_full(err):
            raise disk_full(path, len(payload)) from err
        raise
    if durable:
        sync_folder(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write in place of ``path``, which it becomes when the block ends well; nothing stays of it otherwise.

    Raises:
        UserError: when the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        yield temporary
        with open(temporary, "rb") as whole:
            os.fsync(whole.fileno())
        temporary.replace(path)
    except OSError as err:
        if is_disk_full(err):
            raise disk_full(path) from err
        raise UserError(f"{str(path)!r} cannot be written: {err.strerror or err}.") from err
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Forces the names in ``folder`` to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporaries(folder: Path) -> None:
    """Removes what a writer left behind when it was killed. Only where no other writer is at work."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Appends one line (without its newline); threads and processes that append at once wait for each other.

    A line torn by a crash stays behind as a line of its own, which a reader skips.

    Raises:
        UserError: when the disk is full.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        # Without the lock a line half written by another writer would look torn.
        fcntl.flock(handle, fcntl.LOCK_EX)
        write_line(handle, path, line)
    finally:
        _unlock(handle)


def write_line(handle: int, path: Path, line: bytes) -> None:
    """As :func:`append_line`, for who holds the lock of ``path`` already, by this descriptor.

    Raises:
        UserError: when the disk is full.
    """
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        payload = (b"\n" if torn else b"") + line + b"\n"
        if os.pwrite(handle, payload, size) != len(payload):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as err:
        if is_disk_full(err):
            raise disk_full(path, len(line)) from err
        raise


def try_lock(path: Path) -> int | None:
    """Takes the lock file ``path`` if it is free.

    Returns the open descriptor, or None. The kernel releases it when the last process holding the
    descriptor has ended, however it ended; ``os.close`` releases it earlier.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file ``path``, waiting for it; excludes other threads and other processes."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        _unlock(handle)


def _unlock(handle: int) -> None:
    """Gives the lock up at once: a process forked meanwhile holds the descriptor too, so closing would not."""
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def readable_size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
