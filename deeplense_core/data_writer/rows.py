"""The catalogue of a data set on its way to disk: streamed in groups of rows, then completed with the splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deeplense_core.data_writer.splits import SPLITS

ROW_GROUP = 16_384
"""Rows in one group of the catalogue; fixed, so that its bytes do not depend on how batches were cut."""


class RowGroups:
    """Catalogue rows on their way to disk, in groups of ROW_GROUP; types are those of the first batch."""

    def __init__(self, path: Path):
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Takes a batch of rows; writes when there is a whole group."""
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        if table.column_names != self._writer.schema.names:
            raise ValueError(f"columns changed from {self._writer.schema.names} to {table.column_names}")
        self._waiting.append(table.cast(self._writer.schema))
        self._n_waiting += len(table)
        if self._n_waiting >= ROW_GROUP:
            table = pa.concat_tables(self._waiting).combine_chunks()
            whole = self._n_waiting - self._n_waiting % ROW_GROUP
            self._writer.write_table(table.slice(0, whole), row_group_size=ROW_GROUP)
            self._waiting, self._n_waiting = [table.slice(whole)], self._n_waiting - whole

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None and self._writer.is_open:
            if self._n_waiting:
                self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP)
            self._writer.close()

    def abandon(self) -> None:
        """Lets go of the file, whatever state the disk left it in."""
        if self._writer is not None and self._writer.is_open:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
            self._writer.is_open = False  # else it tries again when it is collected


def write_catalog(rows: Path, catalog: Path, codes: np.ndarray) -> dict[str, str]:
    """Copies the rows, group by group, with their splits filled in; returns sha256 of each split's ids."""
    hashes = {split: hashlib.sha256() for split in SPLITS}
    start = 0
    with pq.ParquetFile(rows) as source, open(catalog, "wb") as file:
        with pq.ParquetWriter(file, source.schema_arrow, compression="zstd") as target:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                splits = np.array(SPLITS, dtype=object)[codes[start : start + len(table)]]
                for identity, split in zip(table["id"].to_pylist(), splits, strict=True):
                    hashes[split].update(f"{identity}\n".encode())
                column = table.column_names.index("split")
                target.write_table(table.set_column(column, "split", pa.array(splits)))
                start += len(table)
        sync_and_close(file)
    return {split: value.hexdigest() for split, value in hashes.items()}


def sync_and_close(file: IO) -> None:
    """Closes a file when its bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
