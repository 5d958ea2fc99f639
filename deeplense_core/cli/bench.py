"""The command that measures."""

from __future__ import annotations

import sys

from deeplense_core.cli.arguments import Verb, json_flag, say, settings, settings_flag
from deeplense_core.errors import UserError
from deeplense_core.registry import nearest


def add_commands(verb: Verb) -> None:
    """Adds ``bench``."""
    sub = verb("bench", _bench, "Measure speed side by side with the peer.")
    sub.add_argument("name", nargs="?", metavar="NAME|all", help="default: all of them, each in its own process; "
                     "adapt, finders, ssl: methods of domain adaptation, networks that find lenses, methods of "
                     "learning without labels, beside each other; hours")
    settings_flag(sub, "of the studies adapt, finders and ssl")
    json_flag(sub)


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
