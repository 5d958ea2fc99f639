"""What visitors upload: kept under the hash of its bytes, decoded in a process of its own, bounded in size.

    for upload in receive(name, stream):         # a ZIP file gives one upload for each member
        try:
            image = read(upload)                 # a LensImage; its meta says what else could be chosen
        except BadImageError as err:             # this file only: one clear message
            ...

Names are text to show, never paths. The store may be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading import decode
from deeplense_core.reading.image_checks import MAX_FILE_BYTES, BadImageError
from deeplense_core.reading.image_formats import format_of
from deeplense_core.storage import TEMPORARY, atomic_write, disk_full, is_disk_full
from deeplense_core.workspace import home

MAX_ZIP_BYTES = 2 * 2**30
STORE_BYTES = 10 * 2**30
"""Largest size of the store; what was used longest ago goes first."""
READER = 1
"""To be raised when files are read in another way, so that results kept from before are not used."""
_CHUNK = 2**20
_NAME_LENGTH = 255
_FOLDER_BYTES = 8192
"""What a folder and its small files take on disk."""
_MOVING = threading.Lock()
"""Held while a file comes into its place in the store, or its folder goes."""


@dataclass(frozen=True)
class Upload:
    """One file that was received, good or bad."""

    id: str
    """Hash of its bytes, hexadecimal."""
    name: str
    """What its owner called it: text to show, never a path."""
    size: int
    """Bytes."""


def receive(name: str, stream: BinaryIO | bytes) -> list[Upload]:
    """Takes in one file, or all files in a ZIP file, without looking into them.

    Args:
        name: What its owner calls it.
        stream: Its bytes; a stream that can be rewound is read from its start.

    Returns:
        One upload a file. A member of a ZIP file that cannot be unpacked is among them: :func:`read` says why.

    Raises:
        BadImageError: empty, too large, no format known here, or a ZIP file that is damaged or too large.
        UserError: the disk is full.
    """
    name = clean_name(name)
    with _quarantine() as folder:
        file = folder / "upload"
        start, sha256, size = _copy(io.BytesIO(stream) if isinstance(stream, bytes) else stream, file, name)
        kind, _ = format_of(start, name)
        members = decode.unpack(file, name, folder) if kind == "NPZ" else None
        if members is not None:
            kept = [_keep_member(name, member) for member in members]
        elif size > MAX_FILE_BYTES:
            raise _too_large(name, MAX_FILE_BYTES)
        else:
            kept = [_keep(Upload(sha256, name, size), file)]
    _tidy_now_and_then(kept)
    return kept


def read(
    upload: Upload, *, hdu: str | int | None = None, plane: int | None = None, key: str | None = None,
    channels: str = "auto",
) -> LensImage:  # fmt: skip
    """The image in an upload, decoded in a process of its own; the result is kept for the next time.

    Args:
        upload: From :func:`receive`.
        hdu, plane, key, channels: As for :func:`deeplense_core.images.read_image`.

    Returns:
        Its ``meta`` has what :class:`deeplense_core.images.LensImage` describes: what else could be chosen
        (``hdus``, ``planes``, ``keys``), ``unit``, ``notes`` and, with a WCS, ``wcs``, ``ra_deg``, ``dec_deg``.

    Raises:
        BadImageError: why this file cannot be used. Its ``choices`` say what could be asked for instead.
    """
    folder = _folder(upload.id)
    options = {"hdu": hdu, "plane": plane, "key": key, "channels": channels}
    text = json.dumps([READER, upload.name, options])
    kept = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder)  # used just now
    if (refusal := _json(folder / "refused.json")) is not None:
        raise BadImageError(*refusal)
    found = _kept_image(kept)
    if found is None:
        if not (folder / "original").exists():
            raise BadImageError("gone", f"{upload.name!r} was removed to make room. Drop it again.")
        found = decode.decode(folder / "original", upload.name, **options)
        _keep_image(kept, found)
    return found


def tidy(limit_bytes: int = STORE_BYTES, keep: list[Upload] | None = None) -> int:
    """Removes what was used longest ago until the store is small enough; returns the bytes that are left.

    Args:
        limit_bytes: Largest size.
        keep: Uploads that stay in any case.
    """
    staying = {upload.id for upload in keep or ()}
    entries = sorted(_entries())  # what was used longest ago first
    left = sum(size for _, size, _ in entries)
    for _, size, folder in entries:
        if left > limit_bytes and folder.name not in staying:
            left -= size
            _remove(folder)
    return left


_received_bytes = math.inf
"""Since the store was last looked through, which takes longer the more there is: not at every file."""


def _tidy_now_and_then(kept: list[Upload]) -> None:
    global _received_bytes
    _received_bytes += sum(upload.size + _FOLDER_BYTES for upload in kept)
    if _received_bytes > STORE_BYTES / 100:
        _received_bytes = 0
        tidy(STORE_BYTES, kept)


def clean_name(name: str) -> str:
    """``name`` as one line to show: without control and direction characters, at most 255 long."""
    kept = "".join(c for c in name[:4096] if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    return kept.strip()[:_NAME_LENGTH] or "unnamed"


# --- the store: uploads/<first two of id>/<id>/original, and beside it what was read from it


def _store() -> Path:
    path = home() / "uploads"
    path.mkdir(exist_ok=True)
    return path


def _folder(upload_id: str) -> Path:
    if len(upload_id) != 64 or not set(upload_id) <= set("0123456789abcdef"):
        raise BadImageError("gone", "This upload is not known. Drop the file again.")
    return _store() / upload_id[:2] / upload_id


@contextlib.contextmanager
def _quarantine() -> Iterator[Path]:
    """A folder for files that nobody has looked at; gone at the end with whatever is left in it."""
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=_store()))
    try:
        yield folder
    except OSError as err:
        if is_disk_full(err):
            raise disk_full(folder) from err
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(stream: BinaryIO, path: Path, name: str) -> tuple[bytes, str, int]:
    """Copies at most as much as is allowed; the first bytes, the hash of all, and how many there are."""
    if stream.seekable():
        stream.seek(0)
    start, digest, size = b"", hashlib.sha256(), 0
    with open(path, "xb") as file:
        while piece := stream.read(_CHUNK):
            start = start or piece[:16]
            size += len(piece)
            if size > MAX_ZIP_BYTES:
                raise _too_large(name, MAX_ZIP_BYTES)
            digest.update(piece)
            file.write(piece)
    return start, digest.hexdigest(), size


def _too_large(name: str, limit: int) -> BadImageError:
    return BadImageError("too large", f"{name!r} is larger than {limit // 2**20} MB. Cut it smaller, or split it.")


def _keep(upload: Upload, file: Path) -> Upload:
    """Moves a file from quarantine into the store, unless it is there: a session that opens it may open no other."""
    folder = _folder(upload.id)
    with _MOVING:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "original").exists():
            os.replace(file, folder / "original")
        os.utime(folder)
    return upload


def _keep_member(archive: str, member: decode.Member) -> Upload:
    name = f"{archive}/{clean_name(member.name)}"
    if member.refused is None and member.size <= MAX_FILE_BYTES:
        return _keep(Upload(member.sha256, name, member.size), member.path)
    error = member.refused or _too_large(name, MAX_FILE_BYTES)
    upload = Upload(hashlib.sha256(f"refused {name} {error}".encode()).hexdigest(), name, member.size)
    folder = _folder(upload.id)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "refused.json", json.dumps([error.reason, str(error)]).encode(), durable=False)
    return upload


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _kept_image(path: Path) -> LensImage | None:
    """What was read before, where it is whole."""
    report = _json(path.with_suffix(".json"))
    if report is None:
        return None
    try:
        pixels = np.fromfile(path.with_suffix(".f32"), np.float32).reshape(report["shape"])
    except (OSError, ValueError):
        return None
    meta = {**report["meta"], "array_shape": tuple(report["meta"]["array_shape"])}
    return LensImage(pixels, report["pixel_scale_arcsec"], tuple(report["bands"]), meta)


def _keep_image(path: Path, image: LensImage) -> None:
    report = {"shape": image.pixels.shape, "pixel_scale_arcsec": image.pixel_scale_arcsec, "bands": image.bands,
              "meta": dict(image.meta)}  # fmt: skip
    with contextlib.suppress(FileNotFoundError, UserError):  # removed by another session to make room; a full disk
        atomic_write(path.with_suffix(".f32"), image.pixels.tobytes(), durable=False)
        atomic_write(path.with_suffix(".json"), json.dumps(report).encode(), durable=False)


def _entries() -> Iterator[tuple[float, int, Path]]:
    """When it was last used, its bytes, and its folder, of all there is; quarantine that a crash left, too."""
    for folder in [*_store().glob("??/*"), *_store().glob(f"{TEMPORARY}*")]:
        with contextlib.suppress(FileNotFoundError):  # removed by another session
            size = sum(path.stat().st_size for path in folder.iterdir())
            yield folder.stat().st_mtime, size, folder


def _remove(folder: Path) -> None:
    """Out of sight at once, so that no reader meets half of it."""
    doomed = _store() / f"{TEMPORARY}gone-{folder.name}"
    with contextlib.suppress(OSError):
        with _MOVING:
            os.rename(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
