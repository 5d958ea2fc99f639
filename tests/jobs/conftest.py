"""A workspace of its own for each test, and workers that train nothing."""

import contextlib
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from deeplense_core import jobs
from deeplense_core.errors import UserError
from deeplense_core.runs import ACTIVE, list_runs, open_run

STUB = Path(__file__).parent / "stub_worker.py"


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """The workspace folder; whatever still runs in it is ended afterwards."""
    monkeypatch.setenv("DEEPLENSE_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPLENSE_SLOTS", "1")
    monkeypatch.setattr(jobs, "COMMAND", [sys.executable, str(STUB)])
    yield tmp_path
    left = [open_run(row.id) for row in list_runs() if row.state in ACTIVE]
    for run in left:
        with contextlib.suppress(UserError):
            jobs.cancel(run, grace_s=0)
    for run in left:
        wait_for(lambda run=run: run.worker.get("role") == "submitter" or not run.has_worker())
