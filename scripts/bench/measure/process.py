"""A measurement in a fresh process: its threads, its allocator, nothing left over from another measurement.

python -m scripts.bench.measure.process scripts.bench.losses.beside_plain:measure '{"case": ...}'
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.errors import SegkitError

ROOT = Path(__file__).resolve().parents[3]

#: How glibc hands out memory. By default large blocks are given back to the system and cleared for the next use, which
#: takes half of the time of a plain cross-entropy; `retained` keeps them.
ALLOCATORS = {
    "default": {},
    "retained": {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"},
}


class MeasurementFailed(SegkitError):
    """A process that measures ended with an error."""


def measure_afresh(
    task: str, arguments: Mapping[str, Any], *, threads: int, allocator: str = "default"
) -> dict[str, Any]:
    """What the function `task` (`module:name`) returns for `arguments`, both in plain types, from a new process.

    Raises MeasurementFailed with the last lines that the process wrote.
    """
    count = str(threads)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    variables = {**kept, **ALLOCATORS[allocator], "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    command = [sys.executable, "-m", "scripts.bench.measure.process", task, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise MeasurementFailed(f"{task} ended with status {done.returncode}:\n{reason}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(task: str, arguments: str) -> None:
    """Run one task and print what it returns as the last line."""
    print(json.dumps(call_task(task, json.loads(arguments))))


def call_task(task: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What `task` (`module:name`) returns for keyword `arguments`, in this process."""
    module, _, name = task.partition(":")
    return getattr(importlib.import_module(module), name)(**arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
