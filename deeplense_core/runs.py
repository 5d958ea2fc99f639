"""A run is a folder: its settings, state, numbers and checkpoints. Nothing about it lives in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeplense_core import checkpoints
from deeplense_core.errors import UserError
from deeplense_core.machine import describe, identity, is_alive
from deeplense_core.records import LineReader, encode, parse_lines, plain
from deeplense_core.registry import nearest
from deeplense_core.spec import RunSpec
from deeplense_core.status import ACTIVE, RESUMABLE, STATES, Status, created_from, decode_status
from deeplense_core.storage import TEMPORARY, append_line, atomic_write, is_disk_full, locked
from deeplense_core.workspace import folder_names, runs_dir, safe_name, throw_away

__all__ = ["ACTIVE", "CANCEL_GRACE_S", "RESUMABLE", "STATES", "Run", "RunRow", "Status"]
__all__ += ["list_runs", "open_run", "reindex", "short_names"]

CANCEL_GRACE_S = 30.0
"""How long a cancelled run may take to stop by itself before it is killed, in seconds."""

_METRICS = LineReader()


@dataclass(frozen=True)
class Run:
    """A handle on the folder of one run."""

    path: Path

    @classmethod
    def create(cls, spec: RunSpec) -> Run:
        """Makes the folder of a new, queued run; it appears whole or not at all."""
        now = time.time()
        slug = safe_name(spec.name or f"{spec.task}-{spec.model}", "run")[:40].strip(".-").lower()
        partial = runs_dir() / f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            partial.mkdir()
            atomic_write(partial / "spec.json", spec.to_json().encode())
            atomic_write(partial / "status.json", encode(dataclasses.asdict(Status(created=now))))
            atomic_write(partial / "worker.json", encode({**identity(), "role": "submitter"}))
            while True:
                stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
                path = runs_dir() / f"{stamp}-{slug}-{secrets.token_hex(2)}"
                if not path.exists():
                    os.rename(partial, path)
                    return cls(path)
        except OSError as err:
            raise UserError(f"A run cannot be made in {str(runs_dir())!r}: {err.strerror}.") from err
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def spec(self) -> RunSpec:
        """The settings this run was started with."""
        try:
            return RunSpec.from_json((self.path / "spec.json").read_text())
        except (OSError, UnicodeDecodeError) as err:
            raise UserError(f"The settings of run {self.id} cannot be read: {err}") from err

    # State ------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The state on disk; an unreadable one reads as failed, never as an exception."""
        try:
            return decode_status((self.path / "status.json").read_bytes())
        except (OSError, ValueError, TypeError):
            return Status(state="failed", cause="status unreadable", created=created_from(self.path))

    def set_status(self, **changes: Any) -> Status:
        """Replaces the named fields of the state, atomically among all processes."""
        with self._lock():
            return self._replace_status(changes)

    def set_status_if(self, states: Iterable[str], **changes: Any) -> bool:
        """Like :meth:`set_status`, but only while the state is one of ``states``; says whether it was."""
        with self._lock():
            if self.status.state not in tuple(states):
                return False
            self._replace_status(changes)
            return True

    def _lock(self):
        return locked(self.path / ".lock")

    def _replace_status(self, changes: Mapping[str, Any]) -> Status:
        status = dataclasses.replace(self.status, **{k: plain(v) for k, v in changes.items()})
        if status.state not in STATES:
            raise ValueError(f"{status.state!r} is not one of {STATES}")
        payload, path = encode(dataclasses.asdict(status)), self.path / "status.json"
        try:
            atomic_write(path, payload, durable="state" in changes)
        except UserError:
            # A full disk has no room for a second file, but the old one's block can be written over:
            # the run must be able to say that it failed.
            with open(path, "r+b") as file:
                file.write(payload)
                file.truncate()
        return status

    def beat(self) -> None:
        """Marks the run as looked after now."""
        path = self.path / "heartbeat"
        try:
            os.utime(path)
        except FileNotFoundError:
            path.touch()

    def set_worker(self, who: Mapping[str, Any], role: str = "worker") -> None:
        """Records the process that answers for this run: see :func:`deeplense_core.machine.identity`.

        Args:
            who: That process.
            role: ``worker``, or ``submitter`` for the process that is about to start one. A request to
                stop is never signalled to a submitter: it may be a server, or a user's own session.
        """
        atomic_write(self.path / "worker.json", encode({**who, "role": role}), durable=False)

    @property
    def worker(self) -> dict[str, Any]:
        """The process that answers for this run; empty when unknown."""
        try:
            who = json.loads((self.path / "worker.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return who if isinstance(who, dict) else {}

    def has_worker(self) -> bool:
        """Whether the process that answers for this run is alive."""
        return is_alive(self.worker)

    # Cancelling -------------------------------------------------------------------------------------

    def request_cancel(self, grace_s: float = CANCEL_GRACE_S) -> None:
        """Asks the run to stop, and to be killed after ``grace_s`` seconds."""
        try:
            atomic_write(self.path / "cancel", f"{grace_s:g}".encode(), durable=False)
        except UserError:  # a full disk, which has room for an empty file
            (self.path / "cancel").touch()

    def should_stop(self) -> bool:
        """Whether somebody asked this run to stop; cheap enough for every training step."""
        return os.path.exists(self.path / "cancel")

    def cancel_grace_s(self) -> float:
        """Seconds between the request to stop and the kill."""
        try:
            return float((self.path / "cancel").read_text())
        except (OSError, ValueError):
            return CANCEL_GRACE_S

    def requeue(self) -> bool:
        """Puts an ended run back to ``queued``, answered for by this process; False if it is not ended.

        All of it under one lock: of two who ask at once, one gets True.
        """
        with self._lock():
            before = self.status
            if before.state not in RESUMABLE:
                return False
            (self.path / "cancel").unlink(missing_ok=True)
            self.set_worker(identity(), role="submitter")
            self._replace_status(dataclasses.asdict(
                Status(created=before.created, progress=before.progress, best=before.best,
                       best_name=before.best_name, resumes=before.resumes + 1)
            ))  # fmt: skip
            return True

    # Numbers and text -------------------------------------------------------------------------------

    def log(self, kind: str, step: int, **values: Any) -> None:
        """Appends one line of numbers to ``metrics.jsonl``; values that are not finite become null."""
        row = {"kind": kind, "step": int(step), "time": round(time.time(), 3), **values}
        append_line(self.path / "metrics.jsonl", json.dumps(plain(row), allow_nan=False).encode())

    def metrics(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Every line of ``metrics.jsonl`` (of one kind), oldest first; torn lines are skipped.

        A resumed run repeats the steps since its last checkpoint; of a repeated one the newest counts.
        """
        rows = _newest_of_each_step(_METRICS.read(self.path / "metrics.jsonl"))
        return [row for row in rows if kind is None or row.get("kind") == kind]

    def write_log(self, text: str) -> None:
        """Appends text to ``log.txt``; a disk too full for it is no reason to fail."""
        try:
            with open(self.path / "log.txt", "a", encoding="utf-8") as file:
                file.write(text.rstrip("\n") + "\n")
        except OSError as err:
            if not is_disk_full(err):
                raise

    def log_text(self, tail: int = 200) -> str:
        """The last ``tail`` lines of ``log.txt`` (of its last 256 kB)."""
        try:
            with open(self.path / "log.txt", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 256_000))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-tail:])

    def env(self) -> dict[str, Any]:
        """Versions and machine of this run; written to ``env.json`` the first time it is asked for."""
        path = self.path / "env.json"
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError):
            facts = describe()
            atomic_write(path, encode(facts))
            return facts

    # Checkpoints and files --------------------------------------------------------------------------

    def save_checkpoint(self, name: str, payload: bytes, keep: int = 3) -> Path:
        """Adds a checkpoint, keeping the newest ``keep``; a full disk is a UserError that spoils none."""
        return checkpoints.save(self.path / "checkpoints", name, payload, keep)

    def latest_checkpoint(self) -> bytes | None:
        """The newest checkpoint that is whole, or None."""
        return checkpoints.latest(self.path / "checkpoints")

    def save_file(self, name: str, payload: bytes) -> Path:
        """Replaces one file of the run, the best weights for instance, with its hash beside it."""
        checkpoints.save_file(self.path / name, payload)
        return self.path / name

    def read_file(self, name: str) -> bytes:
        """The bytes of :meth:`save_file`, checked against their hash."""
        return checkpoints.read_file(self.path / name)

    def delete(self) -> None:
        """Moves the run to the trash, from which :func:`deeplense_core.trash.restore` brings it back.

        Raises:
            UserError: it is active.
        """
        with self._lock():
            if self.status.state in ACTIVE and self.has_worker():
                raise UserError(f"Run {self.id} is {self.status.state}. Cancel it before you delete it.")
            throw_away(self.path)


def _newest_of_each_step(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    by_step = {}
    for number, row in enumerate(rows):
        series = row.get("kind") in ("train", "val")
        by_step[(row["kind"], row.get("step")) if series else number] = row
    return list(by_step.values())


def open_run(run_id: str) -> Run:
    """The run of that id.

    Raises:
        UserError: when there is none, naming the nearest.
    """
    if run_id and Path(run_id).name == run_id and not run_id.startswith(".") and "\0" not in run_id:
        try:
            if (runs_dir() / run_id / "spec.json").exists():
                return Run(runs_dir() / run_id)
        except OSError:  # a name longer than the file system allows
            pass
    names = _run_names(runs_dir())
    near = nearest(run_id, names[:200]) if names else "There are no runs yet."
    raise UserError(f"There is no run {run_id[:100]!r}. {near}")


def _run_names(folder: Path) -> list[str]:
    """Ids of all runs, newest first."""
    return folder_names(folder)[::-1]


# The list of runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunRow:
    """One line of the list of runs."""

    id: str
    name: str
    task: str
    data: str
    model: str
    state: str
    progress: float
    best: float | None
    best_name: str
    created: float
    duration_s: float | None
    val_curve: list[float]
    """Validation score (the loss where there is none) by epoch, thinned to at most 50 values."""
    cause: str = ""
    note: str = ""


_ROWS: dict[Path, dict[str, tuple[list[int], RunRow]]] = {}
_ROWS_LOCK = threading.Lock()


def list_runs() -> list[RunRow]:
    """All runs, newest first.

    What was read is kept with the times and sizes of the files it came from: in this process for every
    run, and for finished runs in ``index.json`` too, which may be thrown away.
    """
    folder = runs_dir()
    with _ROWS_LOCK:
        known = _ROWS[folder] if folder in _ROWS else _load_index(folder)
        current = {}
        for name in _run_names(folder):
            entry = known.get(name)
            if entry is None or entry[0] != _key(f"{folder}/{name}", _files(entry[1].state)):
                entry = _read_entry(folder / name)
            current[name] = entry
        _ROWS[folder] = current
        if _finished(current) != _finished(known):
            _save_index(folder, current)
    return [_as_of_now(folder, row) for _, row in current.values()]


def short_names(called: Mapping[str, str]) -> dict[str, str]:
    """Ids of runs -> what each is called, with the end of its id where several are called the same."""
    counts = Counter(called.values())
    return {run_id: name if counts[name] == 1 or name == run_id else f"{name} {run_id.rsplit('-', 1)[-1]}"
            for run_id, name in called.items()}  # fmt: skip


def reindex() -> int:
    """Builds the index anew from the folders; returns the number of runs."""
    with _ROWS_LOCK:
        _ROWS[runs_dir()] = {}
    (runs_dir() / "index.json").unlink(missing_ok=True)
    return len(list_runs())


def _read_entry(path: Path) -> tuple[list[int], RunRow]:
    # The key comes before the row: what changes in between is read again the next time.
    key = _key(str(path), _files("running"))
    row = _read_row(path)
    return key[: 3 * len(_files(row.state))], row


def _files(state: str) -> tuple[str, ...]:
    """Files whose change may change the row of a run. A finished run writes no more numbers."""
    return ("status.json", "metrics.jsonl") if state in ACTIVE else ("status.json",)


def _key(path: str, files: tuple[str, ...]) -> list[int]:
    """Differs from what it was whenever one of ``files`` below ``path`` has changed."""
    key: list[int] = []
    for name in files:
        try:
            stat = os.stat(f"{path}/{name}")
            key += [stat.st_ino, stat.st_mtime_ns, stat.st_size]
        except OSError:
            key += [0, 0, 0]
    return key


def _read_row(path: Path) -> RunRow:
    status = Run(path).status
    try:
        spec = Run(path).spec
    except UserError:
        spec = RunSpec(task="", data="", model="", name="settings unreadable")
    return RunRow(
        id=path.name, name=spec.name, task=spec.task, data=spec.data, model=spec.model, state=status.state,
        progress=status.progress, best=status.best, best_name=status.best_name, created=status.created,
        duration_s=status.duration_s, val_curve=_val_curve(path, status.best_name), cause=status.cause,
        note=status.note,
    )  # fmt: skip


def _val_curve(path: Path, name: str) -> list[float]:
    try:
        lines = (path / "metrics.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    rows = parse_lines(b"\n".join(line for line in lines if b'"kind": "val"' in line))
    rows = _newest_of_each_step(rows)
    name = name if any(name in row for row in rows) else "loss"
    curve = [row[name] for row in rows if isinstance(row.get(name), (int, float))]
    return curve[:: max(1, math.ceil(len(curve) / 50))]


def _as_of_now(folder: Path, row: RunRow) -> RunRow:
    """``row`` with what changes without any file changing: the clock, and whether the worker lives."""
    if row.state not in ACTIVE:
        return row
    run = Run(folder / row.id)
    state = row.state if run.has_worker() else "lost"
    return dataclasses.replace(row, state=state, duration_s=run.status.duration_s)


def _finished(rows: Mapping[str, tuple[list[int], RunRow]]) -> dict[str, list[int]]:
    return {name: key for name, (key, row) in rows.items() if row.state not in ACTIVE}


def _load_index(folder: Path) -> dict[str, tuple[list[int], RunRow]]:
    try:
        plain_rows = json.loads((folder / "index.json").read_bytes())
        return {name: (key, RunRow(**row)) for name, (key, row) in plain_rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save_index(folder: Path, rows: Mapping[str, tuple[list[int], RunRow]]) -> None:
    finished = {name: [key, vars(row)] for name, (key, row) in rows.items() if row.state not in ACTIVE}
    with contextlib.suppress(UserError):  # a full disk: the index is a convenience
        atomic_write(folder / "index.json", json.dumps(finished).encode(), durable=False)
