"""What a process that decodes a stranger's file can still do: compute, and answer on its socket.

Four barriers, each on its own: limits of the kernel on memory, time and file sizes; Landlock, which refuses the
file system (Linux 5.13); a network namespace with nothing in it; an audit hook for what Python code would try.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

MEMORY_BYTES = 2 * 2**30
"""Address space."""
CPU_S = 20
"""Processor time for one image."""
WALL_S = 120
"""Time by the clock, for a process that sleeps instead of working."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's system calls, the same on every architecture."""
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS = (0, 13, 14, 15, 15, 16)
"""How many rights on files each version of Landlock knows."""
_NO_NEW_PRIVILEGES = 38
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_REFUSED_EVENTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill",
                   "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod",
                   "os.truncate", "shutil.", "ctypes.dlopen", "pty.", "ftplib.", "urllib.")  # fmt: skip


def limit_memory() -> None:
    """At most :data:`MEMORY_BYTES` of address space, no byte written to any file, no core file."""
    _lower(resource.RLIMIT_AS, MEMORY_BYTES)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def limit_time(cpu_s: int = CPU_S, *, final: bool) -> None:
    """The kernel ends this process after ``cpu_s`` more seconds of work or :data:`WALL_S` by the clock.

    Args:
        cpu_s: Seconds from now.
        final: Whether it can never be set anew, which serving one file after the other needs.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 1 if final and hard == resource.RLIM_INFINITY else hard))
    signal.setitimer(signal.ITIMER_REAL, WALL_S)


def _lower(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def seal(readable: Sequence[Path], *, network: bool) -> None:
    """Gives up, for good, the file system but for reading below ``readable``, and what the audit hook refuses.

    Args:
        readable: Files and folders; Python's own libraries and ours are added, for late imports.
        network: Whether a network namespace of its own is left out. It also gives up a superuser's rights over
            files of others, which reading a user's own files may need.
    """
    if sys.platform == "linux":
        if not network:
            _libc().unshare(_NEW_USER | _NEW_NETWORK)  # refused on some systems: the other barriers stand
        _landlock([*readable, *_libraries()])
    sys.addaudithook(_refuse)


def _libraries() -> list[Path]:
    code = [Path(folder) for folder in sys.path if folder and Path(folder) != _ROOT]
    return [*code, Path(sys.base_prefix) / "lib", Path(__file__).parent.parent, Path("/usr/lib"), Path("/lib"),
            Path("/usr/share/zoneinfo")]  # fmt: skip


_ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout is on Python's path, and may hold the workspace: never readable as a whole."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """What this kernel knows of Landlock; 0 where it is absent."""
    return max(0, _libc().syscall(_CREATE_RULESET, None, 0, 1)) if sys.platform == "linux" else 0


def _landlock(readable: Sequence[Path]) -> None:
    """Refuses every use of the file system, and TCP, and signals to others, as far as this kernel knows how."""
    libc, version = _libc(), landlock_version()
    if version < 1:
        return
    rights = (1 << _RIGHTS[min(version, len(_RIGHTS) - 1)]) - 1
    words = [rights, 0b11, 0b11][: 1 if version < 4 else 2 if version < 6 else 3]
    rules = struct.pack(f"={len(words)}Q", *words)
    handle = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if handle < 0:
        return
    for path in filter(Path.exists, readable):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        libc.syscall(_ADD_RULE, handle, 1, struct.pack("=Qi", allowed, place), 0)
        os.close(place)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.syscall(_RESTRICT_SELF, handle, 0)
    os.close(handle)


def _refuse(event: str, args: tuple) -> None:
    if event.startswith(_REFUSED_EVENTS):
        raise PermissionError(f"refused while a file is decoded: {event}")
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise PermissionError("refused while a file is decoded: writing a file")
