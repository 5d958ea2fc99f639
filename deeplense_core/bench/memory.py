"""The memory that a piece of work needs, measured in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from deeplense_core.workspace import ROOT


def peak_of(code: str, *arguments: object) -> float:
    """Largest resident memory (MB) of a process that runs ``code``; ``sys.argv[1:]`` of it are the arguments."""
    command = [sys.executable, "-c", f"{code}\nfrom {__name__} import own_peak\nprint(own_peak())"]
    done = subprocess.run([*command, *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def own_peak() -> float:
    """Largest resident memory (MB) of this process since it began."""
    status = Path("/proc/self/status")
    if status.exists():  # not ru_maxrss: on Linux that remembers the memory of the process which started this one
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
