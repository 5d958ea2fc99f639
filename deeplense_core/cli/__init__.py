"""The command line: the same work as the pages, one sub-command each.

Exit codes: 0 done, 2 what the user can mend (one clear line on stderr), 1 a defect (with its traceback).
``--json`` prints one JSON object and nothing else on stdout.
Commands import inside, so that each starts with only what it needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from deeplense_core.cli import answers, bench, data, embeddings, models, runs, superres, trash
from deeplense_core.errors import UserError


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

    for part in (data, runs, trash, answers, models, embeddings, superres, bench):
        part.add_commands(verb)
    return top
