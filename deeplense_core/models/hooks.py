"""Listening in on a network: what its parts are given and give, while others may be using it too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def listening(modules: Iterable[nn.Module], hear: Callable[[tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Within the block, ``hear`` is given the inputs and the output of each pass through one of these modules.

    Of passes of this thread only: the sessions of the app share their networks, each in a thread of its own.
    """
    here = threading.get_ident()

    def told(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() == here:
            hear(inputs, output)

    hooks = [module.register_forward_hook(told) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
