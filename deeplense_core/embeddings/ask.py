"""Which images of an embedding are most like a given one: one of its own, or any file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deeplense_core.bulk.files import file_digest
from deeplense_core.embeddings.embed import embed_images
from deeplense_core.embeddings.similar import index_of
from deeplense_core.embeddings.store import Embedding
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.reading.decode import Decoder
from deeplense_core.registry import nearest
from deeplense_core.trained import Trained, load_model


def similar(
    embedding: Embedding, to: str, k: int = 10, metric: str = "cosine", pixel_scale_arcsec: float | None = None
) -> dict[str, Any]:
    """The k images most like one, nearest first, as the command line prints them.

    Args:
        embedding: Where to look.
        to: An id of it, which is then not among the answers, or the path of an image file.
        k: How many.
        metric: ``cosine`` or ``l2``, in the space of the vectors.
        pixel_scale_arcsec: Of the file, where it does not say it.

    Raises:
        UserError: neither an id nor a file; a file that is no image; another network by now.
    """
    row = embedding.row(to)
    if row is not None:
        vector = np.asarray(embedding.vectors[row])
    elif Path(to).is_file():
        decoder = Decoder()
        try:
            vector = query_vector(embedding, decoder.read(Path(to), Path(to).name), pixel_scale_arcsec)
        finally:
            decoder.close()
    else:
        raise UserError(f"There is no image {to!r} in {embedding.name!r}, and no file of that name. "
                        f"{nearest(to, [str(name) for name in embedding.ids[:10_000]])}")  # fmt: skip
    rows, away = neighbours(embedding, vector, k, metric, row)
    return {
        "to": str(embedding.ids[row]) if row is not None else to, "metric": metric,
        "neighbours": [{"id": str(embedding.ids[r]), "distance": float(d), "label": str(embedding.labels[r])}
                       for r, d in zip(rows, away, strict=True)],
    }  # fmt: skip


def neighbours(
    embedding: Embedding, vector: np.ndarray, k: int, metric: str, without: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and distances of the k nearest; ``without`` leaves one row out, that of the vector itself."""
    found = index_of(embedding, metric).nearest(vector, k + (without is not None))
    rows, away = found.rows[0], found.distances[0]
    keep = rows != without
    return rows[keep][:k], away[keep][:k]


def query_vector(embedding: Embedding, image: LensImage, pixel_scale_arcsec: float | None = None) -> np.ndarray:
    """The vector of any image by the network of an embedding, (d,).

    Raises:
        UserError: the network is gone or has other weights now, or cannot take the image.
    """
    return embed_images(network_of(embedding), [image], pixel_scale_arcsec)[0][0]


def network_of(embedding: Embedding) -> Trained:
    """The network that made an embedding.

    Raises:
        UserError: it is gone, or has other weights now.
    """
    model = load_model(embedding.about["model"])
    if file_digest(model.folder / "model.safetensors") != embedding.about["weights"]:
        raise UserError(f"{model.name!r} has other weights than those that made {embedding.name!r}. Embed the images "
                        "again.")  # fmt: skip
    return model
