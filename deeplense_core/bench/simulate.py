"""Simulation speed against lenstronomy, one process each on the same cores: same systems, same images, no noise."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deeplense_core.bench.lenstronomy_peer import lenstronomy_system
from deeplense_core.machine import describe
from deeplense_core.sim.generate import recipe, render_scenes
from deeplense_core.sim.scene import Draws, Recipe, Scene

CASES = {"simulate_smooth": ("common-test", 0), "simulate_cdm": ("model-1", 1), "simulate_vort": ("common-test", 2),
         "simulate_axion": ("model-1", 2)}
"""Row -> recipe and class: no point masses, 25, 25 and 100."""
AGREEMENT = 1e-3
"""Largest difference between the two images, in units of the peak."""


def run(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Images per second of the compiled simulator and of lenstronomy, in turn, best of five rounds.

    The limit is arithmetic: the elementary operations of an image, counted while the same functions run eagerly,
    at the rate that a matrix product reaches on the same threads.

    Raises:
        UserError: when lenstronomy is missing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        rates, rows = [_arithmetic_rate()], {}
        for row, case in CASES.items():
            rows[row] = _case(*case, quick)
            rates.append(_arithmetic_rate())  # again and again: a busy machine shows its best only now and then
        for row in rows.values():
            row["limit"] = max(rates) / row["limit"]
        return rows
    finally:
        torch.set_num_threads(threads)


def _case(name: str, label: int, quick: bool) -> dict[str, Any]:
    """One row; its limit is still in operations an image."""
    count, peers = (64, 4) if quick else (256, 48)
    made = recipe(name)
    draws = Draws(7, count)
    keys = draws.keys()
    scene = made.draw(draws, torch.full((count,), label), 1.0)

    def ours() -> tuple[torch.Tensor, ...]:
        return render_scenes(made, scene, keys, torch.device("cpu"), compiled=True, noisy=False)

    systems = [lenstronomy_system(made, scene, i) for i in range(peers)]
    images, low, high = (values[:peers] for values in ours())
    images = images * (high - low)[:, None, None] + low[:, None, None]
    difference = _difference(made, scene, images, [draw() for draw in systems])
    best_ours = best_peer = math.inf
    for _ in range(1 if quick else 5):  # in turn, so that a drifting machine is fair to both
        best_ours = min(best_ours, min(_seconds(ours) for _ in range(4)) / count)
        best_peer = min(best_peer, min(_seconds(lambda: [draw() for draw in systems]) for _ in range(4)) / peers)
    masses = int((scene.mass_theta_E_sq[0] > 0).sum())
    return {
        "ours": 1 / best_ours, "peer": 1 / best_peer, "ratio": best_peer / best_ours,
        "limit": _operations_per_image(made, scene, keys), "unit": "images/s",
        "machine": describe(),
        "note": f"150 x 150 pixels, {masses} point masses, largest difference {difference:.1e} of the peak",
    }


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _difference(made: Recipe, scene: Scene, ours: torch.Tensor, theirs: list[np.ndarray]) -> float:
    """Largest difference in units of the peak, checked; without the border, beyond which lenstronomy is dark."""
    inner = slice(made.optics.psf_radius, -made.optics.psf_radius)
    worst = 0.0
    for i, peer in enumerate(theirs):
        expected = float(scene.exposure_s[i]) * (peer + made.detector.sky_rate)
        worst = max(worst, float(np.abs(ours[i].numpy() - expected)[inner, inner].max() / expected.max()))
    if worst > AGREEMENT:
        raise AssertionError(f"the images differ by {worst:.1e} of the peak: the bench compares unlike things")
    return worst


class _Count(TorchDispatchMode):
    """Counts arithmetic: the numbers that every operation of floats gives."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        moves_data = any(word in str(function) for word in ("view", "slice", "select", "expand", "copy", "index"))
        if isinstance(result, torch.Tensor) and result.is_floating_point() and not moves_data:
            self.total += result.numel()
        return result


def _operations_per_image(made: Recipe, scene: Scene, keys: torch.Tensor) -> float:
    few = 4
    with _Count() as counter:
        render_scenes(made, scene.mapped(lambda v: v[:few]), keys[:few], torch.device("cpu"), False, False)
    return counter.total / few


def _arithmetic_rate() -> float:
    """Multiplications and additions a second of a large float32 matrix product on the same threads.

    A processor that fuses the two does as many separate ones, on its multipliers and its adders.
    """
    a = torch.randn(1536, 1536)
    return 2 * 1536**3 / min(_seconds(lambda: a @ a) for _ in range(8))
