"""Commands of super-resolution: register a real pair, hold two results against each other."""

from __future__ import annotations

from pathlib import Path

from deeplense_core.cli.arguments import Verb, json_flag, say
from deeplense_core.errors import UserError


def add_commands(verb: Verb) -> None:
    """Adds ``register`` and ``compare``."""
    sub = verb("register", _register, "Make a data set of one pair of a coarse and a fine FITS image of one sky.")
    sub.add_argument("lr", type=Path, metavar="COARSE")
    sub.add_argument("hr", type=Path, metavar="FINE")
    sub.add_argument("--psf-lr", required=True, metavar="FILE|ARCSEC", help="point-spread function, or its FWHM")
    sub.add_argument("--psf-hr", required=True, metavar="FILE|ARCSEC")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--scale", type=int, choices=(2, 3, 4), default=2, help="fine pixels along a side of a coarse one")
    json_flag(sub)

    sub = verb("compare", _compare, "Two super-resolution results on the same images: the difference, its interval.")
    sub.add_argument("a", metavar="A", help="a run, a shipped model or an interpolation; 'NAME x8' is its average")
    sub.add_argument("b", metavar="B")
    sub.add_argument("--data", required=True, metavar="DIR|sim:RECIPE")
    sub.add_argument("--split", default="test", choices=("test", "val", "train", "all"))
    sub.add_argument("--metric", default="psnr")
    json_flag(sub)


def _register(args) -> None:
    from dataclasses import asdict

    from deeplense_core.superres.pair_set import band_table, pair_lines, register_files

    made, pair = register_files(args.lr, args.hr, args.psf_lr, args.psf_hr, args.out, args.scale)
    facts = made.manifest["source"]
    if args.json:
        about = {name: facts[name] for name in ("lr", "hr", "band", "shift_arcsec", "border")}
        bands = [asdict(row) for row in band_table(pair)]
        say({"data": str(made.path), **about, "bands": bands})
        return
    for row in band_table(pair):
        print(f"{row.band:12} correlation {row.correlation:.4f}  zero point {row.zero_point:9.4g}  background "
              f"{row.background:+9.4g}  residual {row.residual_sigma:.2f} sigma")
    for line in pair_lines(facts, made.images.shape[1:], made.pixel_scale_arcsec or 0.0, args.scale):
        print(line)
    print(made.path)


def _compare(args) -> None:
    from deeplense_core.evaluate import evaluated, kept
    from deeplense_core.metrics.superres import AVERAGED
    from deeplense_core.models.interpolation import KERNELS
    from deeplense_core.progress import bar
    from deeplense_core.superres.versus import difference, read_scores
    from deeplense_core.trained import load_model

    rows, scores = (args.a, args.b), {}
    own = [row for row in rows if row not in KERNELS] or rows  # interpolations are in the table of every network
    for name in {row.removesuffix(AVERAGED): None for row in own}:
        model = load_model(name)
        if model.task != "superres":
            raise UserError(f"{name!r} makes no finer images. Classifiers are compared on the runs page.")
        found = kept(model, args.data, args.split)
        if found is None:
            with bar(f"evaluating {name}") as update:
                found = evaluated(name, args.data, args.split, update)
        scores[name] = read_scores(*found)
    a, b = (scores.get(row.removesuffix(AVERAGED)) or next(iter(scores.values())) for row in rows)
    found = difference(a, args.a, b, args.b, args.metric)
    if args.json:
        facts = {"a": args.a, "b": args.b, "data": args.data, "split": args.split, "metric": args.metric}
        say({**facts, **found})
        return
    if found["value"] is None:
        print(f"{args.metric} of {args.a} and {args.b} cannot be compared: {found['undefined']}")
        return
    interval = "" if found["low"] is None else f" (95 % {found['low']:+.4f} to {found['high']:+.4f})"
    print(f"{args.metric} of {args.a} minus {args.b}: {found['value']:+.4f}{interval} over {found['n']} images: "
          f"{found['verdict']}")
