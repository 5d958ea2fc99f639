"""What a run does from start to end: train, say what its answers are worth, report the test split once."""

from __future__ import annotations

from deeplense_core.calibrate import calibrate
from deeplense_core.evaluate import evaluate_after_training
from deeplense_core.progress import training
from deeplense_core.runs import Run
from deeplense_core.tasks import TASKS
from deeplense_core.train import train


def carry_out(run: Run) -> str:
    """Trains the run and tests it; returns ``done`` or ``cancelled``.

    Progress goes to stderr, which is a terminal or the run's log.
    """
    with training() as report:
        state = train(run, report)
        if state == "done":
            if TASKS[run.spec.task].about.get("calibrated"):
                calibrate(run.id)
            evaluate_after_training(run)
    return state
