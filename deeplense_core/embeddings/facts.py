"""What is known of each image of an embedding: what a map can be coloured by, and rows of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Float

from deeplense_core.embeddings.store import Embedding
from deeplense_core.errors import UserError
from deeplense_core.metrics import apply_temperature
from deeplense_core.registry import nearest

CLASS, PREDICTED, SCORE, ERROR, RIGHT, TAG = "class", "predicted class", "score", "error", "right or wrong", "tag"
P = "p_"
FEWEST_P = 1e-12
"""Probability below which an error is not told from this one."""


def probabilities(embedding: Embedding) -> Float[np.ndarray, "n k"] | None:
    """Calibrated class probabilities of the network that made an embedding; None where it tells no classes apart."""
    if not embedding.outputs.shape[1]:
        return None
    return apply_temperature(embedding.outputs.astype(np.float64), embedding.about["temperature"])


def fact_names(embedding: Embedding, tagged: bool = False) -> list[str]:
    """Names that :func:`fact` takes: class and answers of the network first, then the columns of the catalogue."""
    labelled, answers = bool((embedding.labels != "").any()), embedding.outputs.shape[1] > 0
    both = answers and bool(np.isin(embedding.labels, embedding.classes).any())
    return [
        *[CLASS] * labelled, *[TAG] * tagged, *[PREDICTED, SCORE] * answers, *[RIGHT, ERROR] * both,
        *(P + name for name in embedding.classes if answers), *embedding.column_names,
    ]  # fmt: skip


def fact(embedding: Embedding, name: str, tags: Mapping[str, str] | None = None) -> np.ndarray:
    """One fact of every image: text (n,), or float (n,) with NaN where it is unknown.

    ``score`` is the probability of the likeliest class; of two classes, of the first. ``error`` is minus the
    logarithm of the probability of the true class, in natural units.

    Raises:
        UserError: the embedding has no such fact.
    """
    if name not in fact_names(embedding, tags is not None):
        raise UserError(f"{embedding.name!r} knows no {name!r} of its images. "
                        f"{nearest(name, fact_names(embedding, tags is not None))}")  # fmt: skip
    if name == CLASS:
        return embedding.labels
    if name == TAG and tags is not None:
        return np.array([tags.get(str(one), "") for one in embedding.ids])
    found = probabilities(embedding)
    if found is None or name in embedding.column_names:
        return embedding.column(name)
    if name == SCORE:
        return found[:, 0] if found.shape[1] == 2 else found.max(1)
    if name.startswith(P):
        return found[:, embedding.classes.index(name.removeprefix(P))]
    if name == PREDICTED:
        return np.array(embedding.classes)[found.argmax(1)]
    true = _places(embedding)
    if name == RIGHT:
        said = np.where(found.argmax(1) == true, "right", "wrong")
        return np.where(true >= 0, said, "")
    of_true = found[np.arange(len(found)), np.maximum(true, 0)]
    return np.where(true >= 0, -np.log(np.maximum(of_true, FEWEST_P)), np.nan)


def catalog_rows(embedding: Embedding, rows: Sequence[int], tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a catalogue: ``name, ra, dec, label, class, score, p_<class>..., tag, model_id, time``."""
    found = probabilities(embedding)
    sky = [embedding.column(name) if name in embedding.column_names else None for name in ("ra", "dec")]
    time = datetime.now(UTC).isoformat(timespec="seconds")
    made = []
    for row in rows:
        name = str(embedding.ids[row])
        ra, dec = (None if one is None or not np.isfinite(one[row]) else float(one[row]) for one in sky)
        said: dict[str, Any] = {}
        if found is not None:
            best = int(found[row].argmax())
            said = {"class": embedding.classes[best], "score": float(found[row, best]),
                    **{P + c: float(p) for c, p in zip(embedding.classes, found[row], strict=True)}}  # fmt: skip
        made.append({"name": name, "ra": ra, "dec": dec, "label": str(embedding.labels[row]), **said,
                     "tag": tags.get(name, ""), "model_id": embedding.about["model"], "time": time})  # fmt: skip
    return made


def _places(embedding: Embedding) -> np.ndarray:
    """Place of each true class among those of the network; -1 where unknown."""
    order = {name: place for place, name in enumerate(embedding.classes)}
    return np.array([order.get(str(label), -1) for label in embedding.labels])
