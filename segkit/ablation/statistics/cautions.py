"""What to be careful about in a comparison, as sentences without capital and full stop."""

import math
from collections.abc import Sequence

import numpy as np

from segkit.ablation.statistics.metrics import Metric
from segkit.ablation.statistics.pairs import Pair, Pairs

#: Below, 95 % intervals over images miss the truth in 6 to 10 % of data sets (see bootstrap.py).
FEW_UNITS, VERY_FEW_UNITS = 20, 5
WEAK_CORRELATION = 0.15  # of neighbours, which does not matter
SURE = 3.3  # standard errors of a correlation that chance exceeds in one study of 2,000
COLLAPSED = 0.995  # the share of all predictions that one class must have


def list_cautions(
    found: Pairs,
    metric: Metric,
    *,
    units: int,
    class_names: Sequence[str],
) -> tuple[str, ...]:
    """Of the runs that are compared by a metric, of which so many units tell, `units`; `class_names` is what the
    classes are called."""
    baseline = found.baseline
    seeds = {variant: sorted(runs) for variant, runs in found.counts.items()}
    cautions = [
        f"{variant} (seeds {_list_numbers(seeds[variant])}) is left out: it shares no seed with {baseline} "
        f"(seeds {_list_numbers(seeds[baseline])})"
        for variant in found.alone
    ]
    if found.pairs and units < FEW_UNITS:
        of = f" have what {metric.title} is measured on" if units < found.units else ""
        cautions.append(
            f"only {units} independent images or groups{of}: with fewer than {FEW_UNITS} the intervals are "
            f"{'far' if units < VERY_FEW_UNITS else 'somewhat'} too narrow and the p values too small"
        )
    cautions += [
        f"all seeds of {variant} are equal in every image: they are one training, and count as one seed"
        for variant in found.frozen
    ]
    cautions += [
        f"seeds {_list_numbers(same)} of {variant} are equal in every image: they are one training, counted as "
        f"{len(same)}, so that intervals are too narrow and p values too small -> train them anew, or leave all but "
        "one out"
        for variant, same in found.twins
    ]
    cautions += [
        f"{variant} and {original} are equal in every image, with every seed: what they differ in has changed no "
        "prediction, and for what seeds do they count as one"
        for variant, original in found.copies.items()
    ]
    told = [pair for pair in found.pairs if len(pair.seeds) > 1 and not pair.identical]
    of_two = [pair.variant for pair in told if len(pair.seeds) == 2]
    if of_two and len(told) > 1:
        cautions.append(
            f"two seeds ({', '.join(of_two)}) hardly tell whether {baseline} or a variant varies more than the others; "
            "where one varies several times as much, 7 to 12 of 100 studies call a variant different that is not "
            "-> train a third seed"
        )
    for pair in found.pairs:
        left_out = set(seeds[pair.variant]) ^ set(seeds[baseline])
        if left_out:
            cautions.append(
                f"{pair.variant} is compared with {baseline} over the seeds both have, {_list_numbers(pair.seeds)}; "
                f"only one of them has {_list_numbers(sorted(left_out))}"
            )
    return (*cautions, *_list_collapsed(found, class_names), *_list_not_finite(found))


def count_predicted(found: Pairs, c: int) -> int:
    """The most pixels that a run predicts as class `c`."""
    return max(int(run[:, 2, c].sum()) for runs in found.counts.values() for run in runs.values())


def say_correlated(found: Pairs, metric: Metric, *, grouped: bool) -> str | None:
    """Whether units that follow each other pull the same way, as the frames of a video do; `grouped`: they are groups
    of images. None if they do not, or are too few to tell."""
    influences = [find_influences(found, pair, metric) for pair in found.pairs if not pair.identical]
    if found.units < FEW_UNITS or not influences:
        return None
    strongest = max(influences, key=lambda influence: autocorrelation(influence, 1))
    limit = max(WEAK_CORRELATION, SURE / math.sqrt(found.units))
    correlation = autocorrelation(strongest, 1)
    if correlation <= limit:
        return None
    lags = range(2, found.units // 4)
    length = next((lag for lag in lags if autocorrelation(strongest, lag) <= limit), None)
    what_of_it = "times as many images" if grouped else "in a row"
    advice = "" if length is None else f", or about {length} {what_of_it}"
    what = "groups" if grouped else "images"
    return (
        f"{what} that follow each other are alike (the correlation of what they do to a difference is "
        f"{correlation:.1f}), so the intervals are too narrow -> group_by: a regular expression for what belongs "
        f"together{advice}"
    )


def find_influences(found: Pairs, pair: Pair, metric: Metric) -> np.ndarray:
    """How much the difference grows (G,) by each unit: what it is with it less what it is without it."""
    tables = found.tables[metric.kind]

    def influence(table: np.ndarray) -> np.ndarray:
        whole = table.sum(axis=0)
        # Without the only unit that has a label there is no score.
        return np.nan_to_num(metric.score(whole) - metric.score(whole - table))

    each = [influence(tables[pair.variant][s]) - influence(tables[found.baseline][s]) for s in pair.seeds]
    return np.mean(each, axis=0)


def autocorrelation(values: np.ndarray, lag: int) -> float:
    """Of a series (G,) with itself, `lag` further on; 0 for one that is constant."""
    centred = values - values.mean()
    square = float((centred**2).sum())
    return float((centred[lag:] * centred[:-lag]).sum()) / square if square > 0.0 else 0.0


def _list_collapsed(found: Pairs, class_names: Sequence[str]) -> list[str]:
    """Runs that predict one class everywhere, which is not what their labels are."""
    cautions = []
    for variant, runs in found.counts.items():
        for seed, run in runs.items():
            _, labelled, predicted = run.sum(axis=0)
            c = int(predicted.argmax())
            if predicted[c] >= COLLAPSED * predicted.sum() and labelled[c] < COLLAPSED * labelled.sum():
                name = class_names[c] if class_names else f"class {c}"
                cautions.append(
                    f"{variant}, seed {seed}, predicts nearly nothing but {name}: that training has collapsed, and "
                    "its score is in the mean"
                )
    return cautions


def _list_not_finite(found: Pairs) -> list[str]:
    """Runs whose network gave no numbers somewhere, which their confusion matrices do not show: such pixels count as
    the first class. Nothing where a run has no cross-entropy."""
    return [
        f"{variant}, seed {seed}: the cross-entropy of some images is infinite, or no number, so its logits were not "
        "finite there, and what counts as predicted is the first class: that training, or its precision, has failed"
        for variant, runs in found.tables.get("ce", {}).items()
        for seed, run in runs.items()
        if not np.isfinite(run).all()
    ]


def _list_numbers(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
