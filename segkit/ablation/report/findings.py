"""Everything that a report says about a study, computed once: every table, figure and sentence reads it here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from segkit.ablation.statistics.classes import ClassDifferences
from segkit.ablation.statistics.difference import Difference, Score, score
from segkit.ablation.statistics.groups import group_images
from segkit.ablation.statistics.metrics import ACCURACY, CE, MIOU, Metric, find_metric, iou
from segkit.ablation.statistics.statistics import Comparison, compare_metrics, list_warnings
from segkit.ablation.study.checks.comparable import check_comparable, refuse_incomparable
from segkit.ablation.study.claims import check_margin_of
from segkit.ablation.study.config_diff import ConfigDiff, diff_configs
from segkit.ablation.study.lacking import find_lacking
from segkit.ablation.study.study import Comparability, Run, Study
from segkit.errors import ConfigError

REPLICATES = 10_000
CLASS_REPLICATES = 2_000


@dataclass(frozen=True)
class VariantScores:
    """The scores of one variant over its seeds, `main` by the main metric. Shares in [0, 1]; None where no run has a
    value.

    `class_iou` (C,) is the mean over the seeds in which the class is defined, NaN if there is none. `ce` is
    plain cross-entropy on the validation images, `best` the best mIoU of any evaluation during training (None if
    runs were not evaluated equally often, have a class in their mean that is left out here, or were scored at another
    size), `minutes` the training time of a run without validation.
    """

    variant: str
    seeds: tuple[int, ...]
    main: Score | None
    miou: Score | None
    accuracy: Score | None
    class_iou: np.ndarray
    ce: Score | None
    best: Score | None
    speed: Score | None
    memory: Score | None
    minutes: Score | None

    @property
    def worst_class(self) -> int | None:
        """The index of the class with the lowest IoU; None if no class is defined."""
        return None if np.isnan(self.class_iou).all() else int(np.nanargmin(self.class_iou))


@dataclass(frozen=True)
class Findings:
    """A study with its statistics: `comparison` by the main metric, `others` by further ones; `unmeasured` says
    which of them could not be measured. `scores` are of the variants that have a run, in the order of the study."""

    study: Study
    scores: tuple[VariantScores, ...]
    comparison: Comparison
    others: tuple[Comparison, ...]
    unmeasured: tuple[str, ...]
    classes: Mapping[str, ClassDifferences]
    diff: ConfigDiff
    checks: tuple[Comparability, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that have a run."""
        return tuple(one.variant for one in self.scores)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, the same in all runs."""
        return self.study.runs[0].class_names

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """The difference to the baseline, by variant."""
        return {found.variant: found for found in self.comparison.differences}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to be careful about, as sentences without capital and full stop."""
        return (
            *list_warnings([self.comparison, *self.others]),
            *self.unmeasured,
            *self._say_unlabelled(),
        )

    def _say_unlabelled(self) -> list[str]:
        sentences = []
        for c, predicted in self.comparison.unlabelled.items():
            more = f", though up to {predicted:,} pixels of a run are predicted as it" if predicted else ""
            sentences.append(
                f"no image has a pixel of {self.class_names[c]}, so this class has no IoU and is left out of every "
                f"mean here{more}"
            )
        return sentences

    @property
    def best_variants(self) -> set[str]:
        """The variants with the best mean by the main metric."""
        means = {one.variant: one.main.mean for one in self.scores if one.main is not None}
        best = min if self.comparison.metric.less_is_better else max
        return {variant for variant, mean in means.items() if mean == best(means.values())}

    @property
    def seeds_per_variant(self) -> tuple[int, ...]:
        """The numbers of seeds that occur, ascending."""
        return tuple(sorted({len(one.seeds) for one in self.scores}))


def find_all(study: Study) -> Findings:
    """Score and compare the runs of a study.

    Raises DataError where no number computed from them would mean anything, and ConfigError for a `group_by` that does
    not fit the images.
    """
    checks = check_comparable(study)
    refuse_incomparable(checks)
    names = study.runs[0].class_names
    metrics, unmeasured = [], []
    for place, name in enumerate(study.metrics):
        try:
            metrics.append(_find_metric(study, name))
        except ConfigError as error:  # a report on the others is worth more than none
            if place == 0:
                raise
            unmeasured.append(str(error))
    main = metrics[0]
    reason = None if study.margin is None else check_margin_of(main.name)
    if reason is not None:
        raise ConfigError(f"margin: {reason}")
    runs = {
        variant: {run.seed: run.counts for run in study.of(variant)}
        for variant in study.variants
        if study.of(variant)
    }
    compared = compare_metrics(
        runs,
        study.baseline,
        metrics,
        groups=None if study.group_by is None else group_images(study.runs[0].image_names, study.group_by),
        replicates=REPLICATES,
        class_replicates=CLASS_REPLICATES,
        level=study.level,
        margin=study.margin,
        class_names=names,
    )
    # The best of more looks is better by chance alone.
    alike = len({count_evaluations(run) for run in study.runs}) == 1
    # A run counts a class that it predicts and no image has in its mean, as 0.
    alike = alike and not any(compared.comparisons[0].unlabelled.values())
    alike = alike and all(run.scored_as_trained for run in study.runs)
    return Findings(
        study,
        tuple(score_variant(variant, study.of(variant), main, alike=alike) for variant in runs),
        compared.comparisons[0],
        compared.comparisons[1:],
        (*unmeasured, *compared.unmeasured),
        compared.classes,
        diff_configs(study),
        tuple(checks),
    )


def _find_metric(study: Study, name: str) -> Metric:
    """The metric of that name, with the tolerance, or the smallest object, in its title where it has one. Raises
    ConfigError, also for runs that lack what it is computed from, with the command that scores them."""
    class_names, counts = study.runs[0].class_names, study.runs[0].counts
    metric = find_metric(name, class_names)
    lacking = find_lacking(study, metric)
    if lacking is not None:
        raise ConfigError(f"metrics: {name}: {lacking}")
    if metric.kind == "borders":
        return replace(metric, title=f"{metric.title} ({counts.tolerance:g} px)")
    if metric.kind == "objects" and counts.objects is not None:
        metric = find_metric(name, class_names, with_objects=[class_names[c] for c in counts.objects.classes])
        size = counts.objects.min_size
        return replace(metric, title=f"{metric.title} (≥ {size:,} px)") if size > 1 else metric
    return metric


def count_evaluations(run: Run) -> int:
    """How often a run was evaluated."""
    return len(run.history["val/mIoU"][0]) if "val/mIoU" in run.history else 0


def score_variant(variant: str, runs: Sequence[Run], main: Metric, *, alike: bool) -> VariantScores:
    """The scores of the runs of one variant; `alike`: all runs of the study were evaluated equally often, and on
    the same classes and at the same size as here."""
    return VariantScores(
        variant,
        tuple(run.seed for run in runs),
        main=_average(runs, lambda run: score_run(run, main)),
        miou=_average(runs, lambda run: score_run(run, MIOU)),
        accuracy=_average(runs, lambda run: score_run(run, ACCURACY)),
        class_iou=mean_of_defined(np.stack([iou(run.counts.counts.sum(axis=0)) for run in runs])),
        ce=_average(runs, cross_entropy),
        best=_average(runs, lambda run: (run.summary.get("best") or {}).get("mIoU")) if alike else None,
        speed=_average(runs, lambda run: run.summary.get("images_per_second")),
        memory=_average(runs, lambda run: run.summary.get("memory_gb")),
        minutes=_average(runs, training_minutes),
    )


def score_run(run: Run, metric: Metric) -> float:
    """The score of a run that has what the metric takes."""
    table = run.counts.table(metric.kind)
    assert table is not None  # or the metric would have been refused
    return float(metric.score(table.sum(axis=0)))


def cross_entropy(run: Run) -> float | None:
    """The plain cross-entropy of the images that the other scores are of; of a run whose file has none, that of its
    last evaluation."""
    if run.counts.has("ce"):
        return score_run(run, CE)
    return (run.summary.get("last") or {}).get("ce")


def training_minutes(run: Run) -> float | None:
    """Minutes that the updates of a run took: images seen over images per second."""
    speed, iterations = run.summary.get("images_per_second"), run.summary.get("iterations")
    if not speed or not iterations:
        return None
    train: Mapping[str, Any] = run.config["train"]
    return iterations * train["batch_size"] * train.get("accumulate", 1) / speed / 60


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of the values that are not NaN, (S, C) -> (C,); NaN where there is none."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=0)
    sums = np.where(defined, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=counts > 0)


def _average(runs: Sequence[Run], value_of: Callable[[Run], float | None]) -> Score | None:
    """Over the runs that have a number; None if none has, or one is infinite or no number: a mean of the others would
    pass over the training that failed."""
    known = [float(value) for value in map(value_of, runs) if value is not None]
    return score(known) if known and all(map(math.isfinite, known)) else None
