"""The images behind the vectors of an embedding, read again where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplense_core.data import Dataset, open_dataset
from deeplense_core.embeddings.store import Embedding
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.decode import Decoder


def images_of(embedding: Embedding, rows: Sequence[int]) -> list[LensImage | UserError]:
    """The images of some rows, in order; in the place of one that cannot be read any more, why.

    Raises:
        UserError: the data set is gone or is another one now.
    """
    if embedding.about["kind"] == "dataset":
        dataset = dataset_of(embedding)
        return [LensImage(np.array(dataset.images[row]), dataset.pixel_scale_arcsec, dataset.bands,
                          {"name": str(embedding.ids[row]), "format": "data set", "notes": []}) for row in rows]
    decoder = Decoder()
    try:
        return [_read(decoder, embedding, row) for row in rows]
    finally:
        decoder.close()


def dataset_of(embedding: Embedding) -> Dataset:
    """The data set that was embedded: its rows are those of the embedding.

    Raises:
        UserError: it is gone, or its content is another one now.
    """
    dataset = open_dataset(embedding.about["data"][0])
    if dataset.fingerprint != embedding.about["fingerprint"]:
        raise UserError(f"The data set {dataset.name!r} is not the one that was embedded: its content has changed. "
                        "Embed it again.")
    return dataset


def _read(decoder: Decoder, embedding: Embedding, row: int) -> LensImage | UserError:
    path, name = str(embedding.paths[row]), str(embedding.ids[row])
    if not path:
        return UserError(f"{name!r} is inside a ZIP file. Unpack it, and embed the folder, to see its images.")
    try:
        return decoder.read(Path(path), name)
    except UserError as err:
        return err
