"""What a measurement says: ratios to a baseline, with their range over processes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One thing measured beside a baseline.

    `quantity` is `time` or `memory`; `ratio` the median over processes of what `entry` took, divided by what `baseline`
    took in the same process, `low` and `high` its range; `value` the median of the entry itself, in ms or bytes. Where
    nothing could be measured they are None and `note` says why. An `error` is a share of what is allowed, a `check`
    0 or 1.
    """

    bench: str
    case: str
    allocator: str
    entry: str
    baseline: str
    quantity: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    value: float | None = None
    note: str = ""
    on_gpu: bool = False


def rows_of(
    found: Sequence[Mapping[str, Any]],
    *,
    bench: str,
    case: str,
    baselines: Sequence[str],
    allocator: str = "default",
    on_gpu: bool = False,
) -> list[Row]:
    """The rows of one case, from what each process found.

    A process gives `seconds` and `bytes`, both {entry: number} and either maybe absent, and `missing`, {entry: why it
    could not be measured}.
    """
    rows = []
    for key, quantity, unit in (("seconds", "time", 1000.0), ("bytes", "memory", 1.0)):
        measured = [each[key] for each in found if each.get(key)]
        for baseline in baselines:
            for entry in measured[0] if measured and baseline in measured[0] else ():
                ratios = [each[entry] / each[baseline] for each in measured]
                value = unit * statistics.median(each[entry] for each in measured)
                span = (statistics.median(ratios), min(ratios), max(ratios))
                rows.append(
                    Row(bench, case, allocator, entry, baseline, quantity, *span, value, on_gpu=on_gpu)
                )
    missing = found[0].get("missing", {}) if found else {}
    unmeasured = [
        Row(bench, case, allocator, entry, baselines[0], "time", note=f"not available: {reason}")
        for entry, reason in missing.items()
    ]
    return rows + unmeasured
