"""The state a run is in, as its folder keeps it."""

from __future__ import annotations

import calendar
import json
import time
from dataclasses import dataclass
from pathlib import Path

STATES = ("queued", "running", "done", "failed", "cancelled", "lost")
ACTIVE = ("queued", "running")
RESUMABLE = ("failed", "cancelled", "lost")


@dataclass(frozen=True)
class Status:
    """Where a run stands. Times are seconds since 1970 on this machine's clock, for display only."""

    state: str = "queued"
    cause: str = ""
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    progress: float = 0.0
    note: str = ""
    best: float | None = None
    best_name: str = ""
    resumes: int = 0
    mendable: bool = False
    """Whether ``cause`` is something the user can mend, rather than a defect."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, or until now; None before the start."""
        if self.started is None:
            return None
        return max(0.0, (self.finished or time.time()) - self.started)


def decode_status(payload: bytes) -> Status:
    """The status in ``payload``; ValueError or TypeError when it is not one."""
    status = Status(**json.loads(payload))
    numbers = (status.created, status.started, status.finished, status.progress, status.best)
    if status.state not in STATES or any(not isinstance(n, (int, float, type(None))) for n in numbers):
        raise ValueError("not a status")
    return status


def created_from(path: Path) -> float:
    """When a run was made, read from the stamp in its name."""
    try:
        return float(calendar.timegm(time.strptime(path.name[:15], "%Y%m%d-%H%M%S")))
    except ValueError:
        return 0.0
