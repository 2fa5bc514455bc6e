"""The command line of every script: argparse, with the two slips that it lets pass or explains badly caught."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from segkit.system.typed import launched_processes


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose options with one value cannot be given twice, and that knows `--block.key value`.

    It has the options that `run_command` and `import_user_code` are for: `--debug`, and `--import` as `imports`.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.register("action", None, _StoreOnce)  # what an option does unless `action` says otherwise
        self.add_argument(
            "--import",
            dest="imports",
            action="append",
            default=[],
            metavar="FILE",
            help="user code that registers more",
        )
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def parse_known_args(
        self, args: Any = None, namespace: Any = None
    ) -> Any:  # what all ways of parsing go through
        """As argparse has it, but an empty argument is an error: nearly always a variable that is not set, and as a
        path it would mean the present folder."""
        given = sys.argv[1:] if args is None else list(args)
        if "" in given:
            before = given[given.index("") - 1] if given.index("") else "the first"
            self.error(f"an argument is empty, after {before}: is a variable not set?")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Print usage and `message`, and exit with status 2; of several processes the first alone does, and the others
        end well, since torchrun kills all as soon as one fails."""
        found = re.search(r"unrecognized arguments:.*?--([\w.]+\.\w+)(?:=(\S*)| (\S+))?", message)
        if found:
            value = found[2] or found[3] or "VALUE"
            message += f"\n   configuration keys are given without dashes -> {found[1]}={value}"
        if launched_processes() > 1 and os.environ["RANK"] != "0":
            self.exit(0)
        super().error(message)


def as_given(overrides: Iterable[str], arguments: Iterable[str]) -> list[str]:
    """The overrides in the order of the command line, since of one key given twice the later counts."""
    left, ordered = list(overrides), []
    for word in arguments:
        if word in left:
            left.remove(word)
            ordered.append(word)
    return ordered + left


class _StoreOnce(argparse.Action):
    """Stores the value; a second one is an error rather than the one that silently counts."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        if option_string is not None and before is not self.default:
            raise argparse.ArgumentError(self, f"given twice, {before} and {values}; keep one")
        setattr(namespace, self.dest, values)
