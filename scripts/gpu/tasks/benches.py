"""Benchmarks of scripts/bench/ by name, and in a few words what they found.

python -m scripts.gpu.tasks.benches NAME BENCH ... -- OPTIONS OF THE BENCHMARKS, with --output FOLDER
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.bench.bars import SHORT
from scripts.bench.command import bench, parse
from segkit.cli.run_command import run_command

#: The backends of one loss that are set beside each other, where both were measured.
PAIRS = (("triton", "direct"), ("direct", "reference"))
#: What is told of the other benches: entries whose names begin so.
OURS = ("segkit", "light_fpn")


def main(arguments: Sequence[str]) -> int:
    end = list(arguments).index("--")
    (name, *names), options = arguments[:end], arguments[end + 1 :]
    output = Path(parse(name, "", options).output)
    status = bench(name, names, "", options)
    found = json.loads((output / f"{name}.json").read_text(encoding="utf-8"))
    for text in describe(found):
        print(f"found: {text}")
    missing = [
        row["entry"] for row in found["rows"] if row["note"].startswith("not available") and row["on_gpu"]
    ]
    wanted = [entry for entry in missing if entry.endswith(", triton")]
    if wanted:
        print(f"found: not measured: {', '.join(wanted)}")
    return status or bool(wanted)


def describe(found: dict[str, Any]) -> Iterator[str]:
    """Bars that are missed, one backend beside another, and our times beside the baselines."""
    for bar in found["bars"]:
        if bar["verdict"] == SHORT:
            yield f"short of bar {bar['bar']}: {bar['worst']['ratio']:.2f} of at most {bar['limit']:g}"
    rows = [row for row in found["rows"] if row["ratio"] is not None]
    yield from beside_each_other(rows)
    for row in rows:
        ours = row["entry"].startswith(OURS) and row["entry"] != row["baseline"]
        if ours and row["quantity"] == "time":
            yield f"{row['case']}: {row['entry']} {row['ratio']:.2f} of {row['baseline']}"


def beside_each_other(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """`CASE: ohem_ce, triton beside direct: time 0.41, memory 0.22`, by what each took itself."""
    values = {
        (row["case"], row["entry"], row["quantity"]): row["value"] for row in rows if row["value"] is not None
    }
    for one, other in PAIRS:
        for case, entry in dict.fromkeys(key[:2] for key in values):
            loss, _, backend = entry.rpartition(", ")
            ratios = [
                f"{quantity} {values[case, entry, quantity] / values[case, f'{loss}, {other}', quantity]:.2f}"
                for quantity in ("time", "memory")
                if backend == one
                and {(case, entry, quantity), (case, f"{loss}, {other}", quantity)} <= values.keys()
            ]
            if ratios:
                yield f"{case}: {loss}, {one} beside {other}: {', '.join(ratios)}"


if __name__ == "__main__":
    sys.exit(run_command(main))
