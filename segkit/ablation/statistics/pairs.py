"""Pairs a variant's runs with the baseline's: same seed, same images, same labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.chance.bootstrap import sum_units
from segkit.ablation.statistics.run_counts import KINDS, Kind, RunCounts, count_matrices
from segkit.errors import ConfigError

#: [variant][seed]: the counts of a run, or its int64 confusion matrices (N, C, C).
Runs = Mapping[str, Mapping[int, RunCounts | np.ndarray]]
#: [variant][seed]: sums (G, R, K) of the units.
Tables = Mapping[str, Mapping[int, np.ndarray]]


@dataclass(frozen=True)
class Pair:
    """A variant beside the baseline, over the seeds both have. `identical`: what was counted of every image is equal,
    with every seed."""

    variant: str
    seeds: tuple[int, ...]
    identical: bool


@dataclass(frozen=True, eq=False)
class Pairs:
    """All runs as `tables` of the G units that have a valid pixel, by kind; the pair of each variant that shares a seed
    with the baseline, in their order; and the variants that share none, `alone`.

    A kind that not all runs have has no table; `lacking` names those that have none, as (variant, seed). `tolerance` is
    that of the borders. `labelled` (C,): whether any image has the class. `trained` are the variants whose seeds say
    something about training: not those that are identical to the baseline, nor those whose seeds are all alike,
    `frozen`. `twins` are the seeds of a variant that are alike where others of it are not.
    """

    baseline: str
    tables: Mapping[Kind, Tables]
    pairs: tuple[Pair, ...]
    alone: tuple[str, ...]
    labelled: np.ndarray
    frozen: tuple[str, ...]
    lacking: Mapping[Kind, tuple[tuple[str, int], ...]]
    twins: tuple[tuple[str, tuple[int, ...]], ...]
    copies: Mapping[str, str]

    @property
    def counts(self) -> Tables:
        """TP, labels and predictions of every run."""
        return self.tables["counts"]

    @property
    def trained(self) -> set[str]:
        """The variants whose seeds say something about training."""
        no_other = {pair.variant for pair in self.pairs if pair.identical}
        return set(self.counts) - no_other - set(self.frozen) - set(self.copies)

    def original(self, variant: str) -> str:
        """The variant itself, or the one that it is a copy of."""
        return self.copies.get(variant, variant)

    @property
    def units(self) -> int:
        """The number of independent units, G."""
        return next(len(run) for runs in self.counts.values() for run in runs.values())


def count_pairs(runs: Runs, baseline: str, groups: np.ndarray | None) -> Pairs:
    """The sums of all runs and the pairs with the baseline. Units without a valid pixel are left out.

    ConfigError if runs do not belong together, none shares a seed with the baseline, or fewer than 2 units are left.
    """
    if baseline not in runs:
        raise ConfigError(
            f"baseline: {baseline!r} is none of the variants {', '.join(runs)} -> name one of them"
        )
    by_image = {
        variant: {seed: _as_counts(run) for seed, run in row.items()} for variant, row in runs.items()
    }
    groups, filled = _find_units(by_image, baseline, groups)
    tables: dict[Kind, Tables] = {}
    lacking: dict[Kind, tuple[tuple[str, int], ...]] = {}
    for kind in KINDS:
        without = _list_lacking(by_image, kind)
        if without:
            lacking[kind] = without
        else:
            tables[kind] = _sum_tables(by_image, kind, groups, filled)
    pairs, alone = [], []
    for variant, row in by_image.items():
        if variant == baseline:
            continue
        seeds = tuple(sorted(set(row) & set(by_image[baseline])))
        if not seeds:
            alone.append(variant)
            continue
        identical = all(row[s].is_alike(by_image[baseline][s]) for s in seeds)
        pairs.append(Pair(variant, seeds, identical))
    if alone and not pairs:
        raise ConfigError(
            f"{_name_seeds(alone[0], runs)} shares no seed with the baseline {_name_seeds(baseline, runs)}"
            " -> train both with the same seeds"
        )
    labelled = next(iter(by_image[baseline].values())).counts[:, 1].sum(axis=0) > 0
    frozen = tuple(variant for variant, row in by_image.items() if len(row) > 1 and _are_alike(row))
    twins = tuple(
        (variant, seeds)
        for variant, row in by_image.items()
        if variant not in frozen
        for seeds in _list_alike(row)
        if len(seeds) > 1
    )
    others = [pair.variant for pair in pairs if not pair.identical and pair.variant not in frozen]
    copies = _find_copies({variant: by_image[variant] for variant in others})
    return Pairs(baseline, tables, tuple(pairs), tuple(alone), labelled, frozen, lacking, twins, copies)


def _as_counts(run: RunCounts | np.ndarray) -> RunCounts:
    return run if isinstance(run, RunCounts) else count_matrices(run)


def _are_alike(row: Mapping[int, RunCounts]) -> bool:
    return len(_list_alike(row)) == 1


def _list_alike(row: Mapping[int, RunCounts]) -> list[tuple[int, ...]]:
    """The seeds sorted by what was counted with them."""
    groups: list[list[int]] = []
    for seed, run in sorted(row.items()):
        same = next((group for group in groups if row[group[0]].is_alike(run)), None)
        if same is None:
            groups.append([seed])
        else:
            same.append(seed)
    return [tuple(group) for group in groups]


def _find_copies(runs: Mapping[str, Mapping[int, RunCounts]]) -> dict[str, str]:
    """By variant the first with the same seeds that counted the same with each, where that is another."""
    copies: dict[str, str] = {}
    for variant, row in runs.items():
        for other, before in runs.items():
            if other == variant:
                break
            if row.keys() == before.keys() and all(row[seed].is_alike(before[seed]) for seed in row):
                copies[variant] = other
                break
    return copies


def _name_seeds(variant: str, runs: Runs) -> str:
    return f"{variant} (seeds: {', '.join(map(str, sorted(runs[variant]))) or 'none'})"


def _each(runs: Mapping[str, Mapping[int, RunCounts]]) -> Iterator[tuple[tuple[str, int], RunCounts]]:
    for variant, row in runs.items():
        for seed, run in row.items():
            yield (variant, seed), run


def _list_lacking(runs: Mapping[str, Mapping[int, RunCounts]], kind: Kind) -> tuple[tuple[str, int], ...]:
    """The runs without sums of this kind, or with some that were counted otherwise than the first that has some."""
    counted = {name: run.setting(kind) for name, run in _each(runs) if run.has(kind)}
    first = next(iter(counted.values()), None)
    return tuple(name for name, _ in _each(runs) if name not in counted or counted[name] != first)


def _sum_tables(
    runs: Mapping[str, Mapping[int, RunCounts]], kind: Kind, groups: np.ndarray | None, filled: np.ndarray
) -> Tables:
    def units_of(run: RunCounts) -> np.ndarray:
        table = run.table(kind)
        assert table is not None  # else its kind is lacking
        summed = table if groups is None else sum_units(table, groups)
        return summed if filled.all() else summed[filled]

    return {variant: {seed: units_of(run) for seed, run in row.items()} for variant, row in runs.items()}


def _find_units(
    runs: Mapping[str, Mapping[int, RunCounts]], baseline: str, groups: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """The groups numbered from 0 (N,), None if every image is one; and which units (units,) have a valid pixel, because
    drawing an empty one would change nothing but the count of units. Checks that all runs are of the same images."""
    names = [baseline, *(name for name in runs if name != baseline)]
    each = [((name, seed), runs[name][seed]) for name in names for seed in runs[name]]
    if not each:
        raise ConfigError(f"baseline: {baseline!r} has no run -> train it first")
    first_name, first = each[0]
    for name, run in each[1:]:
        _check_same_images(first_name, first, name, run)
    images = len(first.counts)
    labels = first.counts[:, 1:2]  # (N, 1, C)
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (images,):
            raise ValueError(
                f"groups: expected one number for each of {images} images, got the shape {groups.shape}"
            )
        groups = np.unique(groups, return_inverse=True)[1]
        labels = sum_units(labels, groups)
    filled = np.any(labels, axis=(1, 2))
    if filled.sum() < 2:
        raise ConfigError(
            f"{filled.sum()} independent image(s) or group(s) with valid pixels: an interval over images needs at "
            "least 2 -> evaluate on more images, or check group_by"
        )
    return groups, filled


def _check_same_images(
    first: tuple[str, int], expected: RunCounts, name: tuple[str, int], found: RunCounts
) -> None:
    """Differences are paired by image, which asks for the same labels in the same order."""
    shown = f"{name[0]} (seed {name[1]}) and {first[0]} (seed {first[1]})"
    advice = "-> compare runs that were evaluated on the same images"
    if expected.counts.shape != found.counts.shape:
        sizes = [f"{len(one.counts)} images of {one.counts.shape[-1]} classes" for one in (found, expected)]
        raise ConfigError(f"{shown} differ: {sizes[0]} and {sizes[1]} {advice}")
    different = (expected.counts[:, 1] != found.counts[:, 1]).any(axis=-1)  # (N,)
    if different.any():
        index = int(different.argmax())
        raise ConfigError(
            f"{shown} have different labels, first in image {index} of {len(found.counts)} {advice}"
        )
