"""Train variants with several seeds and compare them: python scripts/ablate.py --config ablation.yaml"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout without installing

from segkit.ablation.arguments import parse
from segkit.cli import import_user_code, run_command
from segkit.system.environment import require_torch_pair


def main(arguments: Sequence[str]) -> int:
    args: argparse.Namespace = parse(arguments)
    require_torch_pair()
    import_user_code(args.imports)

    from segkit.ablation import launch, slurm  # these need torch, which a usage error need not wait for
    from segkit.ablation.plan import load_plan

    plan = load_plan(args.config, args.overrides, seeds=args.seeds)
    if args.report:
        return launch.write_report_only(plan)
    if args.run:
        return launch.run_one(plan, args.run, devices=args.devices, imports=args.imports)
    if args.launcher == "slurm":
        return slurm.launch(
            plan, options=args.slurm, imports=args.imports, submit=args.submit and not args.dry_run
        )
    if args.dry_run:
        return launch.show_plan(plan, devices=args.devices)
    return launch.run_all(plan, devices=args.devices, imports=args.imports)


if __name__ == "__main__":
    sys.exit(run_command(main))
