"""`segkit train`: train a segmentation model."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from segkit.cli.parser import CommandParser
from segkit.cli.run_command import import_user_code, refuse_launcher
from segkit.config.json_schema import json_schema
from segkit.config.listing import list_components
from segkit.config.load import load_config
from segkit.config.schema import Config
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program, typed


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog=program("train"),
        description="Train a segmentation model as a configuration says.",
        epilog="exit codes: 0 done, 2 configuration or usage, 3 data, 4 no usable checkpoint, 5 not finite, "
        "6 run folder in use, 7 cannot write, 9 another process of it was lost, "
        "130/143/129 stopped by Ctrl-C/SIGTERM/closed terminal after saving",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="e.g. loss.thresh=0.6 train.batch_size=8"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="a file, a name in configs/, a run folder or a packed run"
    )
    parser.add_argument("--check", action="store_true", help="build everything, try one batch, write nothing")
    parser.add_argument(
        "--overfit", type=int, metavar="N", help="train and validate on N images, unaugmented"
    )
    parser.add_argument(
        "--resume", metavar="auto|PATH", help="continue from the newest intact checkpoint; auto: or start"
    )
    parser.add_argument(
        "--allow-change", action="append", default=[], metavar="KEY", help="resume although KEY has changed"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="show every value and where it comes from"
    )
    parser.add_argument("--list", metavar="KIND", help="show what can be named in a configuration")
    parser.add_argument(
        "--json-schema", action="store_true", help="a JSON schema of the configuration, for editors"
    )
    args = parser.parse_intermixed_args(arguments)
    if not (args.config or args.resume or args.list or args.json_schema):
        parser.error(f"--config is needed, for example: {typed('train')} --config ohem.yaml")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    if args.imports:
        require_torch_pair()
    import_user_code(args.imports)
    if args.list or args.json_schema or args.check or args.print_config:
        refuse_launcher("an option that only shows or checks")
    if args.list:
        print(list_components(args.list))
        return 0
    if args.json_schema:
        require_torch_pair()
        print(json.dumps(json_schema(), indent=2))
        return 0
    if not (args.print_config and args.config):
        require_torch_pair()
    if args.print_config:
        print(read_config(args).describe_origins())
        return 0

    from segkit.distributed.ranks import (
        joined_ranks,  # these need torch, which a usage error need not wait for
    )

    with joined_ranks() as ranks:
        return train(args, ranks)


def train(args: argparse.Namespace, ranks: Any) -> int:
    """Train, or show or check what would be; returns the exit status. `ranks`: segkit.distributed.ranks.Ranks."""
    options = {"resume": args.resume, "allow_change": args.allow_change}
    if not ranks.main:
        from segkit.runs.run import train_run

        return train_run(None, source="", overfit=args.overfit, **options, ranks=ranks).exit_code
    config = read_config(args)
    source = " + ".join([args.config or args.resume, *args.overrides])
    if args.check:
        from segkit.runs.preflight import check  # without what records a run

        return check(config, source=source, overfit=args.overfit, **options)
    from segkit.runs.run import train_run

    return train_run(config, source=source, overfit=args.overfit, **options, ranks=ranks).exit_code


def read_config(args: argparse.Namespace) -> Config:
    """The configuration that `--config` or, without it, `--resume` names. Raises ConfigError."""
    if args.config:
        return load_config(args.config, args.overrides)
    from segkit.runs.resume import resumed_config  # needs torch

    return resumed_config(args.resume, args.overrides)
