"""Predictions for a set of images that lie in one array: a block at a time, taken up again where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.answers import predicted_row
from deeplense_core.bands import BandPlan, BandRule
from deeplense_core.bulk.files import Answering, Summary, finish, identity, predict_files
from deeplense_core.bulk.journal import Journal
from deeplense_core.bulk.shards import Shard
from deeplense_core.bulk.sources import Block, ImageSet, is_set, open_set
from deeplense_core.catalog import check_format
from deeplense_core.errors import UserError

Progress = Callable[[int, int | None], None]


def predict_any(
    model: Answering, paths: Sequence[Path], out: Path, pixel_scale_arcsec: float | None = None,
    workers: int | None = None, progress: Progress | None = None, shard: Shard | None = None,
    rule: BandRule | None = None,
) -> tuple[Summary, Path]:  # fmt: skip
    """Predictions for files and folders of them, or for one set of images in an array.

    Args:
        model, paths, pixel_scale_arcsec, workers, progress: As :func:`deeplense_core.bulk.files.predict_files`.
        out: The table; a shard has one of its own beside it (:meth:`deeplense_core.bulk.shards.Shard.path`).
        shard: The part to be done; None: all of it.
        rule: Says which bands of an image the network gets; None: all.

    Returns:
        What became of the images, and where the table is.

    Raises:
        UserError: as :func:`deeplense_core.bulk.files.predict_files`; a set beside other paths.
    """
    check_format(out)
    target = shard.path(out) if shard else out
    if not any(is_set(path) for path in paths):
        return predict_files(model, paths, target, pixel_scale_arcsec, workers, progress, shard, rule), target
    if len(paths) > 1:
        raise UserError("A set of images in one array is predicted alone: give one path at a time.")
    with open_set(paths[0]) as images:
        return predict_set(model, images, target, pixel_scale_arcsec, progress, shard, rule), target


def predict_set(
    model: Answering, images: ImageSet, out: Path, pixel_scale_arcsec: float | None = None,
    progress: Progress | None = None, shard: Shard | None = None, rule: BandRule | None = None,
) -> Summary:  # fmt: skip
    """Predictions for a set in one array, in its order; see :func:`predict_any`.

    Args:
        pixel_scale_arcsec: Where the set does not say.
    """
    check_format(out)
    bands = rule.plan([f"band {i + 1}" for i in range(images.shape[0])]) if rule else None
    rows = shard.rows(images.count) if shard else range(images.count)
    if not rows:
        raise UserError(f"{str(images.path)!r} has {images.count} images: none for {shard}.")
    scale = images.pixel_scale_arcsec or pixel_scale_arcsec
    made_with = {**identity(model, scale, rule), "set": str(images.path.resolve()), "rows": [rows.start, rows.stop],
                 "shape": list(images.shape)}  # fmt: skip
    with Journal(out.with_name(f"{out.name}.part"), made_with) as journal:
        done = journal.taken_up  # rows are done in order, so their number says where to go on
        for block in images.blocks(range(rows.start + done, rows.stop)):
            journal.append(_ask(model, block, scale, bands))
            done += len(block.rows)
            if progress:
                progress(done, len(rows))
        return finish(journal, out, out.with_name(f"{out.stem}.failed.csv"))


def _ask(
    model: Answering, block: Block, scale: float | None, bands: BandPlan | None
) -> Iterator[dict[str, Any]]:
    """Records for the journal, in order; an image that cannot be used does not stop the others."""
    pixels = bands.apply(block.pixels) if bands else block.pixels
    good = np.asarray(np.isfinite(pixels).all((1, 2, 3)))
    notes = (bands.note,) if bands and bands.note else ()
    answers = iter(model.predict(pixels if good.all() else pixels[good], scale) if good.any() else ())
    for row, name, ra, dec, usable in zip(block.rows, block.names, block.ra_deg, block.dec_deg, good.tolist(),
                                          strict=True):  # fmt: skip
        record = {"key": str(row), "name": name}
        try:  # an image with pixels that are not finite is asked about alone: some networks know what to do with it
            alone = slice(row - block.rows.start, row - block.rows.start + 1)
            answer = next(answers) if usable else model.predict(pixels[alone], scale)[0]
        except UserError as err:
            yield record | {"failed": ["NaN or infinite pixels", f"{name!r}: {err}"]}
            continue
        answer = replace(answer, warnings=(*notes, *answer.warnings)) if notes else answer
        yield record | {"row": predicted_row(name, ra, dec, answer, model.classes)}
