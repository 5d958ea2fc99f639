"""Predictions for a folder of FITS cutouts, from files to table, against the loop that most people write.

The peer: one process, a DataLoader over ``astropy.io.fits.getdata`` and torchvision transforms, the same network,
batch and number of threads. ``bare`` is the network alone on images that are in memory already, each batch on all cores
as PyTorch does by itself; the limit is the same with a batch a core (:mod:`deeplense_core.lanes`).
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from deeplense_core.bench.memory import peak_of
from deeplense_core.bulk.files import predict_files
from deeplense_core.forward import logits, turned_logits
from deeplense_core.machine import describe
from deeplense_core.models import build_model
from deeplense_core.trained import BATCH, Trained, load_model

SMALL, COMMON = "common-test", "resnet18"
"""A shipped model whose network is done with an image in 1.4 ms, and a network that nearly everyone uses, averaged
over the eight symmetries."""
CUTOUTS, MANY = 1_000, 100_000
ROUNDS = 3
AGREEMENT = 1e-3
"""Largest difference between the two tables of probabilities."""


def run(cutouts: int = CUTOUTS, many: int = MANY, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Images per second for a small and for a common network, best of some rounds in turn, and the peak memory
    with few and with many files."""
    with tempfile.TemporaryDirectory() as name:
        shipped = load_model(SMALL)
        images = make_cutouts(Path(name, "cutouts"), cutouts, shipped)
        rows = {f"predict {SMALL}": _compare(shipped, Path(name), images, rounds)}
        few = Path(name, "few")
        images = make_cutouts(few / "cutouts", max(4 * BATCH, cutouts // 4), shipped)
        rows[f"predict {COMMON}"] = _compare(untrained(COMMON, shipped, few), few, images, 1)
        memory = {str(count): peak_memory(Path(name), count) for count in (cutouts, many)}
    rows[f"predict {SMALL}"]["peak_mb"] = memory
    return rows


def untrained(network: str, like: Trained, folder: Path) -> Trained:
    """A network with first weights and the card of another: speed does not ask what it has learnt."""
    card = {**like.card, "model": network, "model_settings": {"pretrained": False}}
    del card["cloud"]
    net = build_model(network, card["model_settings"], **card["model_args"])
    (folder / "model.safetensors").write_bytes(save(dict(net.state_dict())))
    return Trained(network, folder, card)


def _compare(model: Trained, folder: Path, images: np.ndarray, rounds: int) -> dict[str, Any]:
    ways: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: _ours(model, folder),
        "peer": lambda: _plain(model, folder / "cutouts"),
        "limit": lambda: model.calibrate(model.logits(images)),
        "bare": lambda: model.calibrate(bare_logits(model, images)),
    }
    seconds = dict.fromkeys(ways, math.inf)
    for _ in range(rounds):  # in turn, so that a drifting machine is fair to all
        for way, work in ways.items():
            seconds[way] = min(seconds[way], _seconds(work))
    difference = float(np.abs(ways["ours"]() - ways["peer"]()).max())
    if difference > AGREEMENT:
        raise AssertionError(f"probabilities differ by {difference:.1e}: the bench compares unlike things")
    ours, peer, limit, bare = (len(images) / seconds[way] for way in ways)
    return {
        "ours": ours, "peer": peer, "ratio": ours / peer, "limit": limit, "bare": bare,
        "share_of_bare": ours / bare, "unit": "images/s", "machine": describe(),
        "note": f"{len(images)} FITS files of {images.shape[-2]} x {images.shape[-1]} pixels, "
                f"{torch.get_num_threads()} threads; limit: the network alone, with its symmetries; "
                f"{ours / bare:.0%} of its speed with each batch on all cores",
    }  # fmt: skip


def bare_logits(model: Trained, images: np.ndarray) -> np.ndarray:
    """The network in a plain loop, its preprocessing and symmetries included."""
    batches = (torch.from_numpy(images[at : at + BATCH]).to(model.device) for at in range(0, len(images), BATCH))
    return np.concatenate([logits(model.net, x, model.input, True).cpu().numpy() for x in batches]).astype(np.float64)


def make_cutouts(folder: Path, count: int, model: Trained) -> np.ndarray:
    """Files of noise with a WCS, of the size and pixel scale the network was trained at, and their pixels."""
    folder.mkdir(parents=True)
    bands, height, width = model.shape
    images = np.random.default_rng(0).random((count, bands, height, width), dtype=np.float32)
    step = (model.pixel_scale_arcsec or 0.05) / 3600
    for number, image in enumerate(images):
        header = fits.Header({
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150 + number / 1000, "CRVAL2": 2.2,
            "CRPIX1": width / 2, "CRPIX2": height / 2, "CUNIT1": "deg", "CUNIT2": "deg",
            "CD1_1": -step, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": step, "RADESYS": "ICRS", "BUNIT": "nJy",
        })  # fmt: skip
        fits.PrimaryHDU(image[0] if bands == 1 else image, header).writeto(folder / f"{number:06}.fits")
    return images


def _ours(model: Trained, folder: Path) -> np.ndarray:
    out = folder / "out.json"
    predict_files(model, [folder / "cutouts"], out)
    rows = json.loads(out.read_bytes())["rows"]
    return np.array([[row[f"p_{name}"] for name in model.classes] for row in rows])


class _Files(Dataset):
    """What most people write."""

    def __init__(self, folder: Path, crop: int, height: int):
        self.paths = sorted(folder.iterdir())
        self.transform = v2.Compose([
            v2.CenterCrop(crop or height),
            v2.Lambda(lambda x: (x - x.amin()) / (x.amax() - x.amin())),
            v2.Lambda(lambda x: ((x.clamp_min(0) + 0.003).sqrt() - 0.15) * 8),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        pixels = np.asarray(fits.getdata(self.paths[i])).astype(np.float32)
        return self.transform(torch.from_numpy(pixels)[None])


def _plain(model: Trained, folder: Path) -> np.ndarray:
    settings = model.card["preprocess"]
    assert (settings["normalise"], settings["stretch"]) == ("minmax", "sqrt"), "the transforms are for these"
    device = next(model.net.parameters()).device
    loader = DataLoader(_Files(folder, settings["crop"], model.shape[1]), batch_size=BATCH)
    with torch.no_grad():
        outputs = torch.cat([_answers(model, x.to(device)).cpu() for x in loader])
    return model.calibrate(outputs.numpy().astype(np.float64))


def _answers(model: Trained, x: torch.Tensor) -> torch.Tensor:
    """Averaged over the eight symmetries where the network does not have them, as ours."""
    return model.net(x).float() if getattr(model.net, "d4_invariant", False) else turned_logits(model.net, x).mean(0)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


_MEASURE = """
import sys
from pathlib import Path
from deeplense_core.bulk.files import predict_files
from deeplense_core.trained import load_model
made = predict_files(load_model(sys.argv[1]), [Path(sys.argv[2])], Path(sys.argv[3]))
assert (made.done, made.failed) == (int(sys.argv[4]), 0), made
"""


def peak_memory(folder: Path, count: int) -> float:
    """Largest resident memory (MB) of the process that predicts ``count`` files, made of those in ``cutouts``.

    The processes that read have at most 2 GB each, by their limits, and hold one file.
    """
    many = folder / f"many-{count}"
    many.mkdir()
    cutouts = sorted((folder / "cutouts").iterdir())
    for number in range(count):
        os.link(cutouts[number % len(cutouts)], many / f"{number:06}.fits")
    return peak_of(_MEASURE, SMALL, many, folder / "many.csv", count)
