"""Speed side by side with the peer, both measured in one run.

A bench is one file here with a function ``run() -> {NAME: {"ours", "peer", "ratio", "limit", "unit",
"machine"}}``. Ratios above 1 are in our favour. Nothing here is a timed test.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

BENCHES = {"simulate": "simulate", "train": "train", "predict": "predict", "import": "imports"}
"""Name on the command line -> module of this package."""


def run_benches(names: Sequence[str]) -> dict[str, Any]:
    """Runs the named benches one after the other and joins their rows."""
    rows: dict[str, Any] = {}
    for name in names:
        rows |= importlib.import_module(f"{__name__}.{BENCHES[name]}").run()
    return rows
