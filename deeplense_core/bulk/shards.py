"""Parts of a long prediction that machines can take one by one: disjoint, and the same whoever works them out."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from deeplense_core.errors import UserError

MOST = 100_000


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``of`` parts."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"shard {self.number}/{self.of}"

    def rows(self, count: int) -> range:
        """Its rows of a set of ``count`` images: a run of them, as many as any other part has, or one more."""
        return range((self.number - 1) * count // self.of, self.number * count // self.of)

    def takes(self, name: str) -> bool:
        """Whether a file is its own: told by its name below the folder, so that files added meanwhile move none."""
        return zlib.crc32(name.encode("utf-8", "surrogateescape")) % self.of == self.number - 1

    def path(self, out: Path) -> Path:
        """Its own table beside those of the others: ``scores-003-of-008.parquet``."""
        width = max(3, len(str(self.of)))
        return out.with_name(f"{out.stem}-{self.number:0{width}}-of-{self.of:0{width}}{out.suffix}")


def parse_shard(text: str) -> Shard:
    """``3/8`` as a shard.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise UserError(f"--shard {text!r} is not I/N. For the third of eight parts: --shard 3/8 (N up to {MOST:,}).")
    return Shard(int(found[1]), int(found[2]))


def shard_paths(out: Path) -> list[Path]:
    """All tables that shards have written for ``--out``, in their order."""
    pattern = re.compile(re.escape(out.stem) + r"-(\d+)-of-(\d+)" + re.escape(out.suffix))
    found = [(int(m[1]), path) for path in out.parent.iterdir() if (m := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
