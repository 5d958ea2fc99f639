"""What the tests of jobs share: a specification, and waiting for things to happen."""

import time

from deeplense_core import jobs
from deeplense_core.runs import ACTIVE
from deeplense_core.spec import RunSpec


def spec(model="steps", name="", **train_settings):
    return RunSpec(task="classify", data="none", model=model, train_settings=train_settings, name=name)


def wait_for(condition, timeout_s=20.0):
    """Waits until ``condition()`` is true and returns what it returned."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return result


def wait_for_end(run, timeout_s=30.0):
    """The status of ``run`` once it has ended and its worker is gone."""
    wait_for(lambda: jobs.refresh(run).state not in ACTIVE and not run.has_worker(), timeout_s)
    return run.status


def wait_for_state(run, state):
    wait_for(lambda: jobs.refresh(run).state == state)
