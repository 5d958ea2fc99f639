"""Commands that make data sets: simulate them, read them from files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from deeplense_core.cli.arguments import Verb, settings, settings_flag


def add_commands(verb: Verb) -> None:
    """Adds ``simulate`` and ``ingest``."""
    sub = verb("simulate", _simulate, "Make a data set of simulated lenses.")
    sub.add_argument("recipe", metavar="RECIPE")
    sub.add_argument("--count", type=int, required=True, metavar="N")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--seed", type=int, default=0, metavar="S")
    sub.add_argument("--as-published", action="store_true", help="the published set, quirks included")
    sub.add_argument("--device", default="auto", metavar="D")
    settings_flag(sub, "of the recipe")

    sub = verb("ingest", _ingest, "Make a data set of image files.")
    sub.add_argument("src", type=Path, metavar="SRC")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--layout", default="auto")
    sub.add_argument("--channels", default="auto", choices=("auto", "first", "last"))


def _simulate(args) -> None:
    from deeplense_core.progress import bar
    from deeplense_core.sim import simulate_dataset
    from deeplense_core.train import choose_device

    device = choose_device(args.device)
    with bar("simulating") as update:
        made = simulate_dataset(args.recipe, args.count, args.out, seed=args.seed, device=device,
                                as_published=args.as_published, settings=settings(args.set), progress=update)
    print(made.path)


def _ingest(args) -> None:
    from deeplense_core.ingest import ingest
    from deeplense_core.progress import bar

    with bar("reading") as update:
        made = ingest(args.src, args.out, layout=args.layout, channels=args.channels, progress=update)
    for line in _ingest_lines(made.manifest["report"]):
        print(line, file=sys.stderr)
    print(made.path)


def _ingest_lines(report: dict[str, Any]) -> list[str]:
    """What was skipped and why, and every finding of the audit that is not plainly good."""
    skipped = [f"Skipped {count}: {reason}" for reason, count in report.get("skipped", {}).items()]
    findings = report.get("audit", {}).values()
    return skipped + [f"{f['severity'].capitalize()}: {f['text']}" for f in findings if f["severity"] != "ok"]
