"""Writers to be killed: each runs in a process forked from a server that has imported the core already."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter

HERE = Path(__file__).resolve().parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["writer_process"])


def writer_at(out, total=None, side=8):
    return DatasetWriter(out, classes=("a",), shape=(1, side, side), source={}, total=total)


def batch(writer, n=16):
    side = writer.shape[-1]
    writer.append(np.random.default_rng(0).random((n, 1, side, side)), {"label": ["a"] * n})


def write_many(out, count, ready=None):
    if ready is not None:
        ready.set()
    with writer_at(out, total=16 * count) as writer:
        for _ in range(count):
            batch(writer)
        writer.finish()


def write_and_wait(out):
    with writer_at(out, total=100) as writer:
        batch(writer)
        time.sleep(60)


def write_and_die_at_rename(out, before):
    rename = os.rename

    def dying(*args):
        if not before:
            rename(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    os.rename = dying
    write_many(out, 3)


def start(target, *args):
    process = FORKS.Process(target=target, args=args)
    with pytest.MonkeyPatch.context() as patch:  # the server, started by the first, finds the core by this
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))
        process.start()
    return process
