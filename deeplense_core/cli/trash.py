"""Commands that delete, and that take it back."""

from __future__ import annotations

from deeplense_core.cli.arguments import Verb, json_flag, say


def add_commands(verb: Verb) -> None:
    """Adds ``delete``, ``restore`` and ``trash``."""
    sub = verb("delete", _delete, "Move runs and data sets to the trash.")
    sub.add_argument("names", nargs="+", metavar="RUN|DATASET")
    sub = verb("restore", _restore, "Bring runs and data sets back from the trash.")
    sub.add_argument("names", nargs="+", metavar="RUN|DATASET")
    sub = verb("trash", _trash, "List what is in the trash, or empty it.")
    sub.add_argument("--empty", action="store_true", help="remove all of it for good")
    json_flag(sub)


def _delete(args) -> None:
    from deeplense_core.trash import delete

    for name in args.names:
        gone = delete(name)
        print(f"{gone.kind} {gone.name} is in the trash; "
              f"to bring it back: python -m deeplense_core restore {gone.name}")


def _restore(args) -> None:
    from deeplense_core.trash import restore

    for name in args.names:
        back = restore(name)
        print(f"{back.kind} {back.name} is back")


def _trash(args) -> None:
    from deeplense_core.trash import contents, empty

    there = contents()
    rows = [{"kind": one.kind, "name": one.name, "bytes": one.size_bytes()} for one in there]
    if args.empty:
        freed = empty(there)
        return say({"removed": rows, "freed_bytes": freed}) if args.json else print(f"{freed / 1e6:,.1f} MB freed")
    if args.json:
        return say({"trash": rows})
    for row in rows:
        print(f"{row['kind']:9} {row['name']:52} {row['bytes'] / 1e6:>10,.1f} MB")
    return None if rows else print("The trash is empty.")
