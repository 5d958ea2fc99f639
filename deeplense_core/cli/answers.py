"""Commands that ask trained networks: score them, calibrate them, let them answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from deeplense_core.cli.arguments import Verb, interval, json_flag, resumable, say, tell_skipped
from deeplense_core.errors import UserError


def add_commands(verb: Verb) -> None:
    """Adds ``evaluate``, ``calibrate`` and ``predict``."""
    sub = verb("evaluate", _evaluate, "Score a trained network on data it has not seen.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    sub.add_argument("--data", required=True, metavar="DIR|sim:RECIPE")
    sub.add_argument("--split", default="test", choices=("test", "val", "train", "all"))
    json_flag(sub)

    sub = verb("calibrate", _calibrate, "Complete the card of a classifier from its validation images: temperature, "
               "class sets, familiar features. Training does it at its end.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    json_flag(sub)

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
        print(f"  {interval(report, name)}")
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
            print(f"  {interval({'metrics': metrics}, name)}")
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
    from deeplense_core.bands import BandRule, parse_bands
    from deeplense_core.bulk.sets import predict_any
    from deeplense_core.bulk.shards import parse_shard
    from deeplense_core.trained import load_model

    shard = parse_shard(args.shard) if args.shard else None
    chosen = parse_bands(args.bands) if args.bands else ()
    model = load_model(args.run)
    if model.task == "superres":
        if shard or chosen:
            raise UserError("--shard and --bands are for classify and find; super-resolution takes files whole.")
        return _enhance(args, model)

    rule = BandRule(model.shape[0], tuple(model.card["bands"]), chosen)
    with resumable("predicting") as update:
        made, out = predict_any(model, args.paths, args.out, args.pixel_scale, args.workers, update, shard, rule)
    tell_skipped(made, "images")
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
