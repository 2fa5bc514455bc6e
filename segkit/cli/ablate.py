"""`segkit ablate`: train variants with several seeds and compare them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from segkit.cli.parser import CommandParser, as_given
from segkit.cli.run_command import import_user_code
from segkit.system.environment import require_torch_pair
from segkit.system.typed import program


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; `seeds` and `devices` are lists, `overrides` holds every `key=value`."""
    parser = _make_parser()
    args = parser.parse_intermixed_args(arguments)
    # `--devices cpu cpu train.iterations=20`: an option with several values takes what follows it.
    for option in ("seeds", "devices"):
        values = getattr(args, option)
        args.overrides += [value for value in values if "=" in value]
        setattr(args, option, [value for value in values if "=" not in value])
    args.overrides = as_given(args.overrides, arguments)
    try:
        args.seeds = [int(value) for value in args.seeds] or None
    except ValueError as error:
        parser.error(f"--seeds: expected integers: {error}")
    if args.launcher != "slurm" and (args.submit or args.slurm or args.gpus_per_run is not None):
        parser.error("--submit, --slurm and --gpus-per-run belong to --launcher slurm")
    if args.launcher == "slurm" and not args.run and any("," in device for device in args.devices):
        parser.error("--devices: with --launcher slurm, --gpus-per-run N asks for several GPUs for each run")
    if args.gpus_per_run is not None and args.gpus_per_run < 1:
        parser.error(f"--gpus-per-run: expected a number of GPUs, 1 or more, got {args.gpus_per_run}")
    if args.list_commands:
        _refuse_with_list(parser, args)
    if args.pack is not None and (args.run or args.dry_run or args.list_commands or args.launcher == "slurm"):
        parser.error("--pack is for a command that writes the report: when all is trained, or with --report")
    return args


def _refuse_with_list(parser: CommandParser, args: argparse.Namespace) -> None:
    """What cannot go together with --list-commands."""
    others = {"--run": args.run, "--report": args.report, "--dry-run": args.dry_run}
    others["--launcher slurm"] = args.launcher == "slurm"
    given = next((option for option, value in others.items() if value), None)
    if given is not None:
        parser.error(f"--list-commands only prints commands: leave out {given}")
    if len(args.devices) > 1:
        parser.error(
            "--list-commands: every command gets the same device, or group of devices, so give one; to tell "
            "runs at the same time apart, set CUDA_VISIBLE_DEVICES for each (docs/ablation.md)"
        )


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog=program("ablate"),
        description="Train every variant of an ablation with every seed, and write a report that compares them. "
        "What is finished is kept: the same command continues after an interruption.",
        epilog="exit codes: 0 done, 2 configuration or usage, 6 in use by another process, 7 cannot write, "
        "130/143/129 stopped by Ctrl-C/SIGTERM/closed terminal after saving; else that of the runs that failed "
        "(1 if they differ)",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="for every run: train.iterations=2000"
    )
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="an ablation file, or a name in configs/"
    )
    parser.add_argument(
        "--seeds", nargs="+", default=[], metavar="SEED", help="instead of those of the file: --seeds 0 1 2"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the runs and how long they will take; writes nothing"
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        default=[],
        metavar="DEVICE",
        help="one run at a time on each: cuda:0 cuda:1; on each group, with a process per device: "
        "cuda:0,1 cuda:2,3 (or cpu,cpu)",
    )
    parser.add_argument("--run", metavar="NAME", help="train only this run, such as ohem-seed0; no report")
    parser.add_argument(
        "--list-commands",
        action="store_true",
        help="print a line of shell for each run that is not finished, for xargs, GNU parallel or a cluster; "
        "then --report",
    )
    parser.add_argument("--report", action="store_true", help="only write the report of the finished runs")
    parser.add_argument(
        "--pdf", action="store_true", help="the figures of the report as PDF too, for a paper"
    )
    parser.add_argument(
        "--pack",
        type=Path,
        metavar="FILE.zip",
        help="with the report, write the numbers of all runs as one file to publish, which compare reads",
    )
    parser.add_argument(
        "--launcher", choices=("local", "slurm"), default="local", help="slurm prints a job script"
    )
    parser.add_argument("--submit", action="store_true", help="with --launcher slurm: submit it with sbatch")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="OPTIONS", help='"--partition=gpu --time=8:00:00"'
    )
    parser.add_argument(
        "--gpus-per-run",
        type=int,
        metavar="N",
        help="with --launcher slurm: each run on N GPUs of a node, a process on each",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    if args.imports or not args.report:
        require_torch_pair()
    import_user_code(args.imports)
    if args.report:
        return _write_report(args)

    from segkit.ablation import launch  # these need torch, which a usage error need not wait for
    from segkit.ablation.plan.plan import load_plan
    from segkit.ablation.running import slurm

    plan = load_plan(args.config, args.overrides, seeds=args.seeds, imports=args.imports)
    if args.run:
        return launch.run_one(plan, args.run, devices=args.devices)
    if args.list_commands:
        return launch.list_commands(plan, devices=args.devices)
    if args.launcher == "slurm":
        return slurm.launch(
            plan,
            options=args.slurm,
            submit=args.submit and not args.dry_run,
            pdf=args.pdf,
            gpus=args.gpus_per_run,
        )
    if args.dry_run:
        return launch.show_plan(plan, devices=args.devices)
    return launch.run_all(plan, devices=args.devices, pdf=args.pdf, pack=args.pack)


def _write_report(args: argparse.Namespace) -> int:
    """Without torch, if the ablation's folder says what its variants are."""
    from segkit.ablation.collect import write_report_only
    from segkit.ablation.plan.plan import load_plan

    plan = load_plan(
        args.config, args.overrides, seeds=args.seeds, imports=args.imports, recall=not args.imports
    )
    return write_report_only(plan, pdf=args.pdf, pack=args.pack)
