"""Makes the pictures of the first page: ``python -m assets.samples.make``.

A lens of the simulator, the same lens with subhalos under the evidence of the classifier that ships, and the ROC
curves of the run that ships. And the browser's icon.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from deeplense_core.display import stretch, to_png, to_rgb
from deeplense_core.evaluations.predictions import read_predictions
from deeplense_core.examine import evidence_map
from deeplense_core.images import LensImage
from deeplense_core.metrics import class_curves
from deeplense_core.plots import CLASS_COLORS, PLATE
from deeplense_core.shelf.examples import EXAMPLES, example_runs
from deeplense_core.sim import simulate
from deeplense_core.trained import load_model

HERE = Path(__file__).parent
SEED = 15
WIDE = slice(30, 120)  # 150 x 90 pixels: as wide as a door
SIZE, FINER = (450, 270), 3


def main() -> None:
    """Writes the three pictures and the icon."""
    batch = simulate("common-test", 3, seed=SEED, matched=True, mass_fraction_scale=5.0)
    smooth, clumpy = (batch.images[int((batch.labels == label).nonzero()[0])].numpy() for label in (0, 1))
    (HERE / "lens.png").write_bytes(to_png(to_rgb(smooth[:, WIDE], percentile=99.8)))
    (HERE / "icon.png").write_bytes(to_png(to_rgb(smooth[:, 27:123:2, 27:123:2], percentile=99.8)))
    (HERE / "evidence.png").write_bytes(to_png(evidence(clumpy)[WIDE]))
    roc().save(HERE / "roc.png", optimize=True)


def evidence(pixels: np.ndarray) -> np.ndarray:
    """The image in gray, warm where the network finds what speaks for subhalos; uint8 (h, w, 3)."""
    model = load_model("common-test")
    image = LensImage(pixels, model.pixel_scale_arcsec, ("gray",), {})
    found = np.clip(evidence_map(model, image, "sphere", "grad-cam"), 0, 1)[..., None]
    gray = stretch(pixels[0], percentile=99.8).image[..., None] * 255
    warm = to_rgb(found[..., 0] + 0.2, "linear", 100).astype(float)
    share = 0.75 * found**0.7
    return np.round(gray * (1 - share) + warm * share).astype(np.uint8)


def roc() -> Image.Image:
    """ROC curves of the run that ships, one a class, on the dark plate."""
    folder = next((EXAMPLES / example_runs()[0] / "evaluations").iterdir())
    known = read_predictions(folder, ("no", "sphere", "vort"))
    width, height = (FINER * side for side in SIZE)
    picture = Image.new("RGB", (width, height), PLATE)
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = 0.08 * width, 0.1 * height, 0.94 * width, 0.9 * height
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom + (top - bottom) * share
        pen.line([(left, y), (right, y)], fill="#232A34", width=FINER)
    for curve in class_curves(known.labels, known.probabilities, known.classes):
        rate = np.log10(np.clip(curve.roc[0], 1e-3, 1)) / 3 + 1  # logarithmic, from 0.001 to 1
        points = zip(left + (right - left) * rate, bottom + (top - bottom) * curve.roc[1], strict=True)
        pen.line(list(points), fill=CLASS_COLORS[curve.name], width=2 * FINER, joint="curve")
    return picture.resize(SIZE, Image.Resampling.LANCZOS).quantize(64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.seterr(all="raise")
    main()
