"""Adaptation to another survey: its part of the training form, and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from deeplense_core.classes import LENS_CLASSES
from deeplense_core.data import list_datasets, open_dataset
from deeplense_core.plots import finding, survey_figure
from deeplense_core.spec import Knob
from deeplense_core.workspace import results_dir
from pages.ui.forms import label
from pages.ui.layout import pair
from pages.ui.messages import plain
from pages.ui.picker import SIM, short_data
from pages.ui.theme import theme_name

WITH_LABELS, WITHOUT_LABELS = "finetune", "dann"
"""Methods that the form begins with."""
ICONS = {"helps": "success", "harms": "error", "no difference shown": "info"}


def survey_form(known: Mapping[str, Knob], source: str) -> dict[str, str]:
    """The switch "Adapt to my survey" and, once it is on, which images and how; prefilled with the newest set."""
    if "adapt" not in known:
        return {}
    from deeplense_core.adapt import BASELINE

    if not st.toggle("Adapt to my survey", key="train_survey", persist_state="session", help="Learn from labelled "
                     "images of one survey to find lenses in another, of which no or few images carry labels"):
        return {"adapt": BASELINE, "target": ""}
    options = survey_options(source)
    if not options:
        st.info("There is no other set of cutouts of as many bands. Bring your own in on the data page: a folder of "
                "files is enough, labels are not needed.", icon=":material/upload:")
        return {"adapt": BASELINE, "target": ""}
    _valid("train_target", list(options))
    target = st.selectbox("Images of my survey", options, format_func=options.get, key="train_target",
                          persist_state="session", help=plain(known["target"].help))  # fmt: skip
    total, labelled = label_counts(target)
    methods = methods_for(labelled, known["adapt"].choices or ())
    _valid("train_adapt", list(methods), WITH_LABELS if labelled else WITHOUT_LABELS)
    method = st.selectbox(label(known["adapt"]), methods, format_func=methods.get, key="train_adapt",
                          persist_state="session", help=plain(known["adapt"].help))  # fmt: skip
    st.caption(label_note(total, labelled))
    return {"adapt": method, "target": target}


def survey_options(source: str) -> dict[str, str]:
    """Sets of as many bands as the source, newest first, and the hard simulations: value -> what to call it."""
    from deeplense_core.sources import describe

    bands = describe(source).shape[0]
    stored = {str(ds.path): f"{ds.name} · {len(ds):,} images" for ds in list_datasets()
              if ds.shape[0] == bands and str(ds.path) != source and ds.targets is None
              and set(ds.classes) <= set(LENS_CLASSES)}  # fmt: skip
    fresh = f"{SIM}lens-finding-hard"
    return stored | ({fresh: "lens-finding-hard · simulated fresh"} if bands == 3 and source != fresh else {})


def label_counts(target: str) -> tuple[int | None, int | None]:
    """Training images of the target, and how many of them carry a label; None each for simulations."""
    if target.startswith(SIM):
        return None, None
    dataset = open_dataset(Path(target))
    rows = dataset.rows("train")
    return len(rows), int((dataset.labels[rows] >= 0).sum())


def methods_for(labelled: int | None, names: Sequence[str]) -> dict[str, str]:
    """Methods that can learn from so many labelled images: name -> what to call it."""
    from deeplense_core.adapt import ADAPTATIONS

    enough = labelled is None or labelled >= 2
    return {name: ADAPTATIONS[name].about["label"] for name in names
            if enough or ADAPTATIONS[name].about["labels"] == "none"}  # fmt: skip


def label_note(total: int | None, labelled: int | None) -> str:
    """What the labels of a target allow, in a sentence or two."""
    compare = "Train the same with *no adaptation* too: evaluations then compare both on the same images."
    if total is None or labelled is None:
        return f"Fresh images each step; half of them show their labels to methods that learn from labels. {compare}"
    if not labelled:
        return (f"{total:,} training images, none with a label: the last epoch is kept, and whether more lenses are "
                f"found cannot be shown, only how far apart the surveys lie. {compare}")
    return f"{total:,} training images, {labelled:,} of them with a label. {compare}"


def _valid(key: str, options: list[str], first: str = "") -> None:
    """Keeps a box's choice where it still exists, and else begins with ``first``, or the first one."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = first if first in options else options[0]


def adaptations(name: str, title: str, report: Mapping[str, Any] | None, folder: Path | None) -> None:
    """What adaptation was worth to a network: on the images of an evaluation, or on a target without labels."""
    if report is not None and folder is not None and "adaptation" in report:
        adaptation_panel(title, report["adaptation"], folder / "predictions.npz", report["classes"])
        return
    unlabelled = results_dir(name) / "adaptation"
    if (unlabelled / "report.json").exists():
        facts = json.loads((unlabelled / "report.json").read_bytes())
        adaptation_panel(title, facts, unlabelled / "domains.npz", facts["classes"])


def adaptation_panel(title: str, facts: Mapping[str, Any], arrays: Path, classes: Sequence[str]) -> None:
    """The verdict, and both surveys in the network's features before and after."""
    from deeplense_core.adapt.report import sentence

    with st.container(border=True, key=f"adaptation_{abs(hash(str(arrays)))}"):
        st.subheader("Adaptation to another survey", anchor=False)
        st.caption(f"{plain(title)}: {plain(facts['method'])}, adapted to {plain(short_data(facts['target']))}")
        verdict = (facts["difference"] or {}).get("verdict", "")
        {"success": st.success, "error": st.error}.get(ICONS.get(verdict, ""), st.info)(plain(sentence(facts)))
        _numbers(facts)
        with np.load(arrays, allow_pickle=False) as kept:
            known = {name: kept[name] for name in kept.files if name.startswith("domain")}
        lens = list(classes).index(LENS_CLASSES[0])
        kind = np.where(known["domain_class"] < 0, -1, known["domain_class"] == lens)
        for cell, when in zip(pair(), ("before", "after"), strict=True):
            with cell:
                _plane(facts, known, kind, when)
        st.caption("Features of held-out images of both surveys on their two main axes, each network's own. Domain "
                   "AUC: how well a line in all features tells the surveys apart, judged on images it has not seen; "
                   "0.5 is not at all. Surveys that lie together are no proof of better finding: the verdict is.")


def _numbers(facts: Mapping[str, Any]) -> None:
    """Both AUROCs and both domain AUCs, one beside the other."""
    scores, apart = facts["auroc"] or {}, facts["domain_auc"]
    shown = (("AUROC, source only", scores.get("source_only")), ("AUROC, adapted", scores.get("adapted")),
             ("Domain AUC before", apart["before"]), ("Domain AUC after", apart["after"]))  # fmt: skip
    for cell, (name, metric) in zip(st.columns(4), shown, strict=True):
        cell.metric(name, f"{metric['value']:.3f}" if metric else "unknown",
                    help=f"95 %: {metric['low']:.3f} to {metric['high']:.3f}" if metric else None)  # fmt: skip


def _plane(facts: Mapping[str, Any], known: Mapping[str, np.ndarray], kind: np.ndarray, when: str) -> None:
    if f"domain_{when}" not in known:
        st.info("Before: unknown until a run without adaptation, and otherwise alike, is there.",
                icon=":material/compare_arrows:")
        return
    images = facts["images"]
    name = {"before": "Before: domain AUC", "after": "After: domain AUC"}[when]
    figure = survey_figure(
        known[f"domain_{when}"], known["domain"], kind, title=finding(name, facts["domain_auc"][when]),
        subtitle=f"{images['source']:,} images of the source, {images['target']:,} of the target", theme=theme_name(),
    )  # fmt: skip
    st.plotly_chart(figure, theme=None, key=f"plane_{when}_{abs(hash(known['domain_after'].tobytes()))}",
                    alt=f"Both surveys in the features, {when} adaptation")  # fmt: skip
