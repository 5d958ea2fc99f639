"""Lens finding: is there a lens in this cutout? From the image, and from features of a catalogue beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core import metrics
from deeplense_core.adapt import ADAPT_CONFIGS, Learner, adaptation, check_target
from deeplense_core.augment import AugmentConfig, augment, strong_view
from deeplense_core.classes import LENS_CLASSES
from deeplense_core.errors import UserError
from deeplense_core.features import FeatureConfig, feature_matrix, is_leaky, robust_scale, wanted_names
from deeplense_core.forward import WithFeatures, logits
from deeplense_core.losses.classes import balancing_weights, class_loss
from deeplense_core.models.features import head_inputs
from deeplense_core.preprocess import PreprocessConfig, preprocess
from deeplense_core.sources import Batch, DataInfo, Images, Source, describe
from deeplense_core.spec import config_from, knob, knobs
from deeplense_core.tasks.base import TASKS, StepOut
from deeplense_core.tasks.class_answers import card_of_classes, check_classes
from deeplense_core.tasks.find_protocol import evaluate

LOOK_STEPS, LOOK_BATCH = 4, 256
"""Training images from which the scale of features and the balance of classes are measured."""
LOSSES = ("cross-entropy", "weighted", "focal")


@dataclass(frozen=True)
class FindConfig:
    loss: str = knob("cross-entropy", "cross-entropy; weighted, so that lenses and others count alike however rare "
                     "they are; focal, which looks at what is hard", choices=LOSSES, group="loss")
    focal_gamma: float = knob(2.0, "How much the focal loss leaves aside what is easy", ge=0, le=5, group="loss")
    label_smoothing: float = knob(0.0, "Probability mass spread over both classes", ge=0, le=0.5, group="loss")


@TASKS.register("find", configs=(FindConfig, PreprocessConfig, AugmentConfig, *ADAPT_CONFIGS), labelled=True,
                calibrated=True, evaluate=evaluate, label="Find lenses",
                defaults={"normalise": "sky", "stretch": "asinh"})
class FindTask:
    """Find lenses among other objects, from images and features of a catalogue."""

    best = "auroc"

    def __init__(self, settings: Mapping[str, Any], data: DataInfo):
        check_classes(data)
        if set(data.classes) != set(LENS_CLASSES):
            raise UserError(f"{data.name!r} has the classes {', '.join(data.classes)}; finding tells "
                            f"{' from '.join(LENS_CLASSES)}. Choose a set of those, or train classify.")
        self.data = data
        self.lens = data.classes.index(LENS_CLASSES[0])
        self.cfg = config_from(FindConfig, settings)
        self.input = config_from(PreprocessConfig, settings)
        self.augmentation = config_from(AugmentConfig, settings)
        self.adaptation = adaptation(settings)
        self.method, self.target = settings.get("adapt", "none"), settings.get("target", "")
        check_target(data, self.method, self.target)
        self.names: list[str] = []
        if set(knobs(FeatureConfig)) & set(settings):  # only networks that see features bring these settings
            from deeplense_core.photometry import measured_names

            wanted = config_from(FeatureConfig, settings)
            self.names = wanted_names(wanted, data.columns, measured_names(data.bands, data.shape[0]), data.name)
        self.scale: dict[str, Any] = {}
        self.weights: Tensor | None = None
        self._measured: tuple[Images, np.ndarray] | None = None

    def look(self, source: Source) -> None:
        """Measures the scale of the features and how rare lenses are, on the first training images."""
        if not self.names and self.cfg.loss != "weighted":
            return
        steps = min(LOOK_STEPS, source.steps(LOOK_BATCH))
        batches = [source.batch(0, step, LOOK_BATCH, steps) for step in range(steps)]
        if self.cfg.loss == "weighted":
            self.weights = balancing_weights(torch.cat([batch.labels for batch in batches]), len(self.data.classes))
        if self.names:
            centre, spread = robust_scale(np.concatenate([self._matrix(batch) for batch in batches]))
            self.scale = {"names": self.names, "centre": centre.tolist(), "spread": spread.tolist()}

    def model_args(self) -> dict[str, Any]:
        args = {"in_channels": self.data.shape[0], "out_features": len(self.data.classes)}
        return args | ({"features": self.scale} if self.scale else {})

    def companion(self, net: nn.Module) -> nn.Module | None:
        """What the adaptation to another survey learns along, where there is one."""
        self.net = net
        return self.adaptation.companion(net, len(self.data.classes)) if self.adaptation else None

    def features(self, batch: Batch) -> Float[Tensor, "b f"] | None:
        """What the network sees beside these images; None for networks of images alone."""
        return torch.from_numpy(self._matrix(batch)).to(batch.images.device) if self.names else None

    def _matrix(self, batch: Batch) -> Float[np.ndarray, "b f"]:
        columns = {name: values.cpu().numpy() for name, values in batch.columns.items() if name in self.names}
        return feature_matrix(self.names, columns, batch.images.cpu().numpy(), self.data.bands)

    def step(self, model: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> StepOut:
        if self.adaptation is None or batch.other is None:
            return StepOut(self.loss(self._run(model, batch, self.augmentation, generator), batch.labels))

        def run(batch: Batch, strong: bool = False, net: nn.Module | None = None) -> tuple[Tensor, Tensor]:
            view = strong_view(self.augmentation) if strong else self.augmentation
            with head_inputs(net or self.net) as caught:
                return self._run(net or self.net, batch, view, generator), caught[0]

        return StepOut(*self.adaptation.step(Learner(run, self.loss, self.net, progress), batch, batch.other))

    def _run(self, net: nn.Module, batch: Batch, view: AugmentConfig, generator: torch.Generator) -> Tensor:
        """Class logits of a batch in a fresh view of each image."""
        features = self.features(batch)
        images = preprocess(augment(batch.images, view, generator), self.input)
        return net(images) if features is None else net(images, features)

    def loss(self, outputs: Float[Tensor, "b k"], labels: Tensor) -> Float[Tensor, ""]:
        """The loss of the settings over the labelled images of a batch."""
        gamma = self.cfg.focal_gamma if self.cfg.loss == "focal" else 0.0
        return class_loss(outputs, labels, self.weights, gamma, self.cfg.label_smoothing)

    def predict(self, model: nn.Module, part: Images, device: torch.device, batch_size: int,
                averaged: bool) -> Float[np.ndarray, "n k"]:
        features, done, found = self._features_of(part), 0, []
        for images in part.batches(batch_size, device):
            net = model
            if features is not None:
                net = WithFeatures(model, torch.from_numpy(features[done : done + len(images)]).to(device))
            found.append(logits(net, images, self.input, averaged))
            done += len(images)
        return torch.cat(found).cpu().numpy().astype(np.float64)

    def _features_of(self, part: Images) -> Float[np.ndarray, "n f"] | None:
        """Features of a held-out part; of the last one asked about they are kept, for they take time to measure."""
        if not self.names:
            return None
        if self._measured is None or self._measured[0] is not part:
            found = [feature_matrix(self.names, columns, block, self.data.bands)
                     for block, columns in part.blocks_and_columns(LOOK_BATCH)]
            self._measured = part, np.concatenate(found)
        return self._measured[1]

    def score(self, outputs: Float[np.ndarray, "n k"], part: Images) -> dict[str, float]:
        probabilities = metrics.softmax(outputs)
        is_lens, found = part.labels == self.lens, probabilities[:, self.lens]
        return {
            "loss": metrics.log_loss(part.labels, probabilities),
            "auroc": metrics.auc_binary(is_lens, found),
            "auprc": metrics.average_precision(is_lens, found),
        }

    def card(self, outputs: Float[np.ndarray, "n k"], part: Images) -> dict[str, Any]:
        leaky = {"leaky": True} if is_leaky(self.names) else {}
        return card_of_classes(self.data.classes, outputs, part, self.input) | leaky | self._adapted()

    def _adapted(self) -> dict[str, Any]:
        """What a card says of the survey that the network was adapted to."""
        if self.adaptation is None:
            return {}
        return {"adapt": self.method, "target": self.target, "target_fingerprint": describe(self.target).fingerprint}
