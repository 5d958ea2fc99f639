"""A UMAP map of simulated lenses: ours, with exact neighbours and a start from PCA, against umap-learn called plainly.

Each way runs in a process of its own, imports and compilation of umap-learn counted, as a user waits for them.
Trustworthiness (Venna and Kaski 2001, scikit-learn) is the share of a map's neighbours that are neighbours in truth.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.machine import describe
from deeplense_core.workspace import ROOT

COUNT, MODEL, RECIPE = 2_000, "common-test", "common-test"
NEIGHBOURS = 15
_OURS = """
import sys
import numpy as np
from deeplense_core.embeddings.project import METHODS, UmapConfig
np.save(sys.argv[2], METHODS["umap"].build(np.load(sys.argv[1]), UmapConfig(), 0)["positions"])
"""
_PEER = """
import sys
import numpy as np
import umap
np.save(sys.argv[2], umap.UMAP(random_state=0).fit_transform(np.load(sys.argv[1])))
"""


def run(count: int = COUNT) -> dict[str, dict[str, Any]]:
    """Seconds of both ways from start to map, and the trustworthiness of both maps."""
    from sklearn.manifold import trustworthiness

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = features(count)
        np.save(folder / "vectors.npy", vectors)
        seconds, trust = {}, {}
        for way, script in {"ours": _OURS, "peer": _PEER}.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", script, str(folder / "vectors.npy"), str(folder / f"{way}.npy")],
                           cwd=ROOT, check=True, capture_output=True)  # fmt: skip
            seconds[way] = time.perf_counter() - start
            trust[way] = float(trustworthiness(vectors, np.load(folder / f"{way}.npy"), n_neighbors=NEIGHBOURS))
    facts = {"machine": describe(), "peer_name": "umap-learn, umap.UMAP(random_state=0)",
             "note": f"{count} images of {RECIPE} by {MODEL}, {vectors.shape[1]} numbers each"}  # fmt: skip
    return {
        "project": {**seconds, "ratio": seconds["peer"] / seconds["ours"], "limit": None, "unit": "s", **facts},
        "project-trust": {**trust, "ratio": trust["ours"] / trust["peer"], "limit": 1.0, "unit": "trustworthiness",
                          **facts},
    }  # fmt: skip


def features(count: int) -> np.ndarray:
    """Vectors of fresh simulations by the network that ships, float32 (count, d)."""
    from deeplense_core.sources import simulated_images
    from deeplense_core.trained import load_model

    images = simulated_images(RECIPE, count, 0, 0)
    return load_model(MODEL).outputs(np.concatenate(list(images.blocks(256))))[1].astype(np.float32)
