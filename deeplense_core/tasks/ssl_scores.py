"""The evaluation protocol of encoders: what frozen features know, beside pixels and an encoder that learnt nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import DataInfo, Images
from deeplense_core.tasks.base import Outcome, Progress
from deeplense_core.trained import Trained


@torch.no_grad()
def feature_blocks(
    net: nn.Module, batches: Iterable[Float[Tensor, "b c h w"]], cfg: PreprocessConfig
) -> Iterator[Float[np.ndarray, "b d"]]:
    """Features of images at the training size, each seen once, float32."""
    net.eval()
    for images in batches:
        yield net(preprocess(images, cfg)).float().cpu().numpy()


def evaluate(model: Trained, data: DataInfo, part: Images, progress: Progress | None = None) -> Outcome:
    raise NotImplementedError
