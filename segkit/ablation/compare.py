"""The report of an ablation for any finished runs, however they came about."""

import difflib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from segkit.ablation.comparable import check_comparable
from segkit.ablation.config_diff import ConfigDiff, show_value
from segkit.ablation.finding import Finding
from segkit.ablation.findings import Findings, find_all
from segkit.ablation.gather import Gathered, gather_runs
from segkit.ablation.phrases import name_seeds, plural
from segkit.ablation.report import write_report
from segkit.ablation.study import Run, Study
from segkit.ablation.tables import main_table
from segkit.console import table
from segkit.errors import ConfigError, DataError

#: Columns of the report's main table that a terminal has room for.
COLUMNS = ("variant", "mIoU, %", "Δ, points", "interval", "p (Holm)", "seed std of Δ", "seeds")

#: Differing settings that the console shows; the report has all.
SETTINGS_SHOWN = 8


def compare_runs(
    paths: Sequence[str | Path],
    *,
    baseline: str | None = None,
    group_by: str | int | None = None,
    names: Sequence[str] = (),
    output: Path | None = None,
    command: str = "",
) -> int:
    """Compare finished runs, print what was found and write the report; returns the exit status.

    `paths` are run folders or folders above them. `baseline` is a variant, by default that of the first run. `output`
    is the folder of the report, by default `compare/TIME` beside the runs. Raises DataError if the runs have not the
    same classes, images and labels, ConfigError for a wrong choice, CheckpointError for runs that cannot be read.
    """
    gathered = gather_runs(paths, names=names)
    study = make_study(gathered, baseline=baseline, group_by=group_by, command=command)
    _print_study(study, gathered, chosen=baseline is not None)
    checks = check_comparable(study)
    refuse_incomparable(checks)
    print("\n".join([*problem_lines(checks), "", *result_lines(find_all(study))]))
    print(f"report    {write_report(study, output or default_output(study.runs))}")
    return 0


def make_study(
    gathered: Gathered, *, baseline: str | None, group_by: str | int | None, command: str = ""
) -> Study:
    """The runs as a study. Raises ConfigError for a baseline that is not there and for a single variant."""
    variants = gathered.variants
    if baseline is not None and baseline not in variants:
        close = difflib.get_close_matches(baseline, variants, n=1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise ConfigError(
            f"--baseline {baseline}: no such variant{hint}\n   there are: {', '.join(variants)}"
        )
    if len(variants) == 1:
        count = plural(len(gathered.runs), "run")
        raise ConfigError(
            f"nothing to compare: there is one variant only, {variants[0]}, with {count} ({_seeds(gathered.runs)})"
            " -> give runs of another configuration too"
        )
    return Study(
        name="comparison of finished runs",
        baseline=variants[0] if baseline is None else baseline,
        variants=variants,
        seeds=tuple(sorted({run.seed for run in gathered.runs})),
        runs=tuple(gathered.runs),
        missing=tuple(gathered.missing),
        group_by=group_by,
        command=command,
    )


def refuse_incomparable(checks: Sequence[Finding]) -> None:
    """Raises DataError with all that makes any number computed from the runs meaningless."""
    refusals = [check.text for check in checks if check.refuses]
    if refusals:
        raise DataError("\n   ".join(["these runs cannot be compared:", *refusals]))


def problem_lines(checks: Sequence[Finding]) -> list[str]:
    """A console line for each error and each warning; errors stand out."""
    marks = {"error": "ERROR     ", "warning": "warning   "}
    return [marks[check.level] + check.text for check in checks if check.level in marks]


def result_lines(findings: Findings) -> list[str]:
    """The scores in columns, each difference in words, and the settings that differ."""
    rows = main_table(findings).select(COLUMNS)
    comparison = findings.comparison
    return [
        table([list(rows.columns), *([cell.text for cell in row] for row in rows.rows)]),
        "",
        *(f"{difference.variant}: {difference.words}" for difference in comparison.differences),
        *(f"caution: {warning}" for warning in comparison.warnings),
        "",
        *diff_lines(findings.diff),
    ]


def diff_lines(diff: ConfigDiff) -> list[str]:
    """The settings that differ, a line each, values in the order of the variants."""
    lines = [
        f"          {key}: {' | '.join(show_value(value) for value in values.values())}"
        for key, values in diff.differing.items()
    ]
    more = len(lines) - SETTINGS_SHOWN
    if more > 0:
        lines = [*lines[:SETTINGS_SHOWN], f"          and {more} more, see the report"]
    return [f"settings  {diff.sentence}", *lines]


def default_output(runs: Sequence[Run]) -> Path:
    """`compare/TIME` in the folder that all runs have in common, which for `runs/ohem/TIME` is `runs`."""
    parents = [run.folder.absolute().parent.parent for run in runs]
    common = Path(os.path.commonpath(parents))
    here = Path.cwd()
    shown = common.relative_to(here) if common.is_relative_to(here) else common
    return shown / "compare" / time.strftime("%Y%m%d-%H%M%S")


def _print_study(study: Study, gathered: Gathered, *, chosen: bool) -> None:
    print(f"compare   {plural(len(study.runs), 'run')} of {plural(len(study.variants), 'variant')}")
    for variant in study.variants:
        mark = "" if variant != study.baseline else "   baseline"
        mark += "" if chosen or not mark else ", as the first given (--baseline NAME chooses another)"
        print(f"          {variant}: {_seeds(study.of(variant))}{mark}")
    for note in gathered.notes:
        print(f"note      {note}")


def _seeds(runs: Sequence[Run]) -> str:
    return name_seeds(run.seed for run in runs)
