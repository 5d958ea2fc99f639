"""The command line: the same work as the pages, one sub-command each.

Exit codes: 0 done, 2 what the user can mend (one clear line on stderr), 1 a defect (with its traceback).
``--json`` prints one JSON object and nothing else on stdout.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeplense_core import cli_embeddings, cli_superres
from deeplense_core.cli_cards import add_commands
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        args = parser().parse_args(argv)
        return args.command(args) or 0
    except UserError as err:
        print(f"Error: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # ``... | head``: the reader has all it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


class _Parser(argparse.ArgumentParser):
    """argparse with our form of error: one line, exit code 2, and the nearest command."""

    def error(self, message: str):
        raise UserError(f"{message}. See '{self.prog} --help'.")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="python -m deeplense_core", description="DeepLense: strong lensing with deep learning.")
    verbs = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def verb(name: str, command, help: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=help, description=help)
        sub.set_defaults(command=command)
        return sub

    sub = verb("simulate", _simulate, "Make a data set of simulated lenses.")
    sub.add_argument("recipe", metavar="RECIPE")
    sub.add_argument("--count", type=int, required=True, metavar="N")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--seed", type=int, default=0, metavar="S")
    sub.add_argument("--as-published", action="store_true", help="the published set, quirks included")
    sub.add_argument("--device", default="auto", metavar="D")
    _settings(sub, "of the recipe")

    sub = verb("ingest", _ingest, "Make a data set of image files.")
    sub.add_argument("src", type=Path, metavar="SRC")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--layout", default="auto")
    sub.add_argument("--channels", default="auto", choices=("auto", "first", "last"))

    sub = verb("train", _train, "Train a network; the last line of stdout is the run id.")
    sub.add_argument("task", metavar="TASK")
    sub.add_argument("--data", required=True, metavar="DIR|sim:RECIPE")
    sub.add_argument("--model", required=True, metavar="NAME")
    _settings(sub, "of model, training and task; 'train TASK --model NAME --data x --list' shows them")
    sub.add_argument("--list", action="store_true", help="list every setting and stop")
    sub.add_argument("--seed", type=int, default=0, metavar="S")
    sub.add_argument("--where", default="here", choices=("here", "local"))
    sub.add_argument("--name", default="", metavar="TEXT")
    sub.add_argument("--device", default="auto", metavar="D")

    sub = verb("runs", _runs, "List all runs.")
    _json(sub)
    sub = verb("show", _show, "Show one run.")
    sub.add_argument("run", metavar="RUN")
    _json(sub)
    sub = verb("cancel", _cancel, "Stop a run.")
    sub.add_argument("run", metavar="RUN")
    sub = verb("resume", _resume, "Go on with a run that was cancelled, failed or lost.")
    sub.add_argument("run", metavar="RUN")
    sub.add_argument("--where", default="here", choices=("here", "local"))
    verb("reindex", _reindex, "Rebuild the index of runs.")

    sub = verb("evaluate", _evaluate, "Score a trained network on data it has not seen.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    sub.add_argument("--data", required=True, metavar="DIR|sim:RECIPE")
    sub.add_argument("--split", default="test", choices=("test", "val", "train", "all"))
    _json(sub)

    sub = verb("calibrate", _calibrate, "Complete the card of a classifier from its validation images: temperature, "
               "class sets, familiar features. Training does it at its end.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    _json(sub)

    sub = verb("predict", _predict, "Class probabilities of image files.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    sub.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE",
                     help=".csv .ecsv .fits .vot .json or .parquet; superres: a folder, .fits or .npy")
    sub.add_argument("--pixel-scale", type=float, metavar="ARCSEC",
                     help="arcsec per pixel of files that do not say it")
    sub.add_argument("--average", action="store_true", help="superres: mean over the eight flips and quarter turns")
    sub.add_argument("--scale", type=int, choices=(2, 3, 4), help="superres: of an interpolation; default: 2")
    sub.add_argument("--workers", type=int, metavar="N", help="processes that read files; default: half the cores")
    sub.add_argument("--bands", metavar="I,J,...", help="bands that the network gets, from 1; default: those of its "
                     "names, else all")
    sub.add_argument("--shard", metavar="I/N", help="do part I of N alone; its table is FILE-I-of-N beside --out")

    sub = verb("models", _models, "List architectures and trained models.")
    _json(sub)
    add_commands(verb)
    cli_embeddings.add_commands(verb)
    cli_superres.add_commands(verb)
    sub = verb("bench", _bench, "Measure speed side by side with the peer.")
    sub.add_argument("name", nargs="?", metavar="NAME|all", help="default: all of them, each in its own process; "
                     "adapt, ssl: methods of domain adaptation, of learning without labels, beside each other; "
                     "hours")
    _settings(sub, "of the studies adapt and ssl")
    _json(sub)
    sub = verb("work", _work, "Carry out a queued run; started by the queue.")
    sub.add_argument("run_dir", metavar="RUN_DIR")
    return top


def _json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _settings(sub: argparse.ArgumentParser, whose: str) -> None:
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"a setting {whose}")


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict.

    Raises:
        UserError: a pair without ``=``, or a key given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--set {pair!r} is not KEY=VALUE.")
        if key in found:
            raise UserError(f"--set {key} is given twice.")
        found[key] = value
    return found


def say(value: Any) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, indent=1, allow_nan=False))


# Commands: imports inside, so that each starts with only what it needs ---------------------------------


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


def _train(args) -> int:
    from deeplense_core import jobs, train

    if args.list:
        for name, k in train.settings_of(args.task, args.model).items():
            bounds = f" ({', '.join(map(str, k.choices))})" if k.choices else ""
            print(f"{name} = {k.default}{' ' + k.unit if k.unit else ''}{bounds}: {k.help}")
        return 0
    spec = train.plan(args.task, args.data, args.model, settings(args.set), args.seed, args.name, args.device)
    run = jobs.submit(spec, where=args.where)
    return _ended(run, args.where)


def _ended(run, where: str) -> int:
    """Prints the run id last; a run that failed here and now is this command's failure too."""
    status = run.status
    failed = where == "here" and status.state not in ("done", "cancelled")
    if failed:
        print(f"Error: run {run.id} {status.state}: {status.cause}", file=sys.stderr)
    print(run.id)
    return (2 if status.mendable else 1) if failed else 0


def _runs(args) -> None:
    from dataclasses import asdict

    from deeplense_core.runs import list_runs

    rows = list_runs()
    if args.json:
        return say({"runs": [asdict(row) for row in rows]})
    for row in rows:
        best = f"{row.best_name} {row.best:.4f}" if row.best is not None else ""
        print(f"{row.id:52} {row.state:10} {row.progress:4.0%}  {row.task:9} {row.model:14} {best}")
    if not rows:
        print("No runs yet. Start one with: python -m deeplense_core train classify --data sim:common-test "
              "--model d4net")
    return None


def _show(args) -> None:
    from dataclasses import asdict

    from deeplense_core.evaluations.predictions import evaluations
    from deeplense_core.jobs import refresh
    from deeplense_core.runs import open_run

    run = open_run(args.run)
    status = refresh(run)
    reports = [report for _, report in evaluations(run.id)]
    val = run.metrics("val")
    if args.json:
        return say({"run": run.id, "spec": json.loads(run.spec.to_json()), "status": asdict(status),
                    "validation": val, "evaluations": reports})
    print(f"{run.id}: {status.state} {status.cause}".rstrip())
    print(f"  {run.spec.task} with {run.spec.model} on {run.spec.data}, seed {run.spec.seed}; {status.note}")
    for row in val[-3:]:
        print("  validation " + "  ".join(f"{k} {v:.4f}" for k, v in row.items() if isinstance(v, float)
                                          and k != "time"))
    for report in reports:
        print(f"  {report['split']} of {report['data']} ({report['n']} images): "
              f"{_interval(report, next(iter(report['metrics'])))}")
    return None


def _interval(report: dict[str, Any], name: str) -> str:
    metric = report["metrics"][name]
    if metric["value"] is None:
        return str(metric.get("undefined", "undefined"))
    if metric["low"] is None:
        return f"{name} {metric['value']:.4f}"
    return f"{name} {metric['value']:.4f} (95 % {metric['low']:.4f} to {metric['high']:.4f})"


def _cancel(args) -> None:
    from deeplense_core import jobs
    from deeplense_core.runs import open_run

    jobs.cancel(open_run(args.run))


def _resume(args) -> int:
    from deeplense_core import jobs
    from deeplense_core.runs import open_run

    return _ended(jobs.resume(open_run(args.run), where=args.where), args.where)


def _reindex(args) -> None:
    from deeplense_core.runs import reindex

    print(f"{reindex()} runs")


def _evaluate(args) -> None:
    from deeplense_core.evaluate import evaluate
    from deeplense_core.progress import bar

    with bar("evaluating") as update:
        report = evaluate(args.run, args.data, args.split, progress=update)
    if args.json:
        return say(report)
    print(f"{report['n']} images of {report['data']} ({report['split']})")
    if report["seen_in_training"]:
        print("Caution: the network has seen these images in training or selection.")
    for name in report["metrics"]:
        print(f"  {_interval(report, name)}")
    if report["task"] == "superres":
        _print_rows(report)
    if report["task"] == "ssl":
        _print_encoders(report)
    return None


def _print_encoders(report: dict[str, Any]) -> None:
    """What an encoder must be held against, and how few labels its probe can do with."""
    for row, metrics in report["rows"].items():
        print(f"{row}:")
        for name in metrics:
            print(f"  {_interval({'metrics': metrics}, name)}")
    print(f"Probes and neighbours learn from {report['probe_images']} labelled images")


def _print_rows(report: dict[str, Any]) -> None:
    """Every row of a super-resolution table, and the scale of its PSNR."""
    names = ("psnr", "psnr_of_mean_mse", "ssim", "arc_psnr", "flux_ratio", "reobs_chi2", "psnr_floor", "perceptual")
    width = max(map(len, report["rows"]))
    print(f"{'':{width}}" + "".join(f"{name:>18}" for name in names))
    for row, metrics in report["rows"].items():
        values = (metrics[name]["value"] for name in names)
        print(f"{row:{width}}" + "".join(f"{'-' if v is None else format(v, '.4f'):>18}" for v in values))
    print(f"data range {report['data_range']:g}; perceptual distance by {report['perceptual_weights']}")


def _calibrate(args) -> None:
    from deeplense_core.calibrate import calibrate

    found = calibrate(args.run)
    if args.json:
        return say(found)
    conformal, cloud = found["conformal"], found.get("cloud")
    print(f"Temperature {found['temperature']:.4f}; sets cover {conformal['level']:.0%}".replace("%", " %")
          + f" of each class, from {conformal['images']} images")
    print(f"Familiar features from {cloud['images']} images" if cloud else
          "Too few validation images to say which features are familiar")
    return None


def _predict(args) -> int:
    from deeplense_core.bands import parse_bands, plan_bands
    from deeplense_core.bulk.sets import predict_any
    from deeplense_core.bulk.shards import parse_shard
    from deeplense_core.progress import bar
    from deeplense_core.trained import load_model

    shard = parse_shard(args.shard) if args.shard else None
    chosen = parse_bands(args.bands) if args.bands else ()
    model = load_model(args.run)
    if model.task == "superres":
        if shard or chosen:
            raise UserError("--shard and --bands are for classify and find; super-resolution takes files whole.")
        return _enhance(args, model)

    def plan(have):
        return plan_bands(have, model.shape[0], model.card["bands"], chosen)

    try:
        with bar("predicting") as update:
            made, out = predict_any(model, args.paths, args.out, args.pixel_scale, args.workers, update, shard, plan)
    except KeyboardInterrupt:
        print("The same command goes on from here.", file=sys.stderr)
        raise
    if made.taken_up:
        print(f"{made.taken_up} images were done by the run that was interrupted", file=sys.stderr)
    if made.failed_file:
        print(f"Skipped {made.failed} images: {made.failed_file} says why", file=sys.stderr)
    print(f"{made.done} images in {out}, {made.failed} skipped")
    return 0


def _enhance(args, model) -> int:
    """``predict`` of a super-resolution network: images in, finer images out."""
    from deeplense_core.progress import bar
    from deeplense_core.superres.enhance_files import enhance_files
    from deeplense_core.trained import unlearned

    if args.scale:
        if model.card["model_args"]["in_channels"] is not None:
            raise UserError(f"--scale is for interpolations; {model.name!r} was trained for one scale.")
        model = unlearned(model.name, args.scale)
    with bar("enhancing") as update:
        made = enhance_files(model, args.paths, args.out, args.average, update)
    for path, why in made.failed:
        print(f"Skipped {path}: {why}", file=sys.stderr)
    if not made.written:
        raise UserError(f"None of the {len(made.failed)} file(s) could be read: nothing was written.")
    print(f"{len(made.written)} images in {args.out}, {len(made.failed)} skipped")
    return 0


def _models(args) -> None:
    from deeplense_core.models import MODELS
    from deeplense_core.shelf.cards import find_card, shipped_models

    registered = {
        name if name != "timm" else "timm:<name>": {"summary": entry.summary, "source": entry.about["source"],
                                                    "tasks": list(entry.about["tasks"])}
        for name, entry in MODELS.items()
    }
    trained = {name: dict(find_card(name).card) for name in shipped_models()}
    if args.json:
        return say({"architectures": registered, "trained": trained})
    for name, about in registered.items():
        print(f"{name:14} {', '.join(about['tasks']):16} {about['summary']}")
    for name, card in trained.items():
        print(f"{name:14} trained: {card['task']} with {card['model']} on {card['data']}")
    return None


def _bench(args) -> int:
    from deeplense_core.bench import ALL, BENCHES, STUDIES, run_all, run_bench, run_study, table

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if args.name not in (None, ALL, *BENCHES, *STUDIES):
        raise UserError(f"Unknown bench {args.name!r}. {nearest(args.name, [ALL, *BENCHES, *STUDIES])}")
    if args.set and args.name not in STUDIES:
        raise UserError(f"--set is for {', '.join(STUDIES)}: the other benches have no settings.")
    if args.name in STUDIES:
        results, text = run_study(args.name, settings(args.set), tell)
        if args.json:
            say(results)
        else:
            print("\n".join(text))
        return 0
    failed: list[str] = []
    if args.name in (None, ALL):
        results, failed = run_all(list(BENCHES), tell)
    else:
        results = run_bench(args.name)
    if args.json:
        say(results)
    else:
        print("\n".join(table(results)))
    return 1 if failed else 0


def _work(args) -> int:
    from deeplense_core.work import work

    return work(args.run_dir)
