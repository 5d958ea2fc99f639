"""How a run starts and ends: every outcome has its state and its cause."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from waiting import spec, wait_for, wait_for_end, wait_for_state

from deeplense_core import jobs, machine
from deeplense_core.errors import UserError
from deeplense_core.runs import Run, list_runs, open_run

STUB = Path(__file__).parent / "stub_worker.py"
ROOT = Path(__file__).parent.parent.parent
SUBMIT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, however the tests were started
from deeplense_core import jobs
from deeplense_core.spec import RunSpec
jobs.COMMAND = [sys.executable, sys.argv[1]]
run = jobs.submit(RunSpec("classify", "none", sys.argv[2], train_settings=eval(sys.argv[3])), sys.argv[4])
print(run.id, flush=True)
"""


def submit_elsewhere(model, where, code=SUBMIT, **train_settings):
    """A process that submits one run, as another server or a terminal would."""
    command = [sys.executable, "-c", code, str(STUB), model, repr(train_settings), where]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)


def hidden_process(run):
    """The pid of what a stubborn training hid in a session of its own."""
    wait_for(lambda: (run.path / "hidden.pid").exists())
    return int((run.path / "hidden.pid").read_text())


def result(run):
    return json.loads(run.read_file("result.json"))


def test_here_returns_after_the_end():
    run = jobs.submit(spec(steps=3), "here")
    status = run.status
    assert (status.state, status.cause, status.progress) == ("done", "", 1.0)
    assert status.created <= status.started <= status.finished
    assert result(run) == {"next": 3, "sum": 3}
    assert [row["step"] for row in run.metrics("train")] == [1, 2, 3]
    assert run.env()["versions"]["numpy"]
    assert not run.has_worker()


def test_local_returns_at_once_and_keeps_the_output():
    run = jobs.submit(spec(steps=20, pause=0.05))
    assert run.status.state in ("queued", "running")
    assert open_run(run.id) == run
    assert wait_for_end(run).state == "done"
    assert "trained to the end" in run.log_text()


@pytest.mark.parametrize(
    ("model", "cause", "mendable"),
    [
        ("user_error", "The data set 'x' has no class 'y'. Did you mean 'z'?", True),
        ("defect", "KeyError: 'wrong'", False),
        ("memory", "out of memory", False),
        ("cuda_memory", "out of memory", False),
        ("cpu_memory", "out of memory", False),
        ("nonsense", "training ended with 'finished', neither done nor cancelled", False),
        ("killed", "killed by signal 9 (the system does this when memory runs out)", False),
        ("vanished", "ended with exit code 7 and no result", False),
        ("interrupted", "SystemExit: 3", False),
    ],
)
def test_a_failure_has_its_cause(model, cause, mendable):
    run = jobs.submit(spec(model), "here")
    assert (run.status.state, run.status.cause, run.status.mendable) == ("failed", cause, mendable)
    assert ("Traceback" in run.log_text()) == (model not in ("user_error", "nonsense", "killed", "vanished"))


def test_what_a_training_leaves_running_ends_with_it():
    run = jobs.submit(spec("stubborn", end=True), "here")
    assert run.status.state == "done"
    assert machine.start_time(hidden_process(run)) is None


def test_a_worker_that_cannot_start_fails(monkeypatch):
    monkeypatch.setattr(jobs, "COMMAND", ["/nowhere/python"])
    for where in ("local", "here"):
        run = jobs.submit(spec(), where)
        assert run.status.state == "failed"
        assert "could not be started" in run.status.cause
        assert jobs.queue_position(run) is None


def test_wrong_requests_are_refused_before_a_run_exists(monkeypatch):
    with pytest.raises(UserError, match="Did you mean 'local'"):
        jobs.submit(spec(), "locale")
    monkeypatch.setenv("DEEPLENSE_SLOTS", "none")
    with pytest.raises(UserError, match="DEEPLENSE_SLOTS = 'none'"):
        jobs.submit(spec())
    assert list_runs() == []


# Cancel ---------------------------------------------------------------------------------------------


def test_cancel_stops_in_good_order_and_resume_goes_on():
    run = jobs.submit(spec(steps=40, pause=0.02))
    wait_for(lambda: len(run.metrics("train")) > 3)
    jobs.cancel(run)
    assert wait_for_end(run).state == "cancelled"
    reached = len(run.metrics("train"))
    assert reached < 40
    jobs.resume(run)
    assert wait_for_end(run).state == "done"
    assert run.status.resumes == 1
    assert result(run) == {"next": 40, "sum": 780}
    assert [row["step"] for row in run.metrics("train")] == list(range(1, 41))


def test_cancel_kills_the_whole_tree_after_the_grace():
    run = jobs.submit(spec("stubborn"))
    hidden = hidden_process(run)
    assert machine.start_time(hidden) is not None
    jobs.cancel(run, grace_s=0.5)
    assert run.status.state == "running"
    assert wait_for_end(run).state == "cancelled"
    assert run.status.cause == "killed: it did not stop in time"
    assert machine.start_time(hidden) is None


def test_a_second_cancel_hastens_the_first():
    run = jobs.submit(spec("stubborn"))
    wait_for_state(run, "running")
    jobs.cancel(run, grace_s=600)
    jobs.cancel(run, grace_s=0)
    assert wait_for_end(run).state == "cancelled"


def test_a_queued_run_is_cancelled_at_once():
    first = jobs.submit(spec("stubborn"))
    wait_for_state(first, "running")
    second, third = jobs.submit(spec()), jobs.submit(spec())
    assert [jobs.queue_position(run) for run in (first, second, third)] == [None, 1, 2]
    jobs.cancel(second)
    assert second.status.state == "cancelled"
    assert [jobs.queue_position(run) for run in (second, third)] == [None, 1]
    wait_for_end(second)
    jobs.resume(second)
    assert [jobs.queue_position(run) for run in (third, second)] == [1, 2]
    jobs.cancel(first, grace_s=0)
    assert wait_for_end(second).state == wait_for_end(third).state == "done"
    assert second.status.started > third.status.started


def test_the_process_that_is_about_to_start_a_run_survives_its_cancelling():
    run = Run.create(spec())
    jobs.cancel(run)
    assert run.status.state == "cancelled"


def test_what_has_ended_cannot_be_cancelled_and_what_is_done_not_resumed():
    run = jobs.submit(spec(), "here")
    with pytest.raises(UserError, match="is done already"):
        jobs.cancel(run)
    with pytest.raises(UserError, match="is done. A run can be resumed when it is failed, cancelled, lost"):
        jobs.resume(run)


def test_ctrl_c_cancels_a_run_in_the_foreground():
    terminal = submit_elsewhere("steps", "here", steps=1000, pause=0.05)
    run = open_run(wait_for(lambda: [row.id for row in list_runs() if row.state == "running"])[0])
    wait_for(lambda: run.metrics("train"))
    os.killpg(terminal.pid, signal.SIGINT)
    output, _ = terminal.communicate(timeout=20)
    assert output.decode().strip() == run.id
    assert run.status.state == "cancelled"


def test_a_second_ctrl_c_kills_it():
    terminal = submit_elsewhere("stubborn", "here")
    run = open_run(wait_for(lambda: [row.id for row in list_runs() if row.state == "running"])[0])
    hidden = hidden_process(run)
    os.killpg(terminal.pid, signal.SIGINT)
    wait_for(run.should_stop)
    time.sleep(0.3)
    assert run.status.state == "running"
    os.killpg(terminal.pid, signal.SIGINT)
    terminal.communicate(timeout=20)
    assert run.status.state == "cancelled"
    assert machine.start_time(hidden) is None


def test_a_worker_started_by_hand_takes_its_place_in_the_queue():
    run = Run.create(spec())
    command = [*jobs.COMMAND, str(run.path)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30).returncode == 0
    assert run.status.state == "done"


# Lost and resumed -----------------------------------------------------------------------------------


def test_a_run_outlives_the_process_that_submitted_it():
    server = submit_elsewhere("steps", "local", SUBMIT + "import time; time.sleep(600)", steps=40, pause=0.02)
    run = open_run(server.stdout.readline().decode().strip())
    wait_for_state(run, "running")
    server.kill()
    server.communicate()
    assert wait_for_end(run).state == "done"


def test_a_dead_worker_without_a_result_is_lost():
    run = jobs.submit(spec(steps=1000, pause=0.1))
    wait_for(lambda: run.metrics("train"))
    (training,) = psutil.Process(run.worker["pid"]).children()
    os.kill(run.worker["pid"], signal.SIGKILL)
    wait_for(lambda: not run.has_worker())
    assert [row.state for row in list_runs()] == ["lost"]
    assert run.status.state == "running"
    assert jobs.refresh(run).state == "lost"
    assert run.status.cause == "its process ended without a result"
    wait_for(lambda: not training.is_running())


def test_after_a_restart_of_the_machine_a_run_is_lost_and_resumes():
    run = jobs.submit(spec(steps=40, pause=0.02))
    wait_for(lambda: len(run.metrics("train")) > 3)
    os.kill(run.worker["pid"], signal.SIGKILL)
    alive = machine.identity()
    run.set_worker(alive | {"boot_id": "3f2b8a52-0000-0000-0000-000000000000"})
    assert jobs.refresh(run).state == "lost"
    assert run.status.cause == "the machine was restarted"
    jobs.resume(run)
    assert wait_for_end(run).state == "done"
    assert result(run)["sum"] == 780


def test_a_pid_given_to_another_process_is_not_the_worker():
    run = jobs.submit(spec(), "here")
    run.set_status(state="running")
    run.set_worker(machine.identity())
    assert jobs.refresh(run).state == "running"
    run.set_worker(machine.identity() | {"start_time": "1"})
    assert jobs.refresh(run).state == "lost"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"pid": "1"}', b'{"pid": -1}'])
def test_an_unreadable_worker_file_reads_as_lost(payload):
    run = jobs.submit(spec(), "here")
    run.set_status(state="running")
    (run.path / "worker.json").write_bytes(payload)
    assert jobs.refresh(run).state == "lost"


@pytest.mark.parametrize("shift", [86400.0, -86400.0])
def test_a_clock_moved_by_a_day_changes_nothing(monkeypatch, shift):
    first = jobs.submit(spec("exclusive", slots=1, pause=0.5))
    wait_for_state(first, "running")
    second = jobs.submit(spec("exclusive", slots=1))
    now = jobs.time.time
    monkeypatch.setattr(jobs.time, "time", lambda: now() + shift)
    os.utime(first.path / "heartbeat", (now() + shift, now() + shift))
    third = jobs.submit(spec("exclusive", slots=1))
    assert jobs.refresh(first).state == "running"
    assert [jobs.queue_position(run) for run in (second, third)] == [1, 2]
    assert wait_for_end(third).state == "done"
    assert (first.path.parent.parent / "turns").read_text().split() == [first.id, second.id, third.id]


def test_of_two_who_resume_at_once_one_does():
    run = jobs.submit(spec(steps=30, pause=0.05))
    wait_for(lambda: run.metrics("train"))
    jobs.cancel(run)
    wait_for_end(run)
    outcomes = []

    def press():
        try:
            jobs.resume(run)
            outcomes.append("started")
        except UserError:
            outcomes.append("refused")

    buttons = [threading.Thread(target=press) for _ in range(8)]
    for button in buttons:
        button.start()
    for button in buttons:
        button.join()
    wait_for_end(run)
    assert sorted(outcomes) == ["refused"] * 7 + ["started"]
    assert (run.status.state, run.status.resumes, result(run)["sum"]) == ("done", 1, 435)
