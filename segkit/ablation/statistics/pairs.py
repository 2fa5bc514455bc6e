"""Pairs a variant's runs with the baseline's: same seed, same images, same labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segkit.ablation.statistics.bootstrap import sum_units
from segkit.ablation.statistics.counts import class_counts
from segkit.errors import ConfigError

Matrices = Mapping[str, Mapping[int, np.ndarray]]  # [variant][seed] -> int64 (N, C, C)


@dataclass(frozen=True, eq=False)
class Pair:
    """A variant beside the baseline: `counts` (2 S, G, 3, C) of G units, the variant's S seeds, then the baseline's.

    `identical`: every matrix of every image is equal for every seed.
    """

    variant: str
    seeds: tuple[int, ...]
    counts: np.ndarray
    identical: bool

    @property
    def units(self) -> int:
        """The number of independent units, G."""
        return self.counts.shape[1]


@dataclass(frozen=True, eq=False)
class Pairs:
    """All runs as `counts` (G, 3, C) by variant and seed, of the G units that have a valid pixel; the pair of each
    variant that shares a seed with the baseline, in their order; and the variants that share none, `alone`.

    `labelled` (C,): whether any image has the class. `trained` are the variants whose seeds say something about
    training: not those that are identical to the baseline, nor those whose seeds are all alike, `frozen`.
    """

    counts: Mapping[str, Mapping[int, np.ndarray]]
    pairs: tuple[Pair, ...]
    alone: tuple[str, ...]
    labelled: np.ndarray
    frozen: tuple[str, ...]

    @property
    def trained(self) -> set[str]:
        """The variants whose seeds say something about training."""
        copies = {pair.variant for pair in self.pairs if pair.identical}
        return set(self.counts) - copies - set(self.frozen)

    @property
    def units(self) -> int:
        """The number of independent units, G."""
        return next(len(run) for runs in self.counts.values() for run in runs.values())


def count_pairs(matrices: Matrices, baseline: str, groups: np.ndarray | None) -> Pairs:
    """The counts of all runs and the pairs with the baseline. Units without a valid pixel are left out.

    Matrices are read one run at a time, so that a mapping may load them when asked. ConfigError if runs do not
    belong together, none shares a seed with the baseline, or fewer than 2 units are left.
    """
    if baseline not in matrices:
        raise ConfigError(
            f"baseline: {baseline!r} is none of the variants {', '.join(matrices)} -> name one of them"
        )
    by_image, groups = _count_runs(matrices, baseline, groups)
    filled = _filled_units(by_image, baseline, groups)
    counts: dict[str, dict[int, np.ndarray]] = {variant: {} for variant in matrices}
    for (variant, seed), run in by_image.items():
        counts[variant][seed] = sum_units(run, groups)[filled]
    pairs, alone = [], []
    for variant in matrices:
        seeds = tuple(sorted(set(matrices[variant]) & set(matrices[baseline])))
        if variant == baseline:
            continue
        if not seeds:
            alone.append(variant)
            continue
        units = np.stack([counts[side][seed] for side in (variant, baseline) for seed in seeds])
        identical = all(np.array_equal(matrices[variant][s], matrices[baseline][s]) for s in seeds)
        pairs.append(Pair(variant, seeds, units, identical))
    if alone and not pairs:
        raise ConfigError(
            f"{_name_seeds(alone[0], matrices)} shares no seed with the baseline {_name_seeds(baseline, matrices)}"
            " -> train both with the same seeds"
        )
    first = next(iter(by_image.values()))
    frozen = tuple(variant for variant, runs in matrices.items() if len(runs) > 1 and _are_alike(runs))
    return Pairs(counts, tuple(pairs), tuple(alone), first[:, 1].sum(axis=0) > 0, frozen)


def _are_alike(runs: Mapping[int, np.ndarray]) -> bool:
    first, *others = runs.values()
    return all(np.array_equal(first, other) for other in others)


def _name_seeds(variant: str, matrices: Matrices) -> str:
    return f"{variant} (seeds: {', '.join(map(str, sorted(matrices[variant]))) or 'none'})"


def _count_runs(
    matrices: Matrices, baseline: str, groups: np.ndarray | None
) -> tuple[dict[tuple[str, int], np.ndarray], np.ndarray]:
    """Counts (N, 3, C) of every run, checked to be of the same images, and their groups numbered from 0 (N,)."""
    names = [baseline, *(name for name in matrices if name != baseline)]
    runs = [(name, seed) for name in names for seed in matrices[name]]
    if not runs:
        raise ConfigError(f"baseline: {baseline!r} has no run -> train it first")
    counts: dict[tuple[str, int], np.ndarray] = {}
    for run in runs:
        counts[run] = class_counts(matrices[run[0]][run[1]])
        _check_same_images(counts, runs[0], run)
    images = len(counts[runs[0]])
    groups = np.arange(images) if groups is None else np.asarray(groups)
    if groups.shape != (images,):
        raise ValueError(
            f"groups: expected one number for each of {images} images, got the shape {groups.shape}"
        )
    return counts, np.unique(groups, return_inverse=True)[1]


def _check_same_images(
    counts: Mapping[tuple[str, int], np.ndarray], first: tuple[str, int], run: tuple[str, int]
) -> None:
    """Differences are paired by image, which asks for the same labels in the same order."""
    expected, found = counts[first], counts[run]
    shown = f"{run[0]} (seed {run[1]}) and {first[0]} (seed {first[1]})"
    advice = "-> compare runs that were evaluated on the same images"
    if expected.shape != found.shape:
        sizes = [f"{len(sizes)} images of {sizes.shape[-1]} classes" for sizes in (found, expected)]
        raise ConfigError(f"{shown} differ: {sizes[0]} and {sizes[1]} {advice}")
    different = (expected[:, 1] != found[:, 1]).any(axis=-1)  # (N,)
    if different.any():
        index = int(different.argmax())
        raise ConfigError(f"{shown} have different labels, first in image {index} of {len(found)} {advice}")


def _filled_units(
    counts: Mapping[tuple[str, int], np.ndarray], baseline: str, groups: np.ndarray
) -> np.ndarray:
    """(units,) bool: units with a valid pixel. Drawing an empty one would change nothing but the count of units."""
    labels = next(run for (name, _), run in counts.items() if name == baseline)[:, 1:2]
    filled = sum_units(labels, groups).sum(axis=(1, 2)) > 0
    if filled.sum() < 2:
        raise ConfigError(
            f"{filled.sum()} independent image(s) or group(s) with valid pixels: an interval over images needs at "
            "least 2 -> evaluate on more images, or check group_by"
        )
    return filled
