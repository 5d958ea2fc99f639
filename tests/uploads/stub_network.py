"""A network that answers from the first pixel of an image, for tests of everything around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Answer:
    probabilities: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass
class StubNetwork:
    """Says how bright the first pixel is; remembers what it was asked. A test adds ``refuse`` and ``probabilities``."""

    folder: Path
    name: str = "stub"
    classes: tuple[str, ...] = ()
    asked: list[tuple] = field(default_factory=list)
    stop_after: int = 10**9
    """Images after which the user presses Ctrl-C."""

    def __post_init__(self):
        self.folder.mkdir()
        (self.folder / "model.safetensors").write_bytes(b"weights")

    def refuse(self, images) -> None:
        raise NotImplementedError

    def probabilities(self, p) -> list:
        raise NotImplementedError

    def predict(self, images, pixel_scale_arcsec=None):
        self.refuse(images)
        self.asked.append((images.shape, pixel_scale_arcsec))
        if self.images > self.stop_after:
            raise KeyboardInterrupt
        return list(self._answers(images[:, 0, 0, 0] / 1000))

    def side_by_side(self, work, blocks):
        return map(work, blocks)

    def _answers(self, bright) -> Iterator[Answer]:
        for p in bright:
            yield Answer(np.array(self.probabilities(p)), ("odd",) if p > 0.5 else ())

    @property
    def images(self) -> int:
        return sum(shape[0] for shape, _ in self.asked)
