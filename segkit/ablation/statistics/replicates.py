"""The differences that other images of the same kind would have given, all variants and metrics in one pass."""

from collections.abc import Mapping

import numpy as np

from segkit.ablation.statistics.chance.bootstrap import draw_chunks, resample
from segkit.ablation.statistics.metrics import Metric
from segkit.ablation.statistics.pairs import Pair, Pairs

#: Scores (B, ...) of a chunk of replicates by variant, seed and the name of the metric.
Scores = Mapping[tuple[str, int, str], np.ndarray]


def resample_differences(
    found: Pairs, wanted: Mapping[Metric, int], *, seed: int
) -> dict[tuple[str, str], np.ndarray]:
    """So many replicates (R, ...) as are `wanted` of the difference by each metric, the mean over the shared seeds, by
    variant and the name of the metric; not of the variants that are identical to the baseline.

    Every difference is of the same draws, the first R of them. Runs are read one at a time, so that no more than one is
    held as float64.
    """
    pairs = [pair for pair in found.pairs if not pair.identical]
    runs = {(side, s): None for pair in pairs for side in (pair.variant, found.baseline) for s in pair.seeds}
    parts: dict[tuple[str, str], list[np.ndarray]] = {
        (pair.variant, metric.name): [] for pair in pairs for metric in wanted
    }
    if not parts:
        return {}
    width = max(_one(found, metric)[0].size for metric in wanted)
    done = 0
    for times in draw_chunks(found.units, replicates=max(wanted.values()), seed=seed, width=width):
        left = {metric: count - done for metric, count in wanted.items() if count > done}
        scores = _score(found, list(runs), left, times)
        for pair in pairs:
            for metric in left:
                parts[pair.variant, metric.name].append(_difference(scores, pair, found.baseline, metric))
        done += len(times)
    return {key: np.concatenate(chunks) for key, chunks in parts.items()}


def _one(found: Pairs, metric: Metric) -> np.ndarray:
    return next(iter(found.tables[metric.kind][found.baseline].values()))


def _score(
    found: Pairs, runs: list[tuple[str, int]], left: Mapping[Metric, int], times: np.ndarray
) -> Scores:
    scores: dict[tuple[str, int, str], np.ndarray] = {}
    labels = resample(times, next(iter(found.counts[found.baseline].values()))[:, 1:2])
    for variant, s in runs:
        for kind in dict.fromkeys(metric.kind for metric in left):
            table = found.tables[kind][variant][s]
            sums = _resample_counts(times, table, labels) if kind == "counts" else resample(times, table)
            for metric, count in left.items():
                if metric.kind == kind:
                    scores[variant, s, metric.name] = metric.score(sums[:count])
    return scores


def _resample_counts(times: np.ndarray, table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`resample` of TP, labels and predictions (G, 3, C), when the sums (B, 1, C) of the labels are known: all runs of
    a study have the same."""
    own = resample(times, table[:, ::2])
    return np.concatenate([own[:, :1], labels, own[:, 1:]], axis=1)


def _difference(scores: Scores, pair: Pair, baseline: str, metric: Metric) -> np.ndarray:
    """Averaged over the seeds."""
    differences = [
        scores[pair.variant, s, metric.name] - scores[baseline, s, metric.name] for s in pair.seeds
    ]
    return np.stack(differences).mean(axis=0)
