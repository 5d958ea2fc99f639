"""Commands about embeddings: vectors of images, maps of them, and which images are alike."""

from __future__ import annotations

import json
from pathlib import Path

from deeplense_core.cli.arguments import Verb, json_flag, resumable, say, settings, settings_flag, tell_skipped
from deeplense_core.embeddings import SAMPLE
from deeplense_core.errors import UserError


def add_commands(verb: Verb) -> None:
    """Adds ``embed``, ``project`` and ``similar``."""
    sub = verb("embed", _embed, "Features of images by a trained network: one file of ids and vectors.")
    sub.add_argument("run", metavar="RUN_OR_MODEL")
    sub.add_argument("--data", nargs="+", required=True, metavar="DIR",
                     help="a data set, sim:RECIPE, or files and folders of images")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    sub.add_argument("--pixel-scale", type=float, metavar="ARCSEC",
                     help="arcsec per pixel of files that do not say it")
    sub.add_argument("--count", type=int, default=SAMPLE, metavar="N",
                     help=f"images of sim:RECIPE; default: {SAMPLE}")
    sub.add_argument("--workers", type=int, metavar="N", help="processes that read files; default: half the cores")
    sub.add_argument("--project", metavar="METHOD", help="draw this map too, and keep it in the workspace")

    sub = verb("project", _project, "A map of an embedding: points in the plane.")
    sub.add_argument("file", type=Path, metavar="FILE.npz")
    sub.add_argument("--method", default="umap", help="pca, umap or tsne; default: umap")
    settings_flag(sub, "of the method; umap: neighbours, min_dist; tsne: perplexity")
    sub.add_argument("--seed", type=int, default=0, metavar="S")
    sub.add_argument("--onto", type=Path, metavar="FILE.npz",
                     help="place the images on the map of this embedding, which stays as it is")
    sub.add_argument("--out", type=Path, metavar="MAP.npz", help="ids and positions; the workspace keeps them anyway")

    sub = verb("similar", _similar, "The images of an embedding that are most like one.")
    sub.add_argument("file", type=Path, metavar="FILE.npz")
    sub.add_argument("--to", required=True, metavar="PATH_OR_ID")
    sub.add_argument("-k", type=int, default=10, metavar="N")
    sub.add_argument("--metric", default="cosine", help="cosine or l2; default: cosine")
    sub.add_argument("--pixel-scale", type=float, metavar="ARCSEC", help="of the file, where it does not say it")
    json_flag(sub)


def _embed(args) -> None:
    from deeplense_core.embeddings.embed import embed
    from deeplense_core.trained import load_model

    if args.project:
        from deeplense_core.embeddings.project import METHODS

        METHODS[args.project]  # an unknown one is said now, not at the end
    with resumable("embedding") as update:
        made = embed(load_model(args.run), args.data, args.out, args.pixel_scale, args.count, args.workers, update)
    tell_skipped(made, "files")
    if args.project:
        from deeplense_core.embeddings.project import project

        project(made.embedding, args.project)
    size = made.embedding.about["size"]
    print(f"{len(made.embedding)} images of {size} numbers in {args.out}, {made.failed} skipped")


def _project(args) -> None:
    import numpy as np

    from deeplense_core.embeddings.project import place, project
    from deeplense_core.embeddings.similar import Index
    from deeplense_core.embeddings.store import open_embedding, write_npz

    embedding = open_embedding(args.file)
    if args.onto:
        below = open_embedding(args.onto)
        if below.about["weights"] != embedding.about["weights"]:
            raise UserError(f"{args.file.name} and {args.onto.name} come from different networks: their vectors cannot "
                            "lie on one map. Embed one of them again.")
        drawn = project(below, args.method, settings(args.set), args.seed)
        positions = place(drawn, Index(below.vectors, "l2"), embedding.vectors)
    else:
        drawn = project(embedding, args.method, settings(args.set), args.seed)
        positions = drawn.positions
    if args.out:
        arrays = {"ids": embedding.ids, "positions": positions, "about": np.array(json.dumps(dict(drawn.about)))}
        write_npz(args.out, arrays)
    print(f"{len(positions)} points by {drawn.method}" + (f" in {args.out}" if args.out else ""))


def _similar(args) -> None:
    from deeplense_core.embeddings.ask import similar
    from deeplense_core.embeddings.store import open_embedding

    found = similar(open_embedding(args.file), args.to, args.k, args.metric, args.pixel_scale)
    if args.json:
        say(found)
        return
    for row in found["neighbours"]:
        print(f"{row['distance']:.6f}  {row['id']}" + (f"  {row['label']}" if row["label"] else ""))
