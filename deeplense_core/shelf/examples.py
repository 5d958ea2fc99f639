"""A trained run that ships, for those who have none yet: its numbers, curves, samples and answers, small.

``assets/examples/runs/<id>/`` holds what a run's folder holds but for the weights, which are those of the model that
ships by the name in ``weights.txt``. It becomes a run like any other, to look at, note on and delete, once it is
opened.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

from deeplense_core.errors import UserError
from deeplense_core.records import parse_lines
from deeplense_core.runs import Run, open_run
from deeplense_core.storage import TEMPORARY, atomic_write
from deeplense_core.workspace import ROOT, runs_dir, shipped_models_dir

EXAMPLES = ROOT / "assets" / "examples" / "runs"
WEIGHTS = "weights.txt"
COPIED = ("spec.json", "status.json", "env.json", "samples.npz", "samples.npz.sha256")
TRAIN_ROWS = 200
"""Rows of the training loss that are kept of a run; every validation is."""


def example_runs() -> list[str]:
    """Ids of the runs that ship."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/spec.json"))


def open_example(run_id: str) -> Run:
    """The run in the workspace, put there when it is opened for the first time.

    Raises:
        UserError: no such example, or no space for it.
    """
    if (runs_dir() / run_id / "spec.json").exists():
        return open_run(run_id)
    if run_id not in example_runs():
        raise UserError(f"No example run {run_id!r} ships. There are: {', '.join(example_runs()) or 'none'}.")
    source = EXAMPLES / run_id
    partial = runs_dir() / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns(WEIGHTS))
        model = shipped_models_dir() / (source / WEIGHTS).read_text().strip()
        for path in model.iterdir():
            if path.suffix in (".json", ".safetensors"):
                shutil.copyfile(path, partial / path.name)
        os.rename(partial, runs_dir() / run_id)
    except OSError as err:
        shutil.rmtree(partial, ignore_errors=True)
        if not (runs_dir() / run_id / "spec.json").exists():  # else another visitor was faster
            why = err.strerror or err.args[0][0][2]  # copytree collects (from, to, why)
            raise UserError(f"The example run cannot be put into the workspace: {why}. Free some space, or set "
                            "DEEPLENSE_HOME to a folder that you can write to.") from err  # fmt: skip
    return open_run(run_id)


def compact(run: Run, model: str, out: Path = EXAMPLES) -> Path:
    """Makes an example of a finished run whose weights ship as ``model``: thinned curves, one test evaluation.

    Raises:
        UserError: when the weights are not those of the model.
    """
    shipped = shipped_models_dir() / model / "model.safetensors"
    if shipped.read_bytes() != run.read_file("model.safetensors"):
        raise UserError(f"Run {run.id!r} did not make the weights of {model!r}: it is no example of it.")
    folder = out / run.id
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, folder / name)
    atomic_write(folder / "metrics.jsonl", _thinned((run.path / "metrics.jsonl").read_bytes()))
    atomic_write(folder / WEIGHTS, f"{model}\n".encode())
    for path in (run.path / "evaluations").glob("sim-*"):
        shutil.copytree(path, folder / "evaluations" / path.name, dirs_exist_ok=True)
    return folder


def _thinned(lines: bytes) -> bytes:
    rows = list(parse_lines(lines))
    train = [row for row in rows if row["kind"] == "train"]
    step = max(1, len(train) // TRAIN_ROWS)
    kept = {id(row) for row in train[::step]}
    chosen = [row for row in rows if row["kind"] != "train" or id(row) in kept]
    return b"".join(json.dumps(row).encode() + b"\n" for row in chosen)
