"""Answers of a trained network for files and folders of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage, read_image
from deeplense_core.trained import Prediction, Trained


def predict_files(
    model: Trained, paths: Sequence[Path], pixel_scale_arcsec: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[list[dict[str, Any]], list[tuple[Path, str]]]:
    """Classifies image files and folders of them; a bad file is reported and does not stop the others.

    Args:
        model: What to ask.
        paths: Files, and folders whose files are taken in order of name.
        pixel_scale_arcsec: For files that do not say it.
        progress: Called with files done and files in all.

    Returns:
        Rows ``name, ra, dec, class, score, p_<class>..., warning`` and the failed files with the reason.

    Raises:
        UserError: a path that does not exist, or no file at all.
    """
    files = _files(paths)
    rows, failed = [], []
    for i, path in enumerate(files):
        try:
            image = read_image(path)
            scale = image.pixel_scale_arcsec or pixel_scale_arcsec
            rows.append(_row(model, path.name, image, model.predict(image.pixels[None], scale)[0]))
        except UserError as err:
            failed.append((path, str(err)))
        if progress:
            progress(i + 1, len(files))
    return rows, failed


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no file or folder {str(path)!r}.")
        files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    if not files:
        raise UserError(f"No files in {', '.join(repr(str(p)) for p in paths)}.")
    return files


def _row(model: Trained, name: str, image: LensImage, prediction: Prediction) -> dict[str, Any]:
    best = int(prediction.probabilities.argmax())
    return {
        "name": name, "ra": image.meta.get("ra_deg"), "dec": image.meta.get("dec_deg"), "class": model.classes[best],
        "score": float(prediction.probabilities[best]),
        **{f"p_{c}": float(p) for c, p in zip(model.classes, prediction.probabilities, strict=True)},
        "warning": "; ".join(prediction.warnings),
    }
