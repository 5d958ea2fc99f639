"""Scoring of a set of cutouts, from the array on disk to the table, against the network alone.

There is no peer in this. ``bare`` is the forward pass on images that are in memory already, each batch on all cores as
PyTorch does by itself; the limit is the same with a batch a core (:mod:`deeplense_core.lanes`). Memory is that of
a process of its own that scores few cutouts and one that scores many: it must not grow with the set.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from deeplense_core.bench.memory import peak_of
from deeplense_core.bench.predict import bare_logits
from deeplense_core.bulk.sets import predict_any
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.familiarity import familiar_ranges
from deeplense_core.machine import describe
from deeplense_core.models import build_model
from deeplense_core.trained import Trained

FEW, MANY = 2_000, 20_000
SHAPE = (3, 64, 64)
MODEL = "d4net"
ROUNDS = 2
AGREEMENT = 1e-5
"""Largest difference between the scores of the two ways."""
FLAT_MB = 48.0
"""Memory may differ by this much between few and many: allocators keep what they had."""


def run(few: int = FEW, many: int = MANY, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Images per second, best of some rounds in turn, and the peak memory with few and with many cutouts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = make_set(folder / "many.npy", many)
        np.save(folder / "few.npy", images[:few])
        model = untrained(folder, images[:512])
        ways: dict[str, Callable[[], np.ndarray]] = {
            "ours": lambda: _ours(model, folder),
            "limit": lambda: _scores(model, model.logits(images)),
            "bare": lambda: _scores(model, bare_logits(model, images)),
        }
        seconds = dict.fromkeys(ways, math.inf)
        scores = {}
        for _ in range(rounds):  # in turn, so that a drifting machine is fair to all
            for way, work in ways.items():
                start = time.perf_counter()
                scores[way] = work()
                seconds[way] = min(seconds[way], time.perf_counter() - start)
        difference = float(np.abs(scores["ours"] - scores["limit"]).max())
        if difference > AGREEMENT:
            raise AssertionError(f"scores differ by {difference:.1e}: the bench compares unlike things")
        memory = {count: peak_of(_MEASURE, folder, path) for count, path in ((few, "few.npy"), (many, "many.npy"))}
    ours, limit, bare = (many / seconds[way] for way in ways)
    return {"find": {
        "ours": ours, "peer": None, "ratio": ours / bare, "limit": limit, "bare": bare,
        "share_of_bare": ours / bare, "peak_mb": {str(count): mb for count, mb in memory.items()},
        "flat": memory[many] - memory[few] <= FLAT_MB, "unit": "images/s", "machine": describe(),
        "note": f"{many} cutouts of {' x '.join(map(str, SHAPE))} in one NPY file to Parquet, untrained {MODEL}, "
                f"{torch.get_num_threads()} threads; ratio: to the bare forward pass",
    }}  # fmt: skip


def make_set(path: Path, count: int) -> np.ndarray:
    """A file of cutouts of noise, and its pixels."""
    images = np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)
    np.save(path, images)
    return images


def untrained(folder: Path, images: np.ndarray) -> Trained:
    """A finder with the weights that it begins with, for which these images are familiar."""
    args = {"in_channels": SHAPE[0], "out_features": len(LENS_CLASSES)}
    torch.manual_seed(0)
    net = build_model(MODEL, {}, **args)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, folder / "model.safetensors")
    card = {
        "task": "find", "model": MODEL, "model_settings": {}, "model_args": args, "shape": SHAPE,
        "classes": LENS_CLASSES, "pixel_scale_arcsec": 0.17, "preprocess": {}, "temperature": 1.0, "bands": [],
        "familiar": familiar_ranges([images]),
    }  # fmt: skip
    return Trained("untrained", folder, card)


def _ours(model: Trained, folder: Path) -> np.ndarray:
    made, table = predict_any(model, [folder / "many.npy"], folder / "out.parquet", model.pixel_scale_arcsec)
    assert made.failed == 0, made
    return pd.read_parquet(table)["score"].to_numpy()


def _scores(model: Trained, outputs: np.ndarray) -> np.ndarray:
    return model.calibrate(outputs)[:, model.classes.index(LENS_CLASSES[0])]


_MEASURE = """
import sys
from pathlib import Path
import numpy as np
from deeplense_core.bench.find import untrained
from deeplense_core.bulk.sets import predict_any
folder, name = Path(sys.argv[1]), sys.argv[2]
model = untrained(folder, np.array(np.load(folder / "few.npy", mmap_mode="r")[:512]))
predict_any(model, [folder / name], folder / "memory.parquet", 0.17)
"""
