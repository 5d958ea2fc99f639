"""What a long prediction has found so far: one line a file, so that an interrupted run is not begun again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from deeplense_core.errors import UserError
from deeplense_core.storage import try_lock, write_line


class Journal:
    """Lines of JSON in a file: first what the run is made with, then a record for each file.

    A record holds ``key``, ``name`` and either ``row`` or ``failed``. Iterating gives the rows.

    Args:
        path: The file; one that is there is taken up.
        made_with: What must be the same for that.

    Raises:
        UserError: it is of a run with other settings, is damaged, or another process is writing it.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any]):
        self.path = path
        self.rows = self.failed = 0
        self._known: set[int] = set()
        lock = try_lock(path)
        if lock is None:
            raise UserError(f"{path.name!r} is being written by another process. Wait for it, or choose another --out.")
        self._lock = lock
        try:
            self._take_up(dict(made_with))
        except BaseException:
            os.close(lock)
            raise
        self.taken_up = len(self._known)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (record["row"] for record in self.records() if "row" in record)

    def failures(self) -> Iterator[dict[str, Any]]:
        """The records of files that failed."""
        return (record for record in self.records() if "failed" in record)

    def knows(self, key: str) -> bool:
        """Whether an earlier run has done this file."""
        return hash(key) in self._known

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds records; what was added before survives whatever happens now.

        Raises:
            UserError: the disk is full.
        """
        lines = []
        for record in records:
            self._count(record)
            lines.append(json.dumps(record))
        write_line(self._lock, self.path, "\n".join(lines).encode())

    def remove(self) -> None:
        """Removes the file, once all it holds is elsewhere."""
        self.path.unlink(missing_ok=True)

    def _count(self, record: Mapping[str, Any]) -> None:
        self.rows += "row" in record
        self.failed += "failed" in record

    def _take_up(self, made_with: dict[str, Any]) -> None:
        header = json.dumps(made_with).encode()
        with open(self.path, "rb") as file:
            first = file.readline()
        if header.startswith(first):  # new, or a crash tore its first line
            os.ftruncate(self._lock, 0)
            write_line(self._lock, self.path, header)
        elif _json(first) != made_with:
            raise UserError(f"{self.path.name!r} is of an interrupted run with another model, other images or other "
                            "settings. Repeat that one to finish it, or delete the file to begin anew.")  # fmt: skip
        os.ftruncate(self._lock, self._whole_lines())  # a line that a crash tore is done again
        for record in self.records():
            self._count(record)
            self._known.add(hash(record["key"]))

    def _whole_lines(self) -> int:
        """Bytes up to the end of the last line that has one."""
        with open(self.path, "rb") as file:
            return sum(len(line) for line in file if line.endswith(b"\n"))

    def records(self) -> Iterator[dict[str, Any]]:
        """All records, in the order in which they came.

        Raises:
            UserError: a line is damaged.
        """
        with open(self.path, "rb") as file:
            file.readline()
            for line in file:
                if not isinstance(record := _json(line), dict) or "key" not in record:
                    raise UserError(f"{self.path.name!r} is damaged. Delete it to begin anew.")
                yield record


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
