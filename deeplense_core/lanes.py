"""Blocks of images side by side on the cores of a processor: one core a block, instead of all cores on each block.

A network's layers are short: cores that share one wait for each other at its end, and more so when another process
takes one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain, islice
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Block = TypeVar("Block")
Done = TypeVar("Done")


def side_by_side(
    work: Callable[[Block], Done], blocks: Iterable[Block], device: torch.device
) -> Iterator[Done]:
    """``work`` of each block, in their order; of blocks, one more than there are cores is held at most.

    Args:
        work: Called in threads, on a processor in as many as PyTorch may use cores; fewer blocks share all of them.
        blocks: Made one after the other, in this thread.
        device: Where the work is done; an accelerator takes block after block.
    """
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    rest = iter(blocks)
    first = list(islice(rest, cores))
    lanes = len(first)
    if lanes < 2:
        yield from map(work, chain(first, rest))
        return
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(lanes, initializer=_take_cores, initargs=(cores // lanes,)) as pool:
        try:
            for block in chain(first, rest):
                waiting.append(pool.submit(work, block))
                if len(waiting) > lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _take_cores(count: int) -> None:
    """Keeps the layers computed in this thread to so many. ``torch.set_num_threads`` would bind others as well."""
    torch.get_num_threads()  # PyTorch sets a new thread up at its first call, and would undo what comes before
    _openmp().limit(limits=count)


@cache
def _openmp() -> ThreadpoolController:
    """The libraries that share out layers, which take a while to find."""
    return ThreadpoolController().select(user_api="openmp")
