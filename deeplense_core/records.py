"""Records as JSON: values made plain, and a file of lines read while another process appends to it."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
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


def parse_lines(text: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines of ``text``; anything else, such as a torn line, is skipped."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


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
