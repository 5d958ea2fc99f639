"""Predictions for any number of files, in bounded memory, that go on where they were interrupted.

Worker processes open the files (:mod:`deeplense_core.reading.decode`) while the network looks at those before;
images of one shape go through it together. What is found goes to a journal beside the output at once, and becomes
the table when all files are done.
"""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from deeplense_core.answers import predicted_row
from deeplense_core.bands import BandRule, fit_bands
from deeplense_core.bulk.journal import Journal
from deeplense_core.bulk.shards import Shard
from deeplense_core.catalog import check_format, safe_cell, write_catalog
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.decode import Decoder, unpack
from deeplense_core.reading.image_checks import BadImageError
from deeplense_core.storage import disk_full, is_disk_full, replacing
from deeplense_core.workspace import readable

BATCH = 64
"""Images that the network is given together."""
_AHEAD = 2 * BATCH
_HELD_BYTES = 256 * 2**20
"""Images read but not yet looked at: at most this many, or bytes."""
_BATCH_BYTES = 32 * 2**20
"""A batch is closed beyond this: every core has one in hand."""


Block = TypeVar("Block")
Done = TypeVar("Done")


class Answering(Protocol):
    """What is asked of a network: :class:`deeplense_core.trained.Trained` is one."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    def predict(self, images: np.ndarray, pixel_scale_arcsec: float | None = None) -> Sequence[Any]: ...
    def side_by_side(self, work: Callable[[Block], Done], blocks: Iterable[Block]) -> Iterator[Done]: ...


@dataclass(frozen=True)
class Item:
    """One file to look at."""

    name: str
    """As the table calls it: the path below the folder that was asked for, or inside the ZIP file."""
    path: str
    key: str
    """What tells it from all others, also in a later run."""
    unpacked: bool = False
    """Whether it is ours, to be removed once it is read."""
    refused: BadImageError | None = None
    """Why it cannot be unpacked."""


@dataclass(frozen=True)
class Summary:
    """What became of the files."""

    done: int
    failed: int
    taken_up: int
    """How many of them an interrupted run before this one had done."""
    failed_file: Path | None
    """List of the files that failed, with the reasons."""


Answer = LensImage | BadImageError


def predict_files(
    model: Answering, paths: Sequence[Path], out: Path, pixel_scale_arcsec: float | None = None,
    workers: int | None = None, progress: Callable[[int, int | None], None] | None = None, shard: Shard | None = None,
    rule: BandRule | None = None,
) -> Summary:  # fmt: skip
    """Classifies files, folders of them (with all below) and ZIP files into a table.

    Args:
        model: What to ask.
        paths: Files, ZIP files, folders.
        out: The table: ``name, ra, dec, class, score, p_<class>..., warning``, in the order of the files.
            Beside it, ``<out>.part`` while it goes on, and ``<stem>.failed.csv`` where files failed.
        pixel_scale_arcsec: For files that do not say it.
        workers: Processes that read files. Default: half the cores.
        progress: Called with files done and files in all.
        shard: Take only its files.
        rule: Says which bands of an image the network gets; None: all.

    Raises:
        UserError: a path that does not exist, no file at all, or none that can be used; another run's journal.
    """
    check_format(out)
    journal_path, failed_path = out.with_name(f"{out.name}.part"), out.with_name(f"{out.stem}.failed.csv")
    own = {os.path.abspath(path) for path in (out, journal_path, failed_path)}

    def files() -> Iterator[Item]:
        return (item for item in find_files(paths) if item.key not in own
                and (shard is None or shard.takes(item.name)))  # fmt: skip

    total = sum(1 for _ in files())
    if not total:
        part = f" for {shard}" if shard else ""
        raise UserError(f"No files{part} in {', '.join(repr(str(p)) for p in paths)}.")

    def ask(batch: list[tuple[Item, Answer]]) -> list[dict[str, Any]]:
        return _ask(model, _fitted(batch, rule), pixel_scale_arcsec)

    made_with = identity(model, pixel_scale_arcsec, rule) | {"paths": [os.path.abspath(path) for path in paths]}
    with Journal(journal_path, made_with) as journal, \
            tempfile.TemporaryDirectory(prefix="deeplense-") as unpacked:
        done = journal.taken_up
        items = (item for item in unpack_zips(files(), Path(unpacked)) if not journal.knows(item.key))
        for records in model.side_by_side(ask, read_batches(items, workers or default_workers())):
            journal.append(records)
            done += len(records)
            if progress:
                progress(done, max(total, done))
        return finish(journal, out, failed_path)


def identity(model: Answering, pixel_scale_arcsec: float | None, rule: BandRule | None) -> dict[str, Any]:
    """What must be the same for an interrupted run to be taken up, beside its images."""
    return {"model": model.name, "classes": list(model.classes), "pixel_scale": pixel_scale_arcsec,
            "bands": list(rule.chosen) if rule else [], "weights": file_digest(model.folder / "model.safetensors"),
            }  # fmt: skip


def finish(journal: Journal, out: Path, failed_path: Path) -> Summary:
    """Makes the table, and the list of what failed, from a journal that is complete.

    Raises:
        UserError: nothing could be used; the disk is full.
    """
    write_failed(journal, failed_path)
    if not journal.rows:
        first = next(journal.failures())["failed"][1]
        raise UserError(f"None of the {journal.failed} image(s) could be used, so {str(out)!r} was not written; "
                        f"{failed_path.name!r} lists them. The first: {first}")  # fmt: skip
    write_catalog(journal, out)
    journal.remove()
    return Summary(journal.rows, journal.failed, journal.taken_up, failed_path if journal.failed else None)


def default_workers() -> int:
    """Half the cores this process may use: the network needs the others."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores // 2))


def find_files(paths: Sequence[Path]) -> Iterator[Item]:
    """All files, those in folders in order of name, without hidden ones.

    Raises:
        UserError: a path that does not exist.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no file or folder {str(path)!r}.")
        if not path.is_dir():
            yield Item(readable(path.name), str(path), os.path.abspath(path))
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            start, there = os.path.relpath(folder, path), os.path.abspath(folder)
            for name in sorted(names):
                if not name.startswith("."):
                    shown = readable(name if start == os.curdir else os.path.join(start, name))
                    yield Item(shown, os.path.join(folder, name), os.path.join(there, name))


def unpack_zips(items: Iterator[Item], folder: Path) -> Iterator[Item]:
    """The same with the members of each ZIP file in its place, unpacked into a folder."""
    for item in items:
        if not item.name.lower().endswith(".zip"):
            yield item
            continue
        into = folder / uuid.uuid4().hex
        into.mkdir()
        try:
            members = unpack(Path(item.path), item.name, into) or []
        except BadImageError as err:
            yield replace(item, refused=err)
            continue
        except OSError as err:
            if is_disk_full(err):
                raise disk_full(into) from err
            raise
        for member in members:
            yield Item(f"{item.name}/{member.name}", str(member.path), f"{item.key}:{member.name}",
                       unpacked=member.refused is None, refused=member.refused)  # fmt: skip


def read_batches(items: Iterator[Item], workers: int) -> Iterator[list[tuple[Item, Answer]]]:
    """Files with what was read from them, in order, up to a batch at a time."""
    batch: list[tuple[Item, Answer]] = []
    held = 0
    for item, answer in _read_ahead(items, workers):
        batch.append((item, answer))
        held += _nbytes(answer)
        if len(batch) == BATCH or held > _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _nbytes(answer: Answer) -> int:
    return answer.pixels.nbytes if isinstance(answer, LensImage) else 0


def _read_ahead(items: Iterator[Item], workers: int) -> Iterator[tuple[Item, Answer]]:
    """Files and what is in them, in order, with a bounded number of them waiting."""
    reader = _Reader()
    waiting: deque[tuple[Item, Future[Answer]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, item in enumerate(items):
                waiting.append((item, pool.submit(reader.read, item, number)))
                if len(waiting) == _AHEAD:
                    yield reader.taken(*waiting.popleft())
            while waiting:
                yield reader.taken(*waiting.popleft())
        finally:
            reader.stop()
            pool.shutdown(cancel_futures=True)
            reader.close()


class _Reader:
    """Opens files, each thread by a worker process of its own, and waits while too many bytes are held."""

    def __init__(self) -> None:
        self._held = self._taken = 0
        """Bytes of pixels read and not yet taken; files taken."""
        self._room = threading.Condition()
        self._stopped = False
        self._own = threading.local()
        self._all: list[Decoder] = []

    def read(self, item: Item, number: int) -> Answer:
        """What is in one file, or why it cannot be used.

        Args:
            item: The file.
            number: Its place; the next to be taken never waits.
        """
        if item.refused is not None:
            return item.refused
        if not hasattr(self._own, "decoder"):
            self._own.decoder = Decoder()
            self._all.append(self._own.decoder)
        with self._room:
            self._room.wait_for(lambda: self._held < _HELD_BYTES or number == self._taken or self._stopped)
        try:
            image = self._own.decoder.read(Path(item.path), item.name)
        except BadImageError as err:
            return err
        finally:
            if item.unpacked:
                os.unlink(item.path)
        with self._room:
            self._held += image.pixels.nbytes
        return image

    def taken(self, item: Item, future: Future[Answer]) -> tuple[Item, Answer]:
        """Waits for a file and makes room for others."""
        answer = future.result()
        with self._room:
            self._held -= _nbytes(answer)
            self._taken += 1
            self._room.notify_all()
        return item, answer

    def stop(self) -> None:
        """Lets nobody wait any longer."""
        with self._room:
            self._stopped = True
            self._room.notify_all()

    def close(self) -> None:
        """Ends the processes, once the threads have."""
        for decoder in self._all:
            decoder.close()


def _fitted(batch: list[tuple[Item, Answer]], rule: BandRule | None) -> Iterator[tuple[Item, Answer]]:
    """The batch with the network's bands in each image, or why that cannot be."""
    for item, answer in batch:
        try:
            yield item, fit_bands(answer, rule.plan) if rule and isinstance(answer, LensImage) else answer
        except UserError as err:
            yield item, BadImageError("other bands", str(err))


def _ask(model: Answering, fitted: Iterable[tuple[Item, Answer]], default_scale: float | None) -> list[dict[str, Any]]:
    """Records for the journal, in order; images of one shape and scale are asked about together."""
    batch, records = list(fitted), {}
    groups: dict[tuple, list[int]] = {}
    for place, (_, answer) in enumerate(batch):
        if isinstance(answer, BadImageError):
            records[place] = {"failed": [answer.reason, str(answer)]}
        else:
            scale = answer.pixel_scale_arcsec or default_scale
            groups.setdefault((answer.pixels.shape, scale), []).append(place)
    for (_, scale), places in groups.items():
        images = [answer for place in places if isinstance(answer := batch[place][1], LensImage)]
        try:
            predictions = model.predict(np.stack([image.pixels for image in images]), scale)
        except UserError as err:
            records |= {place: {"failed": ["does not fit the model", str(err)]} for place in places}
            continue
        for place, image, prediction in zip(places, images, predictions, strict=True):
            ra, dec = image.meta.get("ra_deg"), image.meta.get("dec_deg")
            prediction = replace(prediction, warnings=(*image.meta["notes"], *prediction.warnings))
            records[place] = {"row": predicted_row(batch[place][0].name, ra, dec, prediction, model.classes)}
    return [{"key": item.key, "name": item.name, **records[place]} for place, (item, _) in enumerate(batch)]


def write_failed(journal: Journal, path: Path) -> None:
    """The list of files that failed, one line each; one that an earlier run left goes."""
    path.unlink(missing_ok=True)
    if journal.failed:
        with replacing(path) as temporary, \
                open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            lines = csv.writer(file)
            lines.writerow(["name", "reason", "message"])
            for record in journal.failures():
                lines.writerow([safe_cell(text) for text in (record["name"], *record["failed"])])


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
