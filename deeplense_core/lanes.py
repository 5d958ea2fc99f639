"""Blocks of images side by side on the cores of a processor: one core a block, instead of all cores on each block.

A network's layers are short: cores that share one wait for each other at its end, and more so when another process
takes one of them. The answers do not depend on the number of cores then.
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
    """``work`` of each block, in their order; few blocks are held at a time.

    Args:
        work: Called in threads, on a processor in as many as PyTorch may use cores; a single block gets all of them.
        blocks: Made one after the other, in this thread.
        device: Where the work is done; an accelerator takes block after block.
    """
    lanes = torch.get_num_threads() if device.type == "cpu" else 1
    rest = iter(blocks)
    first = list(islice(rest, 2))
    if lanes < 2 or len(first) < 2:
        yield from map(work, chain(first, rest))
        return
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(lanes, initializer=_take_one_core) as pool:
        try:
            for block in chain(first, rest):
                waiting.append(pool.submit(work, block))
                if len(waiting) > lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _take_one_core() -> None:
    """Keeps the layers computed in this thread to it. ``torch.set_num_threads`` would bind threads to come as well."""
    torch.get_num_threads()  # PyTorch sets a new thread up at its first call, and would undo what comes before
    _openmp().limit(limits=1)


@cache
def _openmp() -> ThreadpoolController:
    """The libraries that share out layers, which take a while to find."""
    return ThreadpoolController().select(user_api="openmp")
