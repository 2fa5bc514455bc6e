"""`bash scripts/gpu/run.sh`: parts by name or group, the environment they run in, and the table."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from scripts.gpu.clock import Clock
from scripts.gpu.commands import Place
from scripts.gpu.parts import GROUPS, INSTALL, PARTS, choose_parts, seconds_of
from scripts.gpu.prepare import COMMIT, FOLDER, read_commit
from scripts.gpu.table import WAITING, Table

ROOT = Path(__file__).resolve().parents[2]
#: For every part: what is printed is in the log at once, no window is opened, no process takes all cores, and pytest
#: loads no plugin of the machine's own, whose warnings would be errors here.
VARIABLES = {
    "PYTHONUNBUFFERED": "1",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
PATIENCE = 60.0  # seconds for torch to say which GPUs there are


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    groups = "; ".join(f"{group} (at most {seconds:.0f} s)" for group, seconds in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="bash scripts/gpu/run.sh",
        description="What only a GPU can decide: correctness first, numbers second. See docs/gpu.md.",
        epilog="exit codes: 0 all held or was skipped with a reason, 1 something did not, 2 usage or no GPU",
    )
    parts = ", ".join(part.name for part in PARTS if part.group)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"groups: {groups}; parts: {parts} (all)")
    parser.add_argument(
        "--output", type=Path, help="where table.md and results.tar.gz go ($OUT or runs/gpu/TIME)"
    )
    parser.add_argument("--work", type=Path, help="where logs and runs go (OUTPUT/work)")
    parser.add_argument("--seconds", type=float, help="for all together, instead of what the groups have")
    parser.add_argument(
        "--jobs", type=int, help="parts side by side where nothing is timed (a core in 4, 1 to 8)"
    )
    parser.add_argument(
        "--dry", action="store_true", default=bool(os.environ.get("DRY")), help="in small, on a CPU (DRY=1)"
    )
    args = parser.parse_args(arguments)
    try:
        args.chosen = choose_parts(args.parts)
    except ValueError as error:
        parser.error(str(error))
    if args.jobs is not None and not 1 <= args.jobs <= 8:
        parser.error(f"--jobs {args.jobs}: 1 to 8")
    args.output = args.output or Path(os.environ.get("OUT") or time.strftime("runs/gpu/%Y%m%d-%H%M%S"))
    if (args.output / "table.md").exists():
        parser.error(f"{args.output} has a table already, which would be replaced -> --output FOLDER")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    began = time.monotonic()
    seconds = seconds_of(args.chosen) if args.seconds is None else args.seconds
    output = args.output.resolve()
    work = (args.work or output / "work").resolve()
    work.mkdir(parents=True, exist_ok=True)
    here = Place(work, Path(sys.executable), ROOT / FOLDER, dry=args.dry)
    head = {"command": " ".join(["bash scripts/gpu/run.sh", *arguments]), "commit": find_commit()}
    head["begun"] = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    table = Table(output, work, args.chosen, head, rehearsal=args.dry)
    table.write()
    signal.signal(signal.SIGTERM, end_by_signal)
    try:
        install(table, here)
        if table.rows[INSTALL].fine:
            place = look_at_machine(table, here)
            jobs = args.jobs or max(1, min(8, len(os.sched_getaffinity(0)) // 4))
            left = seconds - (time.monotonic() - began)
            clock = Clock(table, place, seconds=left, jobs=jobs, variables=VARIABLES, root=ROOT)
            clock.run(args.chosen[1:])
    finally:
        for row in table.rows.values():
            if row.result == WAITING and not row.found:
                row.found = "the call ended before"
        table.write()
        table.sweep()
        print(table.text(), flush=True)
    return 0 if table.fine else 1


def install(table: Table, place: Place) -> None:
    """The first part: what all others run in. It has its own time, whatever else is asked for."""
    part = table.rows[INSTALL].part
    Clock(table, place, seconds=part.limit, jobs=1, variables=VARIABLES, root=ROOT).run([part])


def look_at_machine(table: Table, place: Place) -> Place:
    """The place with its GPUs; what was found of the machine goes above the table. Ends with status 2 where a GPU is
    wanted and there is none."""
    command = [place.python, "-m", "scripts.gpu.tasks.machine"]
    variables = {**os.environ, **VARIABLES}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        refuse(f"torch has not said in {PATIENCE:.0f} s which GPUs there are: does nvidia-smi answer?")
    if done.returncode:
        refuse(f"torch cannot be imported:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    table.head = {**found["head"], **table.head}
    table.write()
    if not found["gpus"] and not place.dry:
        refuse("torch finds no GPU here -> DRY=1 for a rehearsal on a CPU")
    return replace(place, gpus=found["gpus"])


def refuse(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    raise SystemExit(2)


def end_by_signal(number: int, frame: object) -> NoReturn:
    """As an exception, so that what runs is ended and the table says so."""
    raise SystemExit(128 + number)


def find_commit() -> str:
    """The commit of this checkout and whether files differ from it: git's word, or what prepare.py noted."""
    noted = ROOT / FOLDER / COMMIT
    return read_commit(ROOT) or (noted.read_text().strip() if noted.is_file() else "unknown")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
