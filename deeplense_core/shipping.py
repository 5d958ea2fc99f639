"""From a finished run to a model that ships: its folder in ``assets/models`` and its card."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deeplense_core.command import changed, set_words, simulate_words
from deeplense_core.data import open_dataset
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluated
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.shelf.card_text import write_card
from deeplense_core.shelf.cards import find_card, shipped_models
from deeplense_core.sim.scene import RECIPES
from deeplense_core.sources import SIM
from deeplense_core.spec import knobs
from deeplense_core.storage import atomic_write
from deeplense_core.tasks.base import TASKS, Progress
from deeplense_core.train import settings_of
from deeplense_core.workspace import safe_name, shipped_models_dir

FILES = ("model.safetensors", "familiar.safetensors")
"""What goes with a card, where it is there."""
BEGUN_FROM = "RUN"
"""Stands in a command for the id of a run that another command makes."""
DIGITS = 6
"""Significant digits of a metric on a card."""


def ship(run_id: str, name: str, summary: str, limits: Sequence[str] = ()) -> Path:
    """Copies a finished run to ``assets/models/NAME`` and begins its card; :func:`add_test` completes it.

    Args:
        run_id: A run that is done.
        name: Of the model; an older one of the same name is replaced.
        summary: What it is, in one sentence.
        limits: Where it must not be trusted, a sentence each.

    Raises:
        UserError: a run without weights, or a name that is no folder name.
    """
    if name != safe_name(name):
        raise UserError(f"{name!r} cannot name a folder. Try {safe_name(name)!r}.")
    run = open_run(run_id)
    found = find_card(run.id)
    folder = shipped_models_dir() / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "evaluations", ignore_errors=True)  # of the weights before
    for file in FILES:
        if (found.folder / file).exists():
            atomic_write(folder / file, (found.folder / file).read_bytes())
    *before, command = commands_of(run, name)
    about = {"summary": summary, "before": before, "command": command, "licence": "MIT", "limits": list(limits)}
    data, _ = _shared(run.spec.data)
    return write_card(name, {**found.card, "data": data, "about": about, "tests": []})


def add_test(name: str, data: str, split: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Scores a shipped model on a simulated data set and writes the numbers, with their commands, on its card.

    Of classes of ``sim:RECIPE``, whose images every page can make again, the answers ship too: the pages show them
    where nothing has been evaluated yet.

    Args:
        name: Of the shipped model.
        data: A data set that ``simulate`` made, of a seed that no training has seen; or ``sim:RECIPE``.
        split: As :func:`deeplense_core.evaluate.evaluate` takes it; left out, all of a data set, the test of a recipe.
        progress: Called with images done and in all.

    Raises:
        UserError: a model that does not ship, data that nobody else can make again, or that training has seen.
    """
    if name not in shipped_models():
        raise UserError(f"No model {name!r} ships. Make one of a run first: ship RUN {name} --summary TEXT")
    made, split = _remake(data), split or ("test" if data.startswith(SIM) else "all")
    folder, report = evaluated(name, data, split, progress)
    if report["seen_in_training"]:
        raise UserError(f"{name!r} has seen {data!r} in training: its card takes numbers of unseen images only.")
    test = {
        "data": made.words, "recipe": made.recipe, "split": split, "n": report["n"],
        "commands": [*made.commands, shlex.join(["evaluate", name, "--data", made.data, "--split", split])],
        "metrics": _rounded(report["metrics"]), "rows": {row: _rounded(m) for row, m in report["rows"].items()},
    }  # fmt: skip
    card = dict(find_card(name).card)
    others = [one for one in card.get("tests", []) if one["commands"] != test["commands"]]
    write_card(name, {**card, "tests": [*others, test]})
    if data.startswith(SIM) and TASKS[card["task"]].about["labelled"]:
        shipped = shipped_models_dir() / name / "evaluations" / folder.name
        if folder != shipped:
            shutil.copytree(folder, shipped, dirs_exist_ok=True)
    return test


def commands_of(run: Run, replaces: str = "") -> list[str]:
    """Everything that makes this run again: its data, the runs that it began from, and last the run itself.

    A shipped model that it began from stays by its name, except ``replaces``, which nobody can have any more: the
    commands that made that one are told instead.
    """
    data, before = _shared(run.spec.data)
    init = run.spec.train_settings.get("init", "")
    earlier: list[str] = []
    if init in {row.id for row in list_runs()}:
        earlier = commands_of(open_run(init), replaces)
    elif init and init == replaces:
        about = find_card(init).card["about"]
        earlier = [*about.get("before", []), about["command"]]
    if earlier:
        *earlier, first = earlier
        before = [*earlier, f"{first}  # its last line is the {BEGUN_FROM} of the next training", *before]
        init = BEGUN_FROM
    return [*before, command_of(run, data, init)]


def command_of(run: Run, data: str, init: str) -> str:
    """The command that trains this run again on ``data`` from ``init``, without what stands at its default."""
    spec = run.spec
    known = settings_of(spec.task, spec.model)
    values = {**spec.model_settings, **spec.train_settings, "init": init}
    settings = changed({key: value for key, value in values.items() if key in known}, known)
    words = ["train", spec.task, "--data", data, "--model", spec.model, *set_words(settings)]
    return shlex.join([*words, "--seed", str(spec.seed)])


class Remade(NamedTuple):
    """Simulated images as anybody can make them again."""

    recipe: str
    words: str
    """What they are: no two sets that differ have the same."""
    data: str
    """What commands call them."""
    commands: list[str]
    """Those that make them; none for ``sim:RECIPE``."""


def _shared(data: str) -> tuple[str, list[str]]:
    """What training data are called where others can make them, and the commands for it; a user's own keep their
    folder's name alone."""
    try:
        made = _remake(data)
    except UserError:
        return f"workspace/datasets/{Path(data).name}", []
    return made.data, made.commands


def _remake(data: str) -> Remade:
    if data.startswith(SIM):
        recipe = data.removeprefix(SIM)
        return Remade(recipe, f"{recipe}, test streams of the training's seed", data, [])
    source = open_dataset(Path(data)).manifest["source"]
    if "recipe" not in source or "seed" not in source:
        raise UserError(f"{data!r} was not simulated: nobody else could check its numbers. Take a data set that "
                        "`simulate` made.")  # fmt: skip
    recipe, seed, published = source["recipe"], source["seed"], bool(source.get("as_published"))
    known = knobs(RECIPES[recipe].config)
    settings = changed({key: value for key, value in source.get("settings", {}).items() if key in known}, known)
    out = f"workspace/datasets/{recipe}-seed-{seed}"
    said = ", ".join([recipe, f"seed {seed}", *["as published"] * published,
                      *(f"{key} {value}" for key, value in settings.items())])  # fmt: skip
    words = simulate_words(recipe, source["count"], out, seed, published, settings)
    return Remade(recipe, said, out, [shlex.join(words)])


def _rounded(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {part: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
               for part, value in metric.items()}
        for name, metric in metrics.items()
    }  # fmt: skip
