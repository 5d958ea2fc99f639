"""How long the app's modules take to import, beside PyTorch alone: what a first visitor waits for."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from deeplense_core.machine import describe
from deeplense_core.workspace import ROOT

RUNS = 5
LIGHT = "import deeplense_core.runs, deeplense_core.jobs, deeplense_core.data, deeplense_core.metrics, " \
    "deeplense_core.plots"
"""What the overview, runs and data pages need before their first line is drawn."""
FULL = LIGHT + ", deeplense_core.train, deeplense_core.evaluate"


def run() -> dict[str, dict]:
    """Median seconds of a fresh interpreter: ours against ``import torch``, the floor set by the library."""
    seconds = {name: _median(code) for name, code in
               {"light": LIGHT, "full": FULL, "torch": "import torch", "bare": "pass",
                "libraries": "import pandas, pyarrow.parquet, scipy.stats, plotly.graph_objects"}.items()}
    bare = seconds.pop("bare")
    net = {name: value - bare for name, value in seconds.items()}
    return {
        "import_pages": _row(net["light"], net["libraries"], "s; peer: the same libraries imported alone"),
        "import_training": _row(net["full"], net["torch"], "s; peer: import torch"),
    }


def _row(ours: float, peer: float, unit: str) -> dict:
    return {"ours": ours, "peer": peer, "ratio": peer / ours, "limit": peer, "unit": unit, "machine": describe()}


def _median(code: str) -> float:
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first fills the disk cache
