"""Features of a trained network for all images of a data set, or for files, in bounded memory.

What is found goes to files beside the output at once, so that the same command goes on where it was interrupted;
the output itself appears when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.bulk.files import (
    Item,
    default_workers,
    file_digest,
    find_files,
    read_batches,
    unpack_zips,
    write_failed,
)
from deeplense_core.bulk.journal import Journal
from deeplense_core.data import Dataset, open_dataset
from deeplense_core.embeddings import SAMPLE
from deeplense_core.embeddings.store import COLUMN, FORMAT, Embedding, embeddings_dir, open_embedding, write_npz
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.image_checks import BadImageError
from deeplense_core.trained import BATCH, Trained
from deeplense_core.workspace import datasets_dir, safe_name

SIM = "sim:"
WITH_FEATURES = ("classify", "find", "ssl")
Progress = Callable[[int, int | None], None]
Record = dict[str, Any]
Block = tuple[list[Record], np.ndarray, np.ndarray]
"""Records for the journal, and vectors and outputs of those that did not fail."""


@dataclass(frozen=True)
class Made:
    """An embedding and what became of the images."""

    embedding: Embedding
    failed: int
    failed_file: Path | None
    """List of the files that failed, with the reasons."""
    taken_up: int
    """How many images an interrupted run before this one had done."""


def embed(
    model: Trained, data: Sequence[str], out: Path, pixel_scale_arcsec: float | None = None, count: int = SAMPLE,
    workers: int | None = None, progress: Progress | None = None,
) -> Made:  # fmt: skip
    """Embeds images: the vector that the network's last layers read, its mean over the eight flips and quarter turns.

    Args:
        model: Any trained network that sees one image at a time.
        data: The folder of a data set, or ``sim:RECIPE``, which becomes a data set of the workspace first, because
            a map wants to show its images again; else files, ZIP files and folders of files.
        out: The ``.npz`` file; see :mod:`deeplense_core.embeddings.store`.
        pixel_scale_arcsec: For files that do not say it.
        count: Images of a recipe.
        workers: Processes that read files. Default: half the cores.
        progress: Called with images done and images in all.

    Raises:
        UserError: no such data, a network without features, no image that can be used.
    """
    if model.task not in WITH_FEATURES:
        raise UserError(f"{model.name!r} makes images of images and has no features of a whole image. Choose a network "
                        f"of one of the tasks {', '.join(WITH_FEATURES)}.")  # fmt: skip
    if out.suffix != ".npz":
        raise UserError(f"{out.name!r} must end in .npz.")
    folder = stored(data, count)
    if folder:
        images = _OfDataset(model, open_dataset(folder))
    else:
        images = _OfFiles(model, [Path(path).expanduser().absolute() for path in data], pixel_scale_arcsec,
                          workers or default_workers(), out)  # fmt: skip
    made_with = {"weights": file_digest(model.folder / "model.safetensors"), "model": model.name, **images.facts}
    out.parent.mkdir(parents=True, exist_ok=True)
    with _Rows(out, made_with, _sizes(model)) as rows:
        done, total = rows.journal.taken_up, images.total
        for records, vectors, outputs in images.blocks(rows.journal.knows):
            rows.append(records, vectors, outputs)
            done += len(records)
            if progress:
                progress(done, max(total, done))
        return rows.finish(_about(model, made_with), images.columns)


def stored(data: Sequence[str], count: int) -> Path | None:
    """Folder of the data set that is meant, simulated where it is a recipe's; None where files are."""
    if len(data) == 1 and data[0].startswith(SIM):
        recipe = data[0].removeprefix(SIM)
        folder = datasets_dir() / safe_name(f"{recipe}-{count}")
        if not folder.exists():
            from deeplense_core.sim import simulate_dataset

            simulate_dataset(recipe, count, folder)
        return folder
    folder = Path(data[0]).expanduser()
    return folder.absolute() if len(data) == 1 and (folder / "manifest.json").exists() else None


def as_bands(image: LensImage, wanted: int) -> LensImage:
    """The image with as many bands as a network takes, where that can be: the mean for a network of one band."""
    if wanted != 1 or len(image.pixels) == 1:
        return image
    return replace(image, pixels=image.pixels.mean(0, keepdims=True), bands=("mean",))


def embed_images(
    model: Trained, images: Sequence[LensImage], default_scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, d) and outputs (n, k), float32, of single images of any size.

    Raises:
        UserError: wrong number of bands, or values that are not finite.
    """
    wanted = model.shape[0]
    fitted = [model.fit(as_bands(image, wanted).pixels[None], image.pixel_scale_arcsec or default_scale)[0]
              for image in images]  # fmt: skip
    return _run(model, np.concatenate(fitted))


def _run(model: Trained, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs, vectors = model.outputs(fitted)
    if model.task == "ssl":  # an encoder puts its features out
        outputs = outputs[:, :0]
    return vectors.astype(np.float32), outputs.astype(np.float32)


def _sizes(model: Trained) -> tuple[int, int]:
    """Length of a vector, and number of outputs beside it."""
    vectors, outputs = _run(model, np.zeros((1, *model.shape), np.float32))
    return vectors.shape[1], outputs.shape[1]


def _about(model: Trained, made_with: Mapping[str, Any]) -> dict[str, Any]:
    classes = model.classes if model.task != "ssl" else ()
    return {"format": FORMAT, **made_with, "task": model.task, "classes": list(classes),
            "temperature": model.card.get("temperature", 1.0),
            "created": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip


class _OfDataset:
    """The images of a data set, from its memory map."""

    def __init__(self, model: Trained, dataset: Dataset):
        self.model, self.dataset, self.total = model, dataset, len(dataset)
        self.facts = {"kind": "dataset", "data": [str(dataset.path)], "fingerprint": dataset.fingerprint}
        table = dataset.catalog
        self.ids = table["id"].astype(str).to_numpy()
        self.columns = {name: _plain(table[name].to_numpy()) for name in table.columns if name not in ("id", "label")}

    def blocks(self, done: Callable[[str], bool]) -> Iterator[Block]:
        todo = [row for row, name in enumerate(self.ids) if not done(name)]
        labels = self.dataset.catalog["label"].fillna("").to_numpy()

        def block(rows: list[int]) -> Block:
            fitted, _ = self.model.fit(np.asarray(self.dataset.images[rows]), self.dataset.pixel_scale_arcsec)
            records = [{"key": self.ids[row], "name": self.ids[row], "row": {"label": labels[row], "path": ""}}
                       for row in rows]  # fmt: skip
            return records, *_run(self.model, fitted)

        yield from self.model.side_by_side(block, (todo[at : at + BATCH] for at in range(0, len(todo), BATCH)))


class _OfFiles:
    """Files, opened by worker processes while the network looks at those before."""

    def __init__(self, model: Trained, paths: list[Path], scale: float | None, workers: int, out: Path):
        self.model, self.paths, self.scale, self.workers = model, paths, scale, workers
        self.facts = {"kind": "files", "data": [str(path) for path in paths], "pixel_scale_arcsec": scale}
        self.columns: dict[str, np.ndarray] = {}
        self.own = out.absolute().with_suffix("").name
        self.total = sum(1 for _ in self._files())
        if not self.total:
            raise UserError(f"No files in {', '.join(repr(str(path)) for path in paths)}.")

    def _files(self) -> Iterator[Item]:
        return (item for item in find_files(self.paths) if not Path(item.path).name.startswith(f"{self.own}."))

    def blocks(self, done: Callable[[str], bool]) -> Iterator[Block]:
        with tempfile.TemporaryDirectory(prefix="deeplense-") as unpacked:
            items = (item for item in unpack_zips(self._files(), Path(unpacked)) if not done(item.key))
            yield from self.model.side_by_side(self._block, read_batches(items, self.workers))

    def _block(self, batch: list[tuple[Item, LensImage | BadImageError]]) -> Block:
        records, fitted = [], []
        for item, answer in batch:
            record: Record = {"key": item.key, "name": item.name}
            try:
                if isinstance(answer, BadImageError):
                    raise answer
                image = as_bands(answer, self.model.shape[0])
                fitted.append(self.model.fit(image.pixels[None], answer.pixel_scale_arcsec or self.scale)[0])
                record["row"] = self._row(item, answer)
            except UserError as err:
                record["failed"] = [getattr(err, "reason", "does not fit the model"), str(err)]
            records.append(record)
        if not fitted:
            d, k = _sizes(self.model)
            return records, np.empty((0, d), np.float32), np.empty((0, k), np.float32)
        return records, *_run(self.model, np.concatenate(fitted))

    def _row(self, item: Item, image: LensImage) -> Record:
        folder = os.path.dirname(item.name)
        return {"label": "", "path": "" if item.unpacked else item.path, "folder": folder or os.path.basename(
            os.path.dirname(item.path)), "ra": image.meta.get("ra_deg"), "dec": image.meta.get("dec_deg"),
            "pixel_scale_arcsec": image.pixel_scale_arcsec}  # fmt: skip


class _Rows:
    """What has been found so far: a journal of the images, and their vectors and outputs as raw float32 beside it."""

    def __init__(self, out: Path, made_with: Mapping[str, Any], sizes: tuple[int, int]):
        self.out, self.sizes = out, sizes
        self.files = tuple(out.with_name(f"{out.name}.part.{part}") for part in ("vectors", "outputs"))
        self.journal = Journal(out.with_name(f"{out.name}.part"), made_with)
        self.raw = [open(path, "ab") for path in self.files]  # noqa: SIM115
        for file, size in zip(self.raw, sizes, strict=True):
            file.truncate(4 * size * self.journal.rows)  # vectors whose line a crash has torn are made again

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.raw:
            file.close()
        with contextlib.suppress(OSError):
            self.journal.__exit__()

    def append(self, records: list[Record], vectors: np.ndarray, outputs: np.ndarray) -> None:
        """Vectors first: a line in the journal means that they are there."""
        for file, values in zip(self.raw, (vectors, outputs), strict=True):
            file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
            file.flush()
        self.journal.append(records)

    def finish(self, about: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> Made:
        failed_file = self.out.with_name(f"{self.out.stem}.failed.csv")
        write_failed(self.journal, failed_file)
        count = self.journal.rows
        if not count:
            first = next(self.journal.failures())["failed"][1]
            raise UserError(f"None of the {self.journal.failed} file(s) could be read; {failed_file.name!r} lists "
                            f"them. The first: {first}")  # fmt: skip
        records = [record for record in self.journal.records() if "row" in record]
        arrays = _arrays(records, columns)
        d, k = self.sizes
        facts = {**about, "count": count, "size": d, "digest": file_digest(self.files[0])}
        streamed = [("vectors", (count, d), self.files[0]), ("outputs", (count, k), self.files[1])]
        write_npz(self.out, arrays | {"about": np.array(json.dumps(facts))}, streamed)
        made = Made(open_embedding(self.out), self.journal.failed, failed_file if self.journal.failed else None,
                    self.journal.taken_up)  # fmt: skip
        self.journal.remove()
        for path in self.files:
            path.unlink(missing_ok=True)
        return made


def _arrays(records: Sequence[Record], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Ids, labels, paths and columns in the order of the vectors."""
    rows = [record["row"] for record in records]
    own = [name for name in rows[0] if name not in ("label", "path")]
    found = {name: np.array([row[name] for row in rows], dtype=str if name == "folder" else float) for name in own}
    return {
        "ids": np.array([record["name"] for record in records]), "labels": np.array([row["label"] for row in rows]),
        "paths": np.array([row["path"] for row in rows]),
        **{COLUMN + name: values for name, values in (found | dict(columns)).items()},
    }  # fmt: skip


def _plain(values: np.ndarray) -> np.ndarray:
    """A column of a catalogue without objects."""
    return values if values.dtype.kind in "iufb" else np.array(["" if v is None else str(v) for v in values])


def default_out(model: str, data: Sequence[str]) -> Path:
    """Where the workspace keeps the embedding of these data by this model."""
    said = "-".join(Path(part.removeprefix(SIM)).name for part in data)
    key = hashlib.sha256(json.dumps([model, *data]).encode()).hexdigest()[:6]
    return embeddings_dir() / f"{safe_name(f'{said}-{model}')[:50]}-{key}.npz"
