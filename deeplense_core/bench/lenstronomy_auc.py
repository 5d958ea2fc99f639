"""Does a classifier owe its score to our simulator? The same skies, rendered by lenstronomy, through the same network.

Both sets have the same systems, the same exposure, the same random numbers for the photons and the same labels; only
the way from the system to the expected brightness differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deeplense_core.bench.lenstronomy_peer import lenstronomy_system
from deeplense_core.machine import describe
from deeplense_core.metrics import classification_metrics, paired_difference
from deeplense_core.sim.generate import recipe, render_scenes
from deeplense_core.sim.render import expose, scale_to_unit
from deeplense_core.sim.scene import Draws
from deeplense_core.trained import Trained, load_model

MODEL, RECIPE, SEED = "common-test", "common-test", 2
COUNT = 1_500
BLOCK = 50


def run(count: int = COUNT) -> dict[str, dict[str, Any]]:
    """Macro AUC on skies by lenstronomy, beside the same skies by our simulator.

    Raises:
        UserError: when lenstronomy is missing.
        AssertionError: when the difference does not hold 0 in its 95 % interval.
    """
    model = load_model(MODEL)
    theirs, ours, labels = both_skies(count)
    answers = {name: model.calibrate(model.logits(images)) for name, images in (("theirs", theirs), ("ours", ours))}
    scores = {name: classification_metrics(labels, said, model.classes)["auc_macro"] for name, said in answers.items()}
    apart = paired_difference(labels, answers["theirs"], answers["ours"], "auc_macro", model.classes)
    row = _row(model, scores, apart, float(np.abs(theirs - ours).max()), count)
    if not float(apart["low"]) <= 0 <= float(apart["high"]):
        raise AssertionError(f"the two simulators do not agree: {row['note']}")
    return {"auc_on_lenstronomy_skies": row}


def both_skies(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same systems by lenstronomy and by our simulator, float32 (n, 1, h, w) each, and their labels (n,)."""
    made, draws = recipe(RECIPE), Draws(SEED, count)
    keys, labels = draws.keys(), draws.labels(len(made.classes), made.fractions)
    scene = made.draw(draws, labels, 1.0)
    rates = np.stack([lenstronomy_system(made, scene, i)() for i in range(count)])
    parts = []
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        rate = torch.from_numpy(rates[rows]).float()
        counts = expose(rate, scene.exposure_s[rows, None, None], keys[rows], made.detector, noisy=True)
        parts.append(scale_to_unit(counts)[0])
    images, *_ = render_scenes(made, scene, keys, torch.device("cpu"), compiled=False, noisy=True)
    return torch.cat(parts)[:, None].numpy(), images[:, None].numpy(), labels.numpy()


def _row(model: Trained, scores: dict[str, Any], apart: dict[str, Any], largest: float, count: int) -> dict[str, Any]:
    theirs, ours = scores["theirs"], scores["ours"]
    interval = f"95 % {theirs['low']:.4f} to {theirs['high']:.4f}"
    return {
        "ours": theirs["value"], "peer": ours["value"], "ratio": theirs["value"] / ours["value"], "limit": 1.0,
        "unit": "macro AUC", "machine": describe(), "low": theirs["low"], "high": theirs["high"],
        "difference": {name: apart[name] for name in ("value", "low", "high", "verdict")},
        "note": f"{count} images of {RECIPE}, seed {SEED}, by {model.name}: lenstronomy {theirs['value']:.4f} "
                f"({interval}), ours {ours['value']:.4f}, difference {apart['value']:+.4f} "
                f"(95 % {apart['low']:+.4f} to {apart['high']:+.4f}); pixels differ by {largest:.2g} at most",
    }  # fmt: skip
