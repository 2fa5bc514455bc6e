"""Who varies far more from seed to seed than the others do, and with which seed, in words: a line per variant."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.chance.seeds import find_apart, find_seed_effects, find_spreads, others_of
from segkit.ablation.statistics.metrics import Metric

WIDE_SPREAD = 4.0  # times as much as the others a variant must vary from seed to seed to be named for it
FAR_MORE = 1000.0  # of which no number is told any more
NEEDED_SEEDS = 3  # so many seeds must tell that, and which of them it is


@dataclass(frozen=True)
class WideSpread:
    """By one metric, whose `title` is given, a variant varies `ratio` times as much as the others. `seeds` are those of
    the runs to look at, one or, where a variant has but two, both, `found` their scores as text, and `expected` what
    one was to be expected to be. `apart`: what seeds do to it is told without the others, and theirs without it."""

    variant: str
    title: str
    ratio: float
    seeds: tuple[int, ...]
    found: tuple[str, ...]
    expected: str | None
    apart: bool


def find_wide_spreads(
    scores: Mapping[str, Mapping[int, float]], metric: Metric, *, baseline: str
) -> list[WideSpread]:
    """The variants that vary far more than the others; `scores` are by variant and seed, by the metric."""
    apart = find_apart({variant: row for variant, row in scores.items() if variant != baseline})
    found = []
    for variant, ratio in find_spreads(scores, apart).items():
        row = scores[variant]
        if variant in apart or (ratio >= WIDE_SPREAD and len(row) >= NEEDED_SEEDS):
            effects = find_seed_effects(others_of(variant, scores, apart))
            seeds, expected = _find_odd_run(row, effects, metric)
            texts = tuple(metric.unit.write(row[seed], metric.unit.digits) for seed in seeds)
            found.append(WideSpread(variant, metric.title, ratio, seeds, texts, expected, variant in apart))
    return found


def _find_odd_run(
    row: Mapping[int, float], effects: Mapping[int, float], metric: Metric
) -> tuple[tuple[int, ...], str | None]:
    """The seed of the run to look at and what it was to be expected to be: that furthest from what the other seeds of
    the variant, and what this seed does to the others, let expect. Of two seeds neither is, and both are given."""
    if len(row) < NEEDED_SEEDS:
        return tuple(sorted(row)), None
    own = {seed: score - effects.get(seed, 0.0) for seed, score in row.items()}
    middle = float(np.median(list(own.values())))
    furthest = max(own, key=lambda seed: abs(own[seed] - middle))
    return (furthest,), metric.unit.write(middle + effects.get(furthest, 0.0), metric.unit.digits)


def say_spreads(spreads: Iterable[WideSpread], *, baseline: str) -> list[str]:
    """A sentence per variant, without capital and full stop, for its spreads by all metrics."""
    by_variant: dict[str, list[WideSpread]] = {}
    for spread in spreads:
        by_variant.setdefault(spread.variant, []).append(spread)
    sentences = []
    for variant, found in by_variant.items():
        parts = ", ".join(_say_spread(spread, first=place == 0) for place, spread in enumerate(found))
        look = (
            "that run"
            if len({spread.seeds for spread in found}) == len(found[0].seeds) == 1
            else "these runs"
        )
        sentences.append(
            f"{variant} varies more from seed to seed than the others, {parts}: look at {look}"
            f"{_say_meaning(found, is_baseline=variant == baseline)}"
        )
    return sentences


def _say_spread(spread: WideSpread, *, first: bool) -> str:
    """`first`: of the metrics of a sentence, of which it says what the numbers are."""
    if spread.ratio >= FAR_MORE:
        times = "far more"
    else:
        number = f"{spread.ratio:.1f}" if spread.ratio < 2.0 else f"{spread.ratio:.0f}"
        times = f"{number} times{' as much' if first else ''}"
    runs = f"{' and '.join(spread.found)} with {'seed' if len(spread.seeds) == 1 else 'seeds'} "
    runs += " and ".join(map(str, spread.seeds))
    if spread.expected is not None:
        whence = " was to be expected from its other seeds and from the others" if first else ""
        runs += f", {'where' if first else 'not'} {spread.expected}{whence}"
    return f"by {spread.title} {times} ({runs})"


def _say_meaning(found: Sequence[WideSpread], *, is_baseline: bool) -> str:
    """What it does to the intervals if the baseline varies more, or a variant so much that it is not asked about the
    others (chance/seeds.py)."""
    if is_baseline:
        return "; every difference is to it, and as uncertain"
    apart = [spread.title for spread in found if spread.apart]
    if not apart:
        return ""
    by = "" if len(apart) == len(found) else f"by {', '.join(apart)} "
    return f"; {by}what seeds do to it is told by its own seeds alone, and of the others without it"
