"""Writing a data-set folder: streamed, hashed on the way, and there only when it is whole."""

from deeplense_core.data_writer.partials import list_unfinished, read_progress
from deeplense_core.data_writer.pixels import HEADER_BYTES
from deeplense_core.data_writer.splits import DEFAULT_SPLITS, SPLITS, stratified_splits
from deeplense_core.data_writer.writer import FORMAT, DatasetWriter, refuse_existing

__all__ = [
    "DEFAULT_SPLITS", "FORMAT", "HEADER_BYTES", "SPLITS", "DatasetWriter", "list_unfinished", "read_progress",
    "refuse_existing", "stratified_splits",
]  # fmt: skip
