"""Commands about models as a whole: list them, ship a run, write its card, push it to the Hub."""

from __future__ import annotations

from deeplense_core.cli.arguments import Verb, json_flag, say
from deeplense_core.errors import UserError


def add_commands(verb: Verb) -> None:
    """Adds ``models``, ``ship``, ``card`` and ``push``."""
    sub = verb("models", _models, "List architectures and trained models.")
    json_flag(sub)

    sub = verb("ship", _ship, "Make a finished run a model that ships: assets/models/NAME.")
    sub.add_argument("run", metavar="RUN")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--summary", required=True, metavar="TEXT", help="what it is, in one sentence")
    sub.add_argument("--limit", action="append", default=[], metavar="TEXT", help="where it must not be trusted")

    sub = verb("card", _card, "Write the README of a shipped model from its model.json.")
    sub.add_argument("name", nargs="?", metavar="NAME", help="default: every shipped model")
    sub.add_argument("--data", metavar="DIR|sim:RECIPE", help="score it on this first, and put the numbers on the card")
    sub.add_argument("--split", choices=("test", "val", "train", "all"), help="default: all images of a folder")

    sub = verb("push", _push, "Upload a model to the Hugging Face Hub; everyone then uses it as hf:OWNER/MODEL.")
    sub.add_argument("model", metavar="RUN_OR_MODEL")
    sub.add_argument("to", metavar="hf:OWNER/MODEL")
    sub.add_argument("--private", action="store_true")


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


def _ship(args) -> None:
    from deeplense_core.shipping import ship

    print(ship(args.run, args.name, args.summary, args.limit))


def _card(args) -> None:
    from deeplense_core.shelf.card_text import write_card
    from deeplense_core.shelf.cards import find_card, shipped_models

    if args.data:
        from deeplense_core.progress import bar
        from deeplense_core.shipping import add_test

        if not args.name:
            raise UserError("--data needs the name of a model: card NAME --data DIR")
        with bar("evaluating") as update:
            made = add_test(args.name, args.data, args.split, update)
        say(made["metrics"])
    for name in [args.name] if args.name else shipped_models():
        print(write_card(name, find_card(name).card) / "README.md")


def _push(args) -> None:
    from deeplense_core.shelf.cards import find_card
    from deeplense_core.shelf.hub import push

    print(push(find_card(args.model).folder, args.to, args.private))
