"""Makes the pictures of the first page from the simulator: ``python assets/samples/make.py``."""

from pathlib import Path

import numpy as np
import torch

from deeplense_core.display import to_png, to_rgb
from deeplense_core.sim import simulate

HERE = Path(__file__).parent
SEED = 15


def main() -> None:
    """Writes one picture a class, of the same lens and source, and the browser's icon from the first."""
    batch = simulate("common-test", 3, seed=SEED, matched=True, mass_fraction_scale=5.0)
    for image, label in zip(batch.images.numpy(), batch.labels.tolist(), strict=True):
        name = ("no", "sphere", "vort")[label]
        wide = to_rgb(image[:, 30:120], percentile=99.8)  # 150 x 90 pixels: as wide as a door
        (HERE / f"{name}.png").write_bytes(to_png(wide))
        if name == "no":
            (HERE / "icon.png").write_bytes(to_png(to_rgb(image[:, 27:123:2, 27:123:2], percentile=99.8)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(all="raise")
    main()
