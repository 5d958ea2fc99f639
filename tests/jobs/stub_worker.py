"""The real worker with a stand-in for the training, named by the model of the run: starts in no time."""

import json
import os
import signal
import subprocess
import sys
import time
import types

from deeplense_core import work
from deeplense_core.errors import UserError


def steps(run):
    """Adds up its step numbers, with a checkpoint after each; goes on from the last one."""
    settings = run.spec.train_settings
    state = json.loads((run.latest_checkpoint() or b'{"next": 0, "sum": 0}').split(b"\n")[0])
    while state["next"] < settings.get("steps", 3):
        state = {"next": state["next"] + 1, "sum": state["sum"] + state["next"]}
        padding = os.urandom(settings.get("checkpoint_bytes", 10_000))
        run.save_checkpoint(f"step-{state['next']}", json.dumps(state).encode() + b"\n" + padding)
        run.log("train", state["next"], loss=1 / state["next"])
        run.set_status(progress=state["next"] / settings.get("steps", 3))
        if run.should_stop():
            return "cancelled"
        time.sleep(settings.get("pause", 0.01))
    run.save_file("result.json", json.dumps(state).encode())
    print("trained to the end")
    return "done"


DAEMON = """
import os, sys, time
os.fork() and os._exit(0)
os.setsid()
os.fork() and os._exit(0)
with open(sys.argv[1] + ".part", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""


def stubborn(run):
    """Hears no request to stop, and starts a process that hides in a session of its own."""
    subprocess.run([sys.executable, "-c", DAEMON, str(run.path / "hidden.pid")], check=True)
    if run.spec.train_settings.get("end"):
        while not (run.path / "hidden.pid").exists():
            time.sleep(0.01)
        return "done"
    while True:
        time.sleep(600)


def exclusive(run):
    """Fails when as many as ``slots`` others train at the same time; writes down its turn."""
    crowd = run.path.parent.parent / "crowd"
    crowd.mkdir(exist_ok=True)
    (crowd / run.id).touch()
    if len(list(crowd.iterdir())) > run.spec.train_settings["slots"]:
        raise RuntimeError("two at once")
    with open(run.path.parent.parent / "turns", "a") as turns:
        turns.write(run.id + "\n")
    time.sleep(run.spec.train_settings.get("pause", 0.02))
    (crowd / run.id).unlink()
    return "done"


def user_error(run):
    raise UserError("The data set 'x' has no class 'y'. Did you mean 'z'?")


def defect(run):
    raise KeyError("wrong")


def memory(run):
    raise MemoryError


def cuda_memory(run):
    raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 20.00 GiB")


def cpu_memory(run):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes.")


def nonsense(run):
    return "finished"


def killed(run):
    os.kill(os.getpid(), signal.SIGKILL)


def vanished(run):
    os._exit(7)


def interrupted(run):
    sys.exit(3)


training = types.ModuleType("deeplense_core.carry_out")
training.carry_out = lambda run: globals()[run.spec.model](run)
sys.modules["deeplense_core.carry_out"] = training

if __name__ == "__main__":
    sys.exit(work.main())
