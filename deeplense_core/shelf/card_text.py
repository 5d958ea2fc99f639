"""The card of a trained network as a page to read: Markdown, made from the facts in its ``model.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeplense_core.plots.names import METRIC_DISPLAY
from deeplense_core.shelf.cards import pixel_scales
from deeplense_core.storage import atomic_write
from deeplense_core.workspace import shipped_models_dir

HEADLINES = {
    "classify": ("auc_macro", "accuracy", "f1_macro", "ece"),
    "find": ("auroc", "auprc", "tpr0", "tpr10"),
    "superres": ("psnr", "psnr_floor", "ssim", "arc_psnr", "flux_ratio", "reobs_chi2"),
    "ssl": ("probe_auc_macro", "probe_accuracy", "knn_accuracy", "rotation_error", "effective_rank"),
}
"""Task -> the metrics that a table of it shows, the most telling one first."""
KINDS = {
    "classify": ("image-classification", "classifies substructure"), "find": ("image-classification", "finds lenses"),
    "superres": ("image-to-image", "makes a coarse image fine"), "ssl": ("image-feature-extraction", "gives features"),
}  # fmt: skip
"""Task -> its name on the Hub, and what a network of it does."""
PYTHON = "python -m deeplense_core"


def card_markdown(name: str, card: Mapping[str, Any]) -> str:
    """The README of a model: what it is, how it was made, what it is worth, and where it fails.

    Args:
        name: Of the model.
        card: Facts of its ``model.json``; ``about`` and ``tests`` are there once it ships.
    """
    about = card.get("about", {})
    parts = [
        _front_matter(card, about), f"# {name}", about.get("summary", f"A network that {KINDS[card['task']][1]}."),
        _facts(card), *_made(card, about), *_worth(name, card), *_trust(card),
        *(_list("Limits", about["limits"]) if about.get("limits") else ()), *_use(name, card["task"]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def write_card(name: str, card: Mapping[str, Any]) -> Path:
    """Writes ``model.json`` and the README made from it."""
    folder = shipped_models_dir() / name
    atomic_write(folder / "model.json", json.dumps(card, indent=1, ensure_ascii=False).encode())
    atomic_write(folder / "README.md", card_markdown(name, card).encode())
    return folder


def shown_metrics(task: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Metrics of a task's tables that at least one of the rows has, in order."""
    return [name for name in HEADLINES[task] if any(row.get(name, {}).get("value") is not None for row in rows)]


def interval_text(metric: Mapping[str, Any] | None, digits: int = 4) -> str:
    """As "0.9908 (0.9887 to 0.9927)"; a dash where it is undefined or not known."""
    if not metric or metric["value"] is None:
        return "–"
    value, low, high = (None if metric.get(part) is None else f"{round(metric[part], digits):.{digits}g}"
                        for part in ("value", "low", "high"))  # fmt: skip
    return str(value) if low in (None, high) else f"{value} ({low} to {high})"


def _front_matter(card: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """What the Hugging Face Hub files a model by."""
    lines = [f"license: {about.get('licence', 'MIT').lower()}", "library_name: deeplense",
             f"pipeline_tag: {KINDS[card['task']][0]}", "tags: [gravitational-lensing, astronomy]"]  # fmt: skip
    return "\n".join(("---", *lines, "---"))


def _facts(card: Mapping[str, Any]) -> str:
    channels, height, width = card["shape"]
    said = " to ".join(f"{scale:.3g}" for scale in dict.fromkeys(pixel_scales(card) or ()))
    rows = {
        "Task": card["task"],
        "Network": f"{card['model']} ({_settings(card['model_settings'])})",
        "Classes": ", ".join(card.get("classes", ())),
        "Input": f"{channels} × {height} × {width} pixels" + (f" of {said} arcsec" if said else ""),
        "Bands": ", ".join(card["bands"]),
        "Output": _output(card),
        "Preprocessing": _settings(card.get("preprocess", {})),
        "Data and seed": f"{card['data']}, seed {card['seed']}",
        "Weights of epoch": str(card["epoch"]),
        "First weights": card["weights_origin"],
        "Licence": card.get("about", {}).get("licence", ""),
    }
    return _table(("", ""), [(label, said) for label, said in rows.items() if said])


def _output(card: Mapping[str, Any]) -> str:
    if not card.get("target_shape"):
        return ""
    channels, height, width = card["target_shape"]
    scale = card.get("target_pixel_scale_arcsec")
    return f"{channels} × {height} × {width} pixels" + (f" of {scale:g} arcsec" if scale else "")


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _made(card: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    return ["## How it was made", _code([*about.get("before", []), about["command"]])] if "command" in about else []


def _worth(name: str, card: Mapping[str, Any]) -> list[str]:
    parts = []
    for test in card.get("tests", ()):
        rows = {name: test["metrics"], **test["rows"]}
        shown = shown_metrics(card["task"], list(rows.values()))
        cells = [(row, *(interval_text(metrics.get(metric)) for metric in shown)) for row, metrics in rows.items()]
        head = ("", *(METRIC_DISPLAY.get(metric, metric.replace("_", " ")) for metric in shown))
        parts += [f"{test['n']:,} images of {test['data']}, which no training or selection has seen; "
                  "in brackets 95 % bootstrap intervals:", _table(head, cells), _code(test["commands"])]  # fmt: skip
    return ["## What it is worth", *parts] if parts else []


def _trust(card: Mapping[str, Any]) -> list[str]:
    if "temperature" not in card:
        return []
    lines = [f"Temperature {card['temperature']:.3f}, found on validation images."]
    if conformal := card.get("conformal"):
        lines.append(f"Class sets hold the true class for {conformal['level']:.0%} of the images of each class, from "
                     f"{sum(conformal['images']):,} images.".replace("%", " %"))  # fmt: skip
    if cloud := card.get("cloud"):
        lines.append(f"An image whose features lie farther out than those of {cloud['within']:.0%} of "
                     f"{cloud['images']:,} images is called unfamiliar.".replace("%", " %"))  # fmt: skip
    return _list("Calibration", lines)


def _use(name: str, task: str) -> list[str]:
    out = {"superres": "fine.fits", "ssl": "features.npz"}.get(task, "answers.csv")
    line = f"embed {name} --data DIR --out {out}" if task == "ssl" else f"predict {name} image.fits --out {out}"
    return ["## Use", _code([line])]


def _list(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)]


def _code(commands: Sequence[str]) -> str:
    return "\n".join(("```sh", *(f"{PYTHON} {command}" for command in commands), "```"))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
