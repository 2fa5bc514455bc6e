"""The command line that every benchmark shares."""

import argparse
from collections.abc import Sequence

from scripts.bench.measure.settings import add_options
from segkit.cli.parser import CommandParser
from segkit.system.environment import require_torch_pair


def parse(name: str, description: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of Settings and where to write."""
    parser = CommandParser(description=description, epilog="exit codes: 0 measured, 1 a measurement failed")
    add_options(parser)
    parser.add_argument("--output", metavar="FOLDER", help=f"also write {name}.json and {name}.md there")
    return parser.parse_args(arguments)


def bench(name: str, benches: Sequence[str], description: str, arguments: Sequence[str]) -> int:
    """Parse, measure, print and write."""
    args = parse(name, description, arguments)
    require_torch_pair()

    from scripts.bench.suite import run_benches  # needs torch

    return run_benches(name, benches, args)
