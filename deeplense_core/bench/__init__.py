"""Ours side by side with the peer, both measured in one run: speed mostly, and quality where the peer is a way.

A bench is one file here with a function ``run() -> {NAME: {"ours", "peer", "ratio", "limit", "unit",
"machine"}}``; ``peer_name`` and ``note`` may stand beside them. Ratios above 1 are in our favour. Nothing here is a
timed test. What was measured last is kept in the workspace, where the results page finds it.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deeplense_core import results
from deeplense_core.workspace import ROOT

BENCHES = {"simulate": "simulate", "train": "train", "predict": "predict", "find": "find", "superres": "superres",
           "import": "imports", "lenstronomy-auc": "lenstronomy_auc",
           "project": "project", "similar": "similar"}  # fmt: skip
"""Name on the command line -> module of this package."""
ALL = "all"
STUDIES = {"adapt": "adapt", "finders": "finders", "ssl": "ssl"}
"""Comparisons of methods by name -> module: they take hours, are taken up where they were left, and are no part of
"all". Their modules have ``run(settings, say)`` and ``lines(rows)``."""


def run_bench(name: str) -> dict[str, Any]:
    """Runs one bench in this process and keeps its rows in the workspace."""
    load, start = results.load_now(), time.perf_counter()
    rows = importlib.import_module(f"{__name__}.{BENCHES[name]}").run()
    results.keep_bench(name, rows, time.perf_counter() - start, load)
    return rows


def run_study(
    name: str, settings: Mapping[str, Any], say: Callable[[str], object]
) -> tuple[dict[str, Any], list[str]]:
    """Runs what is missing of a study and keeps its rows in the workspace; returns them, and their table as text."""
    module = importlib.import_module(f"{__name__}.{STUDIES[name]}")
    load, start = results.load_now(), time.perf_counter()
    rows = module.run(settings, say)
    results.keep_bench(name, rows, time.perf_counter() - start, load)
    return rows, module.lines(rows)


def run_all(names: Sequence[str], say: Callable[[str], object] = lambda text: None) -> tuple[dict[str, Any], list[str]]:
    """Runs benches one after the other, each in a process of its own: none inherits threads or memory of another.

    Args:
        names: Of benches.
        say: Told which bench begins, and which one failed and why.

    Returns:
        The rows of all, and the names of those that failed; their last words are kept in their place.
    """
    rows, failed = {}, []
    for place, name in enumerate(names, 1):
        say(f"{place} of {len(names)}: {name}")
        load, start = results.load_now(), time.perf_counter()
        command = [sys.executable, "-m", "deeplense_core", "bench", name, "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            rows |= json.loads(done.stdout)
            continue
        why = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1].removeprefix("Error: ")
        results.keep_bench(name, {}, time.perf_counter() - start, load, why)
        say(f"{name} failed: {why}")
        failed.append(name)
    return rows, failed


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The rows as lines of text under one heading, numbers aligned."""
    lines = [f"{'':26} {'ours':>10} {'peer':>10} {'ratio':>7} {'limit':>10}  unit"]
    for name, row in rows.items():
        numbers = "".join(f" {_number(row[key]):>{width}}" for key, width in
                          (("ours", 10), ("peer", 10), ("ratio", 7), ("limit", 10)))  # fmt: skip
        lines.append(f"{name:26}{numbers}  {row['unit']}")
    if rows:
        lines.append(results.machine_line(next(iter(rows.values()))["machine"]))
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
