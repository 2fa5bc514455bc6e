"""What to be careful about in a comparison, as sentences without capital and full stop."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from segkit.ablation.statistics.joint import find_spreads
from segkit.ablation.statistics.pairs import Matrices, Pairs

FEW_UNITS = (
    20  # below, 95 % intervals over images miss the truth in 6 to 10 % of data sets (see bootstrap.py)
)
WIDE_SPREAD = 4.0  # times as much as the others a variant must vary from seed to seed to be named for it
NEEDED_SEEDS = 3  # so many seeds must tell that


def list_cautions(
    found: Pairs, matrices: Matrices, baseline: str, scores: Mapping[str, Mapping[int, float]]
) -> tuple[str, ...]:
    """Of the runs that are compared; `scores` are those of the variants that are no copies of the baseline."""
    cautions = [
        f"{variant} (seeds {_list_numbers(sorted(matrices[variant]))}) is left out: it shares no seed with {baseline} "
        f"(seeds {_list_numbers(sorted(matrices[baseline]))})"
        for variant in found.alone
    ]
    if found.pairs and found.units < FEW_UNITS:
        cautions.append(
            f"only {found.units} independent images or groups: with fewer than {FEW_UNITS} the intervals are somewhat "
            "too narrow and the p values too small"
        )
    for pair in found.pairs:
        left_out = set(matrices[pair.variant]) ^ set(matrices[baseline])
        if left_out:
            cautions.append(
                f"{pair.variant} is compared with {baseline} over the seeds both have, {_list_numbers(pair.seeds)}; "
                f"only one of them has {_list_numbers(sorted(left_out))}"
            )
    return (*cautions, *_list_wide_spreads(scores))


def count_predicted(found: Pairs, c: int) -> int:
    """The most pixels that a run predicts as class `c`."""
    return max(int(run[:, 2, c].sum()) for runs in found.counts.values() for run in runs.values())


def _list_wide_spreads(scores: Mapping[str, Mapping[int, float]]) -> list[str]:
    cautions = []
    for variant, ratio in find_spreads(scores).items():
        row = scores[variant]
        if ratio >= WIDE_SPREAD and len(row) >= NEEDED_SEEDS:
            middle = float(np.median(list(row.values())))
            furthest = max(row, key=lambda seed: abs(row[seed] - middle))
            times = "infinitely" if math.isinf(ratio) else f"{ratio:.0f} times"
            cautions.append(
                f"{variant} varies {times} as much from seed to seed as the others, most of all with seed {furthest} "
                f"({100 * row[furthest]:.1f}, where the median of its seeds is {100 * middle:.1f}): look at that run"
            )
    return cautions


def _list_numbers(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
