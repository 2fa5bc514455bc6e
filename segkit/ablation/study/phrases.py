"""Runs, seeds and settings as parts of a sentence."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from segkit.ablation.study.study import Run

#: Runs that a sentence names before it goes on with a number.
NAMED = 4
#: What a line on a missing run says before an error of its own, and before who has it.
FAILED, IN_USE = "failed", "in use"


def group_runs(runs: Iterable[Run], value_of: Callable[[Run], Hashable]) -> dict[Any, list[Run]]:
    """The runs by a value, in order of appearance."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault(value_of(run), []).append(run)
    return groups


def name_runs(runs: Sequence[Run]) -> str:
    """`ohem (seed 0, 1), ce (seed 0) and 2 more`, the seeds of a variant together."""
    by_variant = group_runs(runs, lambda run: run.variant)
    named = [f"{variant} ({name_seeds(run.seed for run in found)})" for variant, found in by_variant.items()]
    more = len(named) - NAMED
    return join([*named[:NAMED], f"{more} more"] if more > 0 else named)


def say_groups(groups: Mapping[Any, Sequence[Run]]) -> str:
    """`bf16 in ohem (seed 0, 1); off in ce (seed 0)`, of runs by a value."""
    return "; ".join(f"{value} in {name_runs(runs)}" for value, runs in groups.items())


def name_seeds(seeds: Iterable[int]) -> str:
    """`seed 0, 1, 2`."""
    return f"seed {', '.join(str(seed) for seed in sorted(seeds))}"


def join(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(count: int, singular: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {singular}{'' if count == 1 else 's'}"
