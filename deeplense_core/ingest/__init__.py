"""Brings folders of labelled images, in the layouts that published sets have, into a data-set folder.

Every layout is one of two shapes of tree (:mod:`deeplense_core.ingest.image_folders`); what tells the published sets
apart is how their files are written. Nothing in a file is believed, and what is not taken is reported with a
reason.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.audit import audit
from deeplense_core.bulk.sources import is_set, open_set
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import DEFAULT_SPLITS, Dataset, DatasetWriter
from deeplense_core.data_writer import refuse_existing
from deeplense_core.errors import UserError
from deeplense_core.images import BadImageError, LensImage, check_pixels, read_image, to_chw
from deeplense_core.ingest.arrays import copy_array
from deeplense_core.ingest.cutouts import Cutouts, copy_cutouts, find_cutouts, look_at_cutouts
from deeplense_core.ingest.image_folders import LISTED, Item, Skipped, Tree, rounded_scale, scan
from deeplense_core.ingest.pairs import check_scale, copy_pairs, is_pairs, match, side
from deeplense_core.ingest.safe_pickle import read_image_and_mass
from deeplense_core.photometry import measure
from deeplense_core.registry import Registry

LAYOUTS = Registry("layout")
"""Name -> a function ``(Tree, sample) -> bool`` that knows its layout; ``auto`` takes the first that does."""
SUBSTRUCTURE = {"no", "sphere", "vort"}
_SAMPLED = 500
_BATCH = 64


@dataclass(frozen=True)
class Sample:
    """What the files of a source look like, from some of them."""

    shape: tuple[int, int, int]
    """(c, h, w) of most."""
    array_shape: tuple[int, ...]
    """As stored."""
    dtype: str
    pickled: bool
    """Whether some are pickled ``[image, mass]``."""
    pixel_scale_arcsec: float | None
    bands: tuple[str, ...]
    unit: str


@LAYOUTS.register("pairs", tree="{LR,HR}/*NUMBER.npy", pixel_scale_arcsec={75: 0.1})
def pairs(tree: Tree, sample: Sample) -> bool:
    """Pairs for super-resolution: folders LR and HR, files matched by the number in their names."""
    return is_pairs(tree)


@LAYOUTS.register("common-test", tree="{train,val}/{no,sphere,vort}/*.npy", pixel_scale_arcsec={150: 0.05})
def common_test(tree: Tree, sample: Sample) -> bool:
    """The Common Test set: train and val folders of no, sphere, vort, one channel."""
    return _is_substructure(tree) and tree.has_splits and sample.shape[0] == 1


@LAYOUTS.register("model-4", tree="{train,val}/{no,cdm,axion}/*.npy")
def model_4(tree: Tree, sample: Sample) -> bool:
    """DeepLense Model IV: train and val folders of no, cdm, axion, three channels, stored last."""
    return _is_substructure(tree) and tree.has_splits and sample.shape[0] == 3


@LAYOUTS.register("model-1-3", tree="{axion,cdm,no_sub}/*.npy", pixel_scale_arcsec={150: 0.05})
def model_1_3(tree: Tree, sample: Sample) -> bool:
    """DeepLense Models I to III: axion, cdm, no_sub; axion pickled as [image, mass], or 150 x 150 pixels."""
    square = sample.shape == (1, 150, 150)
    return _is_substructure(tree) and not tree.has_splits and (sample.pickled or square)


@LAYOUTS.register("foundation", tree="{no_sub,cdm,axion}/*.npy")
def foundation(tree: Tree, sample: Sample) -> bool:
    """The foundation-model set: no_sub, cdm, axion, 64 x 64, plain arrays."""
    return _is_substructure(tree) and not tree.has_splits and sample.shape == (1, 64, 64)


@LAYOUTS.register("lens-finding-2025", tree="{train,test}_{lenses,nonlenses}/*.npy", bands=("g", "r", "i"))
def lens_finding_2025(tree: Tree, sample: Sample) -> bool:
    """Lens finding 2025: train and test folders of lenses and nonlenses, g, r, i, each scaled to [0, 1]."""
    return _is_lens_finding(tree) and tree.has_splits and sample.shape[0] == 3


@LAYOUTS.register("lens-finding-2024", tree="{easy,hard}/*_<BAND>-<ID>.fits, {easy,hard}_*.csv", cutouts=True)
def lens_finding_2024(tree: Tree, sample: Sample) -> bool:
    """Lens finding 2024: one FITS file a band and tables with no_source, which is 0 for a lens."""
    return False  # known by its table, before any tree of classes is looked for


@LAYOUTS.register("bologna", tree="classifications.csv, Public/Band*/*_<BAND>-<ID>.fits", cutouts=True)
def bologna(tree: Tree, sample: Sample) -> bool:
    """Bologna lens challenge: one FITS file a band and a table with is_lens; pixels without data are 100."""
    return False  # as above


@LAYOUTS.register("survey", tree="one HDF5 or NPY file: images (n, c, h, w), columns (n,)", array=True)
def survey(tree: Tree, sample: Sample) -> bool:
    """A survey in one array: HDF5 with images (n, c, h, w) and numbers of each, or NPY; no labels, any size."""
    return False  # known by its file, before any tree is looked for


@LAYOUTS.register("unlabelled-folder", tree="*")
def unlabelled_folder(tree: Tree, sample: Sample) -> bool:
    """Any folder of images without class folders: no labels, for learning without them."""
    return not tree.classes


@LAYOUTS.register("split-folders", tree="{train,val,test}/CLASS/*")
def split_folders(tree: Tree, sample: Sample) -> bool:
    """Any train, val or test folders of class folders; NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF."""
    return tree.has_splits


@LAYOUTS.register("class-folders", tree="CLASS/*")
def class_folders(tree: Tree, sample: Sample) -> bool:
    """Any folder of class folders; NPY, NPZ, FITS, HDF5, PNG, JPEG or TIFF."""
    return not tree.has_splits and bool(tree.classes)


def _is_substructure(tree: Tree) -> bool:
    return bool(tree.classes) and set(tree.classes) <= SUBSTRUCTURE


def _is_lens_finding(tree: Tree) -> bool:
    return bool(tree.classes) and set(tree.classes) <= set(LENS_CLASSES)


def ingest(
    src: str | os.PathLike,
    out: str | os.PathLike,
    layout: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    *,
    channels: str = "auto",
    splits: Mapping[str, float] | None = None,
    pixel_scale_arcsec: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Makes a data set of a folder of images.

    Args:
        src: Folder that holds class folders, or train, val and test folders of them, or images alone; or one file
            of many images in one array.
        out: Data-set folder to make.
        layout: A name in LAYOUTS, or ``auto``.
        progress: Called with (files done, files in all).
        channels: Where 3-D arrays have their channels: ``auto``, ``first`` or ``last``.
        splits: Fractions for images that come without a split.
        pixel_scale_arcsec: Side of a pixel, where the files do not say it or say it wrongly.
        seed: Decides the splits.

    Raises:
        UserError: missing or empty folder, no class folders, no readable image, another layout than was said.
    """
    refuse_existing(out)
    source = Path(src).expanduser()
    if layout == "auto" or layout in cutout_layouts():
        cutouts = find_cutouts(source)
        if cutouts is not None and layout in ("auto", cutouts.layout):
            return _ingest_cutouts(cutouts, out, source, splits or DEFAULT_SPLITS, progress, pixel_scale_arcsec, seed)
        if layout != "auto":
            raise UserError(f"This is not layout {layout!r} ({LAYOUTS[layout].about['tree']}). Use --layout auto.")
    if layout in ("auto", "survey") and source.is_file() and is_set(source):
        return _ingest_array(Path(out), source, splits or DEFAULT_SPLITS, progress, pixel_scale_arcsec, seed)
    if layout == "survey":
        raise UserError(f"{str(source)!r} is not one HDF5 or NPY file of images (n, c, h, w). Use --layout auto.")
    tree = scan(source)
    sample = look(tree, channels)
    layout = _layout(layout, tree, sample)
    facts = {"kind": "ingest", "path": str(source.absolute()), "layout": layout, "channels": channels}
    fractions = splits or ({"train": 0.9, "val": 0.1} if tree.has_splits else DEFAULT_SPLITS)
    if layout == "pairs":
        return _ingest_pairs(tree, Path(out), facts, fractions, progress, pixel_scale_arcsec, seed)
    scale = pixel_scale_arcsec or sample.pixel_scale_arcsec or _known_scale(layout, sample)
    sample = replace(sample, bands=sample.bands or LAYOUTS[layout].about.get("bands", ()))
    with DatasetWriter(
        out, classes=tree.classes, shape=sample.shape, source=facts, pixel_scale_arcsec=scale,
        bands=sample.bands, units=sample.unit, seed=seed, total=len(tree.items),
    ) as writer:  # fmt: skip
        report = _copy(tree, sample, channels, writer, progress)
        report["notes"] = [*_notes(tree, sample, channels), *report["notes"]]
        return writer.finish(fractions, report, audit=audit)


def cutout_layouts() -> set[str]:
    """Layouts of a table beside one file a band."""
    return {name for name, entry in LAYOUTS.items() if entry.about.get("cutouts")}


def _ingest_cutouts(
    cutouts: Cutouts, out: str | os.PathLike, source: Path, fractions: Mapping[str, float],
    progress: Callable[[int, int], None] | None, pixel_scale_arcsec: float | None, seed: int,
) -> Dataset:
    """A data set of cutouts and their table; arguments as for :func:`ingest`."""
    shape, scale = look_at_cutouts(cutouts)
    facts = {"kind": "ingest", "path": str(source.absolute()), "layout": cutouts.layout}
    with DatasetWriter(
        out, classes=LENS_CLASSES, shape=(len(cutouts.bands), *shape), source=facts, bands=cutouts.bands, seed=seed,
        pixel_scale_arcsec=pixel_scale_arcsec or scale, total=len(cutouts.files),
    ) as writer:  # fmt: skip
        report = copy_cutouts(cutouts, shape, writer, progress)
        return writer.finish(fractions, report, audit=audit)


def _ingest_array(
    out: Path, source: Path, fractions: Mapping[str, float], progress: Callable[[int, int], None] | None,
    pixel_scale_arcsec: float | None, seed: int,
) -> Dataset:
    """A data set of the images in one array; arguments as for :func:`ingest`."""
    facts = {"kind": "ingest", "path": str(source.absolute()), "layout": "survey"}
    with open_set(source) as found, DatasetWriter(
        out, classes=(), shape=found.shape, source=facts, seed=seed, pixel_scale_arcsec=pixel_scale_arcsec,
        total=found.count,
    ) as writer:  # fmt: skip
        report = copy_array(found, writer, progress)
        if not report["kept"]:
            raise UserError(f"None of the {found.count} images of {source.name!r} is finite: there is nothing to keep.")
        return writer.finish(fractions, report, audit=audit)


def _known_scale(layout: str, sample: Sample) -> float | None:
    """Side of a pixel in arcsec, as published for images of that size."""
    return LAYOUTS[layout].about.get("pixel_scale_arcsec", {}).get(sample.shape[1])


def _ingest_pairs(
    tree: Tree, out: Path, facts: dict[str, Any], fractions: Mapping[str, float],
    progress: Callable[[int, int], None] | None, pixel_scale_arcsec: float | None, seed: int,
) -> Dataset:
    """A data set of coarse images and fine targets; arguments as for :func:`ingest`, the scale that of LR."""
    matched, channels = match(tree), facts["channels"]
    lr, hr = (look(side(tree, which), channels) for which in ("lr", "hr"))
    ratio = check_scale(lr.shape, hr.shape, (lr.pixel_scale_arcsec, hr.pixel_scale_arcsec))
    scale = pixel_scale_arcsec or lr.pixel_scale_arcsec or _known_scale("pairs", lr)
    samples = {"lr": lr, "hr": hr}
    with DatasetWriter(
        out, classes=(), shape=lr.shape, source=facts, pixel_scale_arcsec=scale, bands=lr.bands, units=lr.unit,
        seed=seed, total=len(matched), target_shape=hr.shape, target_pixel_scale_arcsec=scale and scale / ratio,
    ) as writer:  # fmt: skip
        report = copy_pairs(matched, tree.skipped, lambda item, which: _usable(item, samples[which], channels),
                            writer, progress)
        return writer.finish(fractions, report, audit=audit)


def look(tree: Tree, channels: str) -> Sample:
    """Reads some files, evenly spread, to learn the shape that most have.

    Raises:
        UserError: when none can be read, with the reason of the first.
    """
    step = max(1, len(tree.items) // _SAMPLED)
    shapes: Counter[tuple[int, int, int]] = Counter()
    firsts: dict[tuple[int, int, int], LensImage] = {}
    scales: set[float | None] = set()
    pickled, error = False, None
    for item in tree.items[::step]:
        try:
            image = load(item.path, channels)
        except BadImageError as err:
            error = error or err
            continue
        c, h, w = image.pixels.shape
        shapes[c, h, w] += 1
        firsts.setdefault((c, h, w), image)
        scales.add(rounded_scale(image))
        pickled |= "mass" in image.meta
    if not shapes:
        raise UserError(f"None of the {len(tree.items)} files can be used. The first: {error}")
    shape = max(shapes, key=lambda s: (shapes[s], s))
    first = firsts[shape]
    scale = scales.pop() if len(scales) == 1 else None
    return Sample(
        shape,
        first.meta["array_shape"],
        first.meta["dtype"],
        pickled,
        scale,
        first.bands,
        first.meta.get("unit", ""),
    )


def load(path: Path, channels: str) -> LensImage:
    """One file; a pickled ``[image, mass]`` goes through the restricted reader and has ``mass`` in ``meta``.

    Raises:
        BadImageError: when it cannot be used.
    """
    try:
        return read_image(path, channels=channels)
    except BadImageError as err:
        if err.reason != "pickled objects":
            raise
    with open(path, "rb") as file:
        array, mass = read_image_and_mass(file, path.name, path.stat().st_size)
    pixels = check_pixels(to_chw(array, channels, path.name), path.name)
    return LensImage(pixels, meta={"mass": mass, "array_shape": array.shape, "dtype": str(array.dtype)})


def _layout(name: str, tree: Tree, sample: Sample) -> str:
    if name == "auto":
        return next(known for known, entry in LAYOUTS.items() if entry.build(tree, sample))
    entry = LAYOUTS[name]
    if not entry.build(tree, sample):
        splits = "split folders, " if tree.has_splits else ""
        found = f"{splits}classes {', '.join(tree.classes)}, shape {sample.shape}"
        raise UserError(f"This is not layout {name!r} ({entry.about['tree']}). Found: {found}. Use --layout auto.")
    return name


def _copy(
    tree: Tree,
    sample: Sample,
    channels: str,
    writer: DatasetWriter,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Streams every good file into the writer; returns what there is to report."""
    skipped, batch, kept = tree.skipped, [], 0
    first: dict[bytes, Item] = {}
    crossing: list[list[str]] = []
    with_features = _is_lens_finding(tree)
    for done, item in enumerate(tree.items, start=1):
        try:
            image = _usable(item, sample, channels)
            twin = first.setdefault(hashlib.blake2b(image.pixels.data, digest_size=12).digest(), item)
            if twin is item:
                batch.append((item, image))
                kept += 1
            else:
                _note_twin(item, twin, skipped, crossing)
        except BadImageError as err:
            skipped.add(item.id, err.reason, str(err))
        if len(batch) == _BATCH or (done == len(tree.items) and batch):
            _append(batch, sample, writer, with_features)
            batch = []
        if progress is not None:
            progress(done, len(tree.items))
    notes = []
    if crossing:
        notes.append(f"{len(crossing)} images were in two published splits: taken out of train and val.")
    return {
        "found": len(tree.items), "kept": kept, "skipped": dict(skipped.counts),
        "skipped_files": skipped.files, "in_two_splits": crossing[:LISTED], "notes": notes,
    }  # fmt: skip


def _usable(item: Item, sample: Sample, channels: str) -> LensImage:
    image = load(item.path, channels)
    if image.pixels.shape != sample.shape:
        raise BadImageError(
            "other shape", f"{item.path.name!r} has shape {image.pixels.shape}; most have {sample.shape}."
        )
    if image.meta.get("mass") is not None and not sample.pickled:
        raise BadImageError("pickled among plain files", f"{item.path.name!r} holds a mass; most files do not.")
    return image


def _note_twin(item: Item, twin: Item, skipped: Skipped, crossing: list[list[str]]) -> None:
    if item.label != twin.label:
        why = f"Same pixels as {twin.id}, which is labelled {twin.label}: one of the labels is wrong."
        skipped.add(item.id, "same image, other label", why)
    else:
        skipped.add(item.id, "duplicate", f"Same pixels as {twin.id}.")
    if item.split != twin.split:
        crossing.append([twin.id, item.id])


def _append(
    batch: Sequence[tuple[Item, LensImage]], sample: Sample, writer: DatasetWriter, with_features: bool
) -> None:
    rows: dict[str, Any] = {
        "id": [item.id for item, _ in batch],
        "split": [item.split for item, _ in batch],
        "label": [item.label for item, _ in batch],
    }
    if sample.pickled:
        masses = [image.meta.get("mass") for _, image in batch]
        rows["truth_axion_mass"] = np.array([np.nan if m is None else m for m in masses], dtype=np.float64)
    images = np.stack([image.pixels for _, image in batch])
    if with_features:
        rows |= measure(images, sample.bands)
    writer.append(images, rows)


def _notes(tree: Tree, sample: Sample, channels: str) -> list[str]:
    notes = [f"Stored as {sample.dtype} {sample.array_shape}, kept as float32 {sample.shape}."]
    if len(sample.array_shape) == 3:
        last = sample.array_shape != sample.shape
        how = "found by their shapes" if channels == "auto" else "as you said"
        notes.append(f"Channels are the {'last' if last else 'first'} axis, {how}.")
    if not tree.classes:
        notes.append("No image carries a label: the set serves learning without labels.")
    if len(tree.classes) == 1:
        notes.append(f"There is one class only, {tree.classes[0]}: no classifier can be trained on this set.")
    return notes
