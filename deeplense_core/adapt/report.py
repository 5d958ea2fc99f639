"""What adaptation was worth: the target with and without it, and how far apart the surveys lie before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from deeplense_core.adapt.domains import domain_auc, plane, thinned
from deeplense_core.adapt.names import BASELINE
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.metrics import find_difference, find_metrics
from deeplense_core.precision import best_device
from deeplense_core.runs import list_runs, open_run
from deeplense_core.sources import SIM, VALIDATION, DataInfo, Images, describe, simulated_images, stored_images
from deeplense_core.spec import RunSpec, knobs
from deeplense_core.trained import Trained, load_model

MOST = 600
"""Images of each survey that are compared in the features."""
BLOCK = 256
VERDICTS = {"A better": "helps", "B better": "harms", "not distinguishable": "no difference shown"}


@dataclass(frozen=True)
class Survey:
    """Images of one survey, and what they are."""

    info: DataInfo
    part: Images


def source_only_twin(name: str, own: tuple[str, ...]) -> str | None:
    """The run that differs from run ``name`` in adaptation alone and has none; the newest, None where there is none.

    Args:
        name: Of a run.
        own: Settings that belong to methods of adaptation.
    """
    try:
        spec = open_run(name).spec
    except UserError:  # a shipped model, whose run is elsewhere
        return None
    for row in list_runs():
        if row.id == name or (row.task, row.data, row.model, row.state) != (spec.task, spec.data, spec.model, "done"):
            continue
        other = open_run(row.id).spec
        if other.train_settings.get("adapt") == BASELINE and _rest(other, own) == _rest(spec, own):
            return row.id
    return None


def _rest(spec: RunSpec, own: tuple[str, ...]) -> tuple:
    """What two runs must have in common to be compared."""
    kept = {name: value for name, value in spec.train_settings.items() if name not in ("adapt", *own)}
    return spec.seed, dict(spec.model_settings), kept


def own_settings(configs: tuple[type, ...]) -> tuple[str, ...]:
    """Names of the settings of methods, in which a run and its twin may differ."""
    return tuple(name for config in configs for name in knobs(config) if name != "target")


def report(
    model: Trained, twin: str | None, target: Survey, labels: Int[np.ndarray, " n"] | None,
    scores: Float[np.ndarray, " n"] | None, lens: int,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a reader of an adapted network must know, and the plane of its figure.

    Args:
        model: The adapted network.
        twin: The same without adaptation, by name.
        target: Images of the survey it was adapted to, never seen in training.
        labels: Their classes as numbers of the network's; None where they have none.
        scores: Of the adapted network for the labelled images.
        lens: Number of the class looked for.

    Returns:
        Facts: ``method``, ``target``, ``source_only`` (run), ``domain_auc`` (``before`` and ``after``), ``auroc``
        (``source_only`` and ``adapted``) and ``difference`` with its ``verdict``, None each where it cannot be known.
        Arrays, over images of both surveys: ``domain`` (1: target), ``domain_class`` (-1: unlabelled), and places
        ``domain_after`` and, with a twin, ``domain_before`` (n, 2).
    """
    source = _thinned(Survey(describe(model.card["data"]), _source_images(model)))
    shown = _thinned(target)
    classes = np.full(len(target.part), -1) if labels is None else labels
    facts: dict[str, Any] = {
        "method": model.card["adapt"], "target": model.card["target"], "source_only": twin,
        "domain_auc": {"before": None}, "auroc": None, "difference": None,
        "images": {"source": len(source.part), "target": len(shown.part)},
    }  # fmt: skip
    arrays = {
        "domain": np.repeat([0, 1], [len(source.part), len(shown.part)]),
        "domain_class": np.concatenate([source.part.labels, classes[thinned(len(classes), MOST, 0)]]),
    }
    networks = {"after": model} | ({"before": load_model(twin)} if twin else {})
    for when, network in networks.items():
        of_source, of_target = (answers(network, survey)[1] for survey in (source, shown))
        facts["domain_auc"][when] = domain_auc(of_source, of_target)
        arrays[f"domain_{when}"] = plane(of_source, of_target)
    if twin and labels is not None and scores is not None:
        without = networks["before"].calibrate(answers(networks["before"], target)[0])[:, lens]
        facts["auroc"] = {"adapted": find_metrics(labels == lens, scores)["auroc"],
                          "source_only": find_metrics(labels == lens, without)["auroc"]}  # fmt: skip
        found = find_difference(labels == lens, scores, without)
        facts["difference"] = {**found, "verdict": VERDICTS[str(found["verdict"])]}
    return facts, arrays


def sentence(facts: Mapping[str, Any]) -> str:
    """The verdict of :func:`report` in one line, with its interval, or why there is none."""
    difference = facts["difference"]
    if difference is None:
        if facts["source_only"] is None:
            return ("No verdict yet: train the same with adapt = none, then evaluate this run again; the two are then "
                    "compared on the same images.")
        return ("No verdict: the target has no labelled test images. How far the surveys lie apart is known; whether "
                "more lenses are found is not. Label some of its images to know.")
    numbers = f"AUROC {difference['value']:+.3f}, 95 % {difference['low']:+.3f} to {difference['high']:+.3f}"
    words = {"helps": "{} helps", "harms": "{} harms", "no difference shown": "{}: no difference shown"}
    return f"{words[difference['verdict']].format(facts['method'])} ({numbers})".replace("-0.", "−0.")


def answers(model: Trained, survey: Survey) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n d"]]:
    """Logits and features of a network for every image of a survey."""
    pairs = [model.outputs(model.fit(block, survey.info.pixel_scale_arcsec)[0], columns)
             for block, columns in survey.part.blocks_and_columns(BLOCK)]  # fmt: skip
    raw, features = (np.concatenate(half) for half in zip(*pairs, strict=True))
    return raw, features


def _thinned(survey: Survey) -> Survey:
    return replace(survey, part=survey.part.some(thinned(len(survey.part), MOST, 0)))


def _source_images(model: Trained) -> Images:
    """Images of the network's source that it has not learnt from."""
    data = model.card["data"]
    if data.startswith(SIM):
        return simulated_images(data.removeprefix(SIM), MOST, model.card["seed"], VALIDATION, best_device())
    return stored_images(open_dataset(Path(data)), "val")
