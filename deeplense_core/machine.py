"""Facts about this machine: who a process is, which processor, how much memory, which GPUs."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeplense_core.workspace import ROOT

_PROC = Path("/proc")


def boot_id() -> str:
    """A text that is the same until the machine is restarted, whatever its clock does."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"boot-{psutil.boot_time():.0f}"


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in a form that only this process can have since the last boot.

    None when there is no such process, or only its remains (a zombie).
    """
    if _PROC.joinpath("self/stat").exists():
        try:
            # The command name, in parentheses, may itself hold spaces and parentheses.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (OSError, UnicodeDecodeError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def identity(pid: int | None = None) -> dict[str, Any]:
    """Who a process is: boot, pid and start time. A pid alone is given to another process later."""
    pid = os.getpid() if pid is None else pid
    return {"boot_id": boot_id(), "pid": pid, "start_time": start_time(pid)}


def is_alive(who: Mapping[str, Any]) -> bool:
    """Whether the very process of :func:`identity` still runs."""
    pid = who.get("pid")
    if not isinstance(pid, int) or who.get("start_time") is None or who.get("boot_id") != boot_id():
        return False
    return start_time(pid) == who["start_time"]


@functools.lru_cache(maxsize=1)
def gpu_names() -> tuple[str, ...]:
    """Names of the CUDA GPUs that ``nvidia-smi`` finds; empty without a driver. Loads no torch."""
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in found.stdout.splitlines() if line.strip())


def gpu_ids() -> tuple[str, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` may be set to, one entry a GPU this process is allowed to use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return tuple(part.strip() for part in allowed.split(",") if part.strip() not in ("", "-1"))
    return tuple(str(index) for index in range(len(gpu_names())))


def describe() -> dict[str, Any]:
    """Versions, processor, memory and GPUs: what a reader of a result asks about the machine."""
    packages = ("torch", "torchvision", "numpy", "lightning-fabric", "timm")
    versions = {name: _version(name) for name in packages}
    return {
        "python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS") or "default",
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpus": list(gpu_names()),
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The checkout's commit, with ``+`` when files differ from it; None outside a repository."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return None
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "") or None


@functools.cache
def keep_freed_memory() -> None:
    """Asks the C library to keep freed blocks of megabytes for the next ones, where it is glibc.

    Left to itself it hands them back to the kernel, and each chunk of images then pays a page fault for every 4 KB.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that mallopt takes
        set_option(_M_TRIM_THRESHOLD, 2**30)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names in malloc.h."""
