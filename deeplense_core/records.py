"""Records as JSON: values made plain, and a file of lines read while another process appends to it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def encode(value: Mapping[str, Any]) -> bytes:
    """``value`` as readable, strict JSON."""
    return json.dumps(plain(value), indent=1, allow_nan=False).encode()


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: array scalars as numbers, infinities and NaN as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and their scalars, of NumPy and PyTorch
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written to a run: use numbers, text, lists, dicts")


def parse_lines(text: bytes) -> list[dict[str, Any]]:
    """The JSON objects among the lines of ``text``; anything else, such as a torn line, is skipped."""
    lines = text.splitlines()
    with contextlib.suppress(ValueError):
        # As one list, three times as fast. Its length tells two torn lines that fit together.
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        if len(rows) == len(lines):
            return [row for row in rows if isinstance(row, dict)]
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


class LineReader:
    """Reads files of JSON lines, each time from where it stopped: panels ask every two seconds."""

    def __init__(self, limit: int = 64):
        self._limit, self._lock = limit, threading.Lock()
        self._seen: OrderedDict[Path, tuple[int, int, list[dict]]] = OrderedDict()

    def read(self, path: Path) -> list[dict[str, Any]]:
        """All rows of ``path`` so far."""
        with self._lock:
            inode, offset, rows = self._seen.pop(path, (0, 0, []))
            try:
                with open(path, "rb") as file:
                    stat = os.fstat(file.fileno())
                    if stat.st_ino != inode or stat.st_size < offset:
                        offset, rows = 0, []
                    file.seek(offset)
                    fresh = file.read()
            except FileNotFoundError:
                return []
            whole = fresh.rfind(b"\n") + 1
            rows.extend(parse_lines(fresh[:whole]))
            self._seen[path] = (stat.st_ino, offset + whole, rows)
            while len(self._seen) > self._limit:
                self._seen.popitem(last=False)
            return list(rows)
