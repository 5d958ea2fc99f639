"""What there is to show: benches measured on this machine, and every network beside its baselines and commands.

Rows of different data never stand in one table. Numbers that others published are kept apart from all of them.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplense_core.evaluations.predictions import own_evaluations
from deeplense_core.runs import list_runs, short_names
from deeplense_core.shelf.cards import find_card, shipped_models
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import ROOT, home

PEERS = {
    "simulate": "lenstronomy", "train": "plain PyTorch loop", "predict": "plain loop of astropy and PyTorch",
    "find": "none: ratio to the limit", "superres": "EDSR as its paper draws it",
    "import": "the libraries alone", "lenstronomy-auc": "skies by our own simulator",
}  # fmt: skip
"""Bench -> what it is measured against, where its rows do not say."""
MOST_RUNS = 60
"""Runs, newest first, whose evaluations are looked at."""


@dataclass(frozen=True)
class Published:
    """A number from elsewhere, on data of its own."""

    task: str
    data: str
    who: str
    number: str


PUBLISHED = (
    Published("classify", "Common Test, published set", "seed of this project (ResNet50)", "macro AUC 0.9768"),
    Published("classify", "Common Test, published set", "ResNet18, ResNet34", "macro AUC 0.992, 0.994"),
    Published("classify", "Common Test, published set", "best seen: HybridFNO, 8-fold averaging", "macro AUC 0.9975"),
    Published("classify", "Model I, published set", "CvT; ResNet50", "macro AUC about 0.979; about 0.98"),
    Published("classify", "Model II, Model III, published sets", "noise-free as published", "macro AUC 0.999, 0.9999"),
    Published("classify", "domain adaptation between simulations", "ENN with ADDA", "AUC 0.856, adapted 0.980"),
    Published("find", "Bologna challenge, ground", "best entries", "AUROC 0.98, TPR10 0.45"),
    Published("find", "Bologna challenge, space", "best entries", "AUROC 0.93, TPR10 0.36"),
    Published("find", "Bologna challenge", "human inspection", "AUROC 0.89, TPR10 0.01"),
    Published("find", "lens finding 2025", "chosen on its test set", "AUROC 0.9925"),
    Published("find", "lens finding 2025", "chosen on validation", "AUROC 0.985, AUPRC 0.73"),
    Published("find", "HSC, simulation to real", "domain adaptation", "AUC 0.816, adapted 0.879"),
    Published("superres", "SR III.A, 75 to 150 pixels", "seed of this project (SRCNN; EDSR; ESRGAN)",
              "PSNR 41.97; 32.0; 30.8 dB"),
    Published("superres", "SR III.A, 75 to 150 pixels", "two unrelated networks, probably the noise floor",
              "PSNR 42.36 dB, MSE 5.85e-5"),
    Published("superres", "SR III.B, real pairs", "best seen", "PSNR 34.27 dB, SSIM 0.850"),
    Published("ssl", "2,300 / 1,500 real lenses in g, r, i", "iBOT ViT-S", "AUC 0.9906"),
    Published("ssl", "the same, 300 labels", "DINO; supervised", "AUC 0.970; 0.953"),
)  # fmt: skip
"""Other people's numbers on other people's data: shown beside ours, never compared with them."""


@dataclass(frozen=True)
class Bench:
    """One bench as it was measured: when, on which machine, with how much other work on it."""

    name: str
    rows: Mapping[str, Mapping[str, Any]]
    """As the bench gives them: ``ours``, ``peer``, ``ratio``, ``limit``, ``unit``, ``machine``."""
    time: float
    seconds: float
    load: float
    """Processes that wanted a core, on average over the minute before it began."""
    failed: str = ""
    """Why it gave no rows."""
    shipped: bool = False
    """Measured by the makers, not here."""


@dataclass(frozen=True)
class Table:
    """Networks and baselines on the same images."""

    task: str
    data: str
    n: int
    rows: Mapping[str, Mapping[str, Any]]
    """Row -> metric -> value, low, high."""
    commands: tuple[str, ...]
    """What prints these numbers."""
    networks: tuple[str, ...] = field(default=())
    """Those of the rows that learnt; the others are baselines."""


def keep_bench(name: str, rows: Mapping[str, Any], seconds: float, load: float, failed: str = "") -> None:
    """Writes what a bench found into the workspace, in place of what it found before."""
    kept = {"time": time.time(), "seconds": round(seconds, 1), "load": round(load, 2), "failed": failed,
            "rows": rows}  # fmt: skip
    folder = home() / "bench"
    folder.mkdir(exist_ok=True)
    atomic_write(folder / f"{name}.json", json.dumps(kept, indent=1, allow_nan=False).encode())


def kept_benches() -> list[Bench]:
    """Every bench that was measured here; those that were not as they were measured by the makers."""
    found = {}
    for folder, shipped in ((ROOT / "assets" / "examples" / "bench", True), (home() / "bench", False)):
        for path in sorted(folder.glob("*.json")):
            try:
                kept = json.loads(path.read_bytes())
                found[path.stem] = Bench(path.stem, kept["rows"], kept["time"], kept["seconds"], kept["load"],
                                         kept["failed"], shipped)  # fmt: skip
            except (OSError, ValueError, KeyError, TypeError):
                continue  # half-written by a full disk: it can be measured again
    return list(found.values())


def load_now() -> float:
    """Processes that want a core, on average over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def machine_line(machine: Mapping[str, Any]) -> str:
    """A machine in a few words: "AMD EPYC, 2 cores, no GPU"."""
    gpus = ", ".join(machine.get("gpus", ())) or "no GPU"
    return f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores', '?')} cores, {gpus}"


def bench_rows(bench: Bench) -> list[dict[str, Any]]:
    """The rows of a bench, flat: what was measured, both sides, what is the limit, and what to know of it."""
    return [
        {"bench": bench.name, "row": name, "ours": row["ours"], "peer": row["peer"],
         "against": row.get("peer_name") or PEERS.get(bench.name, "peer"), "ratio": row["ratio"],
         "limit": row["limit"], "unit": str(row["unit"]).partition(";")[0], "note": row.get("note", ""),
         "machine": machine_line(row["machine"])}
        for name, row in bench.rows.items()
    ]  # fmt: skip


def quality() -> list[Table]:
    """Every table there is: of the models that ship, then of this workspace."""
    return [*_shipped_tables(), *_workspace_tables()]


def _shipped_tables() -> list[Table]:
    """From the cards; models that were scored on the same images share a table."""
    found: dict[tuple, Table] = {}
    for name in shipped_models():
        card = find_card(name).card
        for test in card.get("tests", ()):
            key = (card["task"], test["data"], test["n"])
            before = found.get(key)
            rows = {**(before.rows if before else {}), **test["rows"], name: test["metrics"]}
            commands = dict.fromkeys([*(before.commands if before else ()), *test["commands"]])
            found[key] = Table(card["task"], test["data"], test["n"], rows, tuple(commands),
                               (*(before.networks if before else ()), *_own_rows(name, test["rows"])))  # fmt: skip
    return [_sorted(table) for table in found.values()]


def _workspace_tables() -> list[Table]:
    """From the evaluations of runs, and of shipped models, that this workspace holds."""
    runs = [row for row in list_runs()[:MOST_RUNS] if row.best is not None]
    tasks = {row.id: row.task for row in runs} | {name: find_card(name).card["task"] for name in shipped_models()}
    names = short_names({run_id: run_id for run_id in tasks} | {row.id: row.name or row.model for row in runs})
    found: dict[tuple, Table] = {}
    for run_id, task in tasks.items():
        row = names[run_id]
        for _, report in own_evaluations(run_id):
            # Fresh simulations have one fingerprint, however many there are.
            key = (task, report["data_fingerprint"], report["split"], report["n"])
            before = found.get(key)
            own = [label.replace(run_id, row, 1) for label in _own_rows(run_id, report["rows"])]
            renamed = {label.replace(run_id, row, 1): metrics for label, metrics in report["rows"].items()}
            rows = {**(before.rows if before else {}), **renamed, row: report["metrics"]}
            command = shlex.join(["evaluate", run_id, "--data", report["data"], "--split", report["split"]])
            data = f"{Path(report['data']).name} ({report['split']})"
            found[key] = Table(task, data, report["n"], rows,
                               (*(before.commands if before else ()), command),
                               (*(before.networks if before else ()), *own))  # fmt: skip
    return [_sorted(table) for table in found.values()]


def _own_rows(run_or_model: str, rows: Mapping[str, Any]) -> list[str]:
    """The row of a network by its id, and those of its variants, whose names begin with that."""
    return [run_or_model, *(row for row in rows if row != run_or_model and row.startswith(run_or_model))]


def _sorted(table: Table) -> Table:
    """Networks first, baselines after them."""
    order = sorted(table.rows, key=lambda row: row not in table.networks)
    return Table(table.task, table.data, table.n, {row: table.rows[row] for row in order}, table.commands,
                 tuple(dict.fromkeys(table.networks)))  # fmt: skip
