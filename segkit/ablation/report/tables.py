"""The tables of a report, as text: the one place where a number of a table is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from segkit.ablation.report.document import Cell, Table, plain_row
from segkit.ablation.report.findings import Findings, VariantScores
from segkit.ablation.report.number_text import (
    NOTHING,
    amount_text,
    difference_text,
    percent_text,
    say_unit,
    score_text,
    spread_text,
    value_text,
)
from segkit.ablation.statistics.metrics import Metric
from segkit.ablation.statistics.unit import POINTS
from segkit.ablation.study.config_diff import show_value
from segkit.ablation.study.phrases import join
from segkit.ablation.study.study import Run

#: Entries of env.json that a reader asks for, in order, with what to call them.
ENVIRONMENT = {
    "torch": "torch", "torchvision": "torchvision", "cuda": "CUDA", "cudnn": "cuDNN", "gpus": "GPU", "cpu": "CPU",
    "cpu_count": "usable CPUs", "threads": "threads", "device": "trained on", "amp": "precision",
    "processes": "processes", "python": "Python", "platform": "platform", "segkit": "segkit",
    "git_commit": "git commit", "git_dirty": "uncommitted changes",
}  # fmt: skip

#: Stand for the score by the main metric and the difference, whose columns are named after the metric and its unit.
MAIN, DELTA = "score", "Δ"

#: What the bold number of a table means.
BOLD = "Bold marks the best mean and nothing more: what a difference is worth is said by the verdict."

#: Columns of the main table that a paper has room for.
PAPER = ("variant", MAIN, DELTA, "interval", "p (Holm)", "verdict", "seeds", "img/s", "GB")


def main_table(findings: Findings) -> Table:
    """A row per variant with its scores, and its difference to the baseline."""
    columns = (
        "variant", main_column(findings), delta_column(findings), "verdict", "interval", "p (Holm)", "seeds",
        "from seeds", "from images", "worst class", "accuracy, %", "ce", "best mIoU", "img/s", "GB",
    )  # fmt: skip
    rows = tuple(_main_row(findings, scores) for scores in findings.scores)
    spread = "" if findings.seeds_per_variant == (1,) else ", mean ± sample standard deviation over seeds"
    delta = ""
    if findings.comparison.differences:
        title, baseline = findings.comparison.metric.title, findings.study.baseline
        delta = (
            f"; Δ is the difference in {title} to {baseline} in {say_unit(findings.comparison.metric.unit)} over the "
            f"seeds both have, with its {say_interval(findings)}"
        )
    less = _say_less(findings) if findings.comparison.metric.less_is_better else ""
    first = findings.study.runs[0]
    size = first.scored_size and f", {first.scored_size}"
    images = f"{len(first.image_names):,} validation images{size}"
    caption = f"Scores on {images}{spread}{delta}. {describe_seeds(findings)}{less}"
    note = (
        f"{BOLD} "
        "From seeds and from images are the two parts of the interval, as half-widths on the side of 0, which add as "
        "squares. Worst class is the class with the lowest mean IoU, ce plain cross-entropy on the validation images, "
        "best mIoU the best evaluation during training, shown where all runs were evaluated equally often, on the "
        "classes of this table and at its size; all other scores are of the last one. img/s and GB are those of "
        "training."
    )
    return Table(columns, rows, caption=caption, note=note)


def say_interval(findings: Findings) -> str:
    """What the intervals are, for captions: `95 % interval for other images and other seeds`."""
    comparison = findings.comparison
    level = f"{100 * comparison.level:g} %"
    judged = [found for found in comparison.differences if found.noise is not None]
    if not judged:
        return f"{level} interval for other images alone, because they share one seed"
    together = ""
    if judged[0].comparisons > 1:
        together = f", widened for {judged[0].comparisons} comparisons as p is (Holm)"
    alone = (
        "" if len(judged) == len(comparison.differences) else "; with one shared seed for other images alone"
    )
    return f"{level} interval for other images and other seeds{together}{alone}"


def _main_row(findings: Findings, scores: VariantScores) -> tuple[Cell, ...]:
    difference = findings.differences.get(scores.variant)
    seeds = str(len(scores.seeds))
    if difference is None:
        what = "baseline" if scores.variant == findings.study.baseline else "not compared"
        compared = (Cell(what, faint=True), *plain_row("", "", "", seeds, "", ""))
    else:
        text = difference_text(difference)
        compared = plain_row(
            text.value, difference.verdict, text.interval, text.p_holm, seeds, text.noise, text.images
        )
    return (
        Cell(scores.variant),
        Cell(
            score_text(scores.main, findings.comparison.metric.unit),
            strong=scores.variant in findings.best_variants,
        ),
        *compared,
        Cell(_worst_class(findings, scores)),
        Cell(score_text(scores.accuracy)),
        Cell(spread_text(scores.ce, 3)),
        Cell(score_text(scores.best)),
        Cell(spread_text(scores.speed)),
        Cell(amount_text(None if scores.memory is None else scores.memory.mean)),
    )


def _worst_class(findings: Findings, scores: VariantScores) -> str:
    index = scores.worst_class
    if index is None:
        return NOTHING
    return f"{percent_text(scores.class_iou[index])} ({findings.class_names[index]})"


def describe_seeds(findings: Findings) -> str:
    """How many seeds, in a sentence for captions."""
    counts = findings.seeds_per_variant
    if counts == (1,):
        return "One seed, so nothing is known about the spread between seeds."
    numbers = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{numbers} seeds per variant."


def paper_table(findings: Findings) -> Table:
    """The main table with the columns that a paper has room for, and what is to be said of them in the caption."""
    table = main_table(findings).select(name_columns(findings, PAPER))
    return replace(table, caption=f"{table.caption} {BOLD} img/s and GB are those of training.", note="")


def main_column(findings: Findings) -> str:
    """The name of the column of the main metric."""
    return _with_unit(findings.comparison.metric)


def delta_column(findings: Findings) -> str:
    """The name of the column of the difference by the main metric."""
    return f"Δ, {findings.comparison.metric.unit.name}"


def name_columns(findings: Findings, names: Sequence[str]) -> list[str]:
    """Names of columns of the main table, of which MAIN and DELTA stand for two."""
    known = {MAIN: main_column(findings), DELTA: delta_column(findings)}
    return [known.get(name, name) for name in names]


def _say_less(findings: Findings) -> str:
    """Of which metrics less is better, as a sentence after a space."""
    metrics = (findings.comparison.metric, *(other.metric for other in findings.others))
    titles = [metric.title for metric in metrics if metric.less_is_better]
    return f" Of {join(titles)} less is better." if titles else ""


def _with_unit(metric: Metric) -> str:
    return f"{metric.title}, {'%' if metric.unit is POINTS else metric.unit.name}"


def metric_table(findings: Findings) -> Table | None:
    """A row per further metric and variant; None if there is no further metric."""
    rows = []
    for comparison in findings.others:
        for found in comparison.differences:
            text = difference_text(found)
            rows.append(
                plain_row(
                    comparison.metric.title if found.unit is POINTS else _with_unit(comparison.metric),
                    found.variant,
                    text.value,
                    found.verdict,
                    text.interval,
                    text.p_holm,
                )
            )
    if not rows:
        return None
    looked = 1 + len(findings.others)
    caption = (
        f"Differences to {findings.study.baseline} by further metrics, in points where no unit is named, intervals "
        f"and p as above, corrected within each metric.{_say_less(findings)} {looked} metrics were looked at in all: "
        "where one of them says what the main one does not, chance had more than one try."
    )
    columns = ("metric", "variant", "Δ", "verdict", "interval", "p (Holm)")
    return Table(columns, tuple(rows), left=2, caption=caption)


def seed_table(findings: Findings) -> Table:
    """A row per variant, a column per seed: the score of every run, for the appendix of a paper."""
    seeds = sorted({seed for scores in findings.scores for seed in scores.seeds})
    metric = findings.comparison.metric
    rows = []
    for scores in findings.scores:
        known = dict(zip(scores.seeds, scores.main.values if scores.main else (), strict=False))
        texts = [value_text(known.get(seed), metric.unit) for seed in seeds]
        rows.append(plain_row(scores.variant, *texts))
    columns = ("variant", *(f"seed {seed}" for seed in seeds))
    what = "in percent" if metric.unit is POINTS else f"in {metric.unit.name}"
    return Table(columns, tuple(rows), caption=f"{metric.title} of every run {what}.")


def class_table(findings: Findings) -> Table:
    """A row per class, a column per variant: mean IoU over the seeds, and the mean over classes below."""
    values = np.stack([scores.class_iou for scores in findings.scores])  # (V, C)
    rows = [_class_row(name, values[:, index]) for index, name in enumerate(findings.class_names)]
    means = [percent_text(None if scores.miou is None else scores.miou.mean) for scores in findings.scores]
    largest = {
        one.variant
        for one in findings.scores
        if one.miou and one.miou.mean == max(other.miou.mean for other in findings.scores if other.miou)
    }
    cells = [Cell(text, strong=v in largest) for text, v in zip(means, findings.variants, strict=True)]
    rows.append((Cell("mIoU"), *cells))
    caption = "IoU of each class in percent, mean over seeds; bold marks the largest of a row."
    return Table(("class", *findings.variants), tuple(rows), caption=caption)


def _class_row(name: str, values: np.ndarray) -> tuple[Cell, ...]:
    defined = values[np.isfinite(values)]
    largest = (
        defined.max() if len(set(defined.tolist())) > 1 else None
    )  # if all are equal, none is the largest
    return (Cell(name), *(Cell(percent_text(value), strong=value == largest) for value in values.tolist()))


def config_table(findings: Findings) -> Table | None:
    """A row per setting that differs, a column per variant; None if nothing differs."""
    if not findings.diff.differing:
        return None
    variants = findings.diff.variants
    rows = tuple(
        plain_row(key, *(show_value(values[variant]) for variant in variants))
        for key, values in findings.diff.differing.items()
    )
    caption = "All settings that differ between the variants."
    return Table(("setting", *variants), rows, left=1 + len(variants), caption=caption)


def environment_table(runs: Sequence[Run]) -> Table:
    """A row per entry; values that differ stand side by side with the runs that have them."""
    rows = []
    for key, name in ENVIRONMENT.items():
        if any(run.env.get(key) not in (None, [], "") for run in runs):
            rows.append(
                plain_row(name, _side_by_side(runs, lambda run, key=key: _env_text(run.env.get(key))))
            )
    rows.append(
        plain_row("data fingerprint", _side_by_side(runs, lambda run: _short(run.fingerprints.get("data"))))
    )
    return Table(("", "value"), tuple(rows), left=2, caption="What the runs ran on.")


def _side_by_side(runs: Sequence[Run], text_of: Callable[[Run], str]) -> str:
    by_text: dict[str, list[str]] = {}
    for run in runs:
        by_text.setdefault(text_of(run), []).append(run.label)
    if len(by_text) == 1:
        return next(iter(by_text))
    return "; ".join(f"{text} ({_name_some(labels)})" for text, labels in by_text.items())


def _name_some(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{len(labels)} runs, first {labels[0]}"


def _env_text(value: Any) -> str:
    if value is None or value == []:
        return NOTHING
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _short(digest: str | None) -> str:
    return digest[:16] if digest else NOTHING


def run_table(runs: Sequence[Run]) -> Table:
    """A row per run: where it is."""
    rows = tuple(plain_row(run.variant, str(run.seed), str(run.folder)) for run in runs)
    return Table(("variant", "seed", "folder"), rows, left=3)
