"""Several commands that share the runs of one study."""

import threading

from deeplense_core.bench import study
from deeplense_core.machine import identity
from deeplense_core.runs import Run, list_runs
from deeplense_core.spec import RunSpec


def test_a_run_that_another_process_trains_is_waited_for(monkeypatch):
    monkeypatch.setattr(study, "LOOK_AGAIN_S", 0.02)
    spec = RunSpec("classify", "data", "model", seed=1, name="study, seed 1")
    run = Run.create(spec)
    run.set_worker(identity())
    run.set_status(state="running")
    said = []

    def note(text):
        said.append(text)
        threading.Timer(0.1, lambda: run.set_status(state="done")).start()

    assert study.trained(spec, note).id == run.id
    assert said == ["study, seed 1: waiting for the process that trains it"]
    assert len(list_runs()) == 1
