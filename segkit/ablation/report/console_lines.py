"""A comparison for the terminal: what to beware of, the scores, each difference in words, the settings that differ."""

from collections.abc import Sequence

from segkit.ablation.report.findings import Findings
from segkit.ablation.report.tables import DELTA, MAIN, main_table, name_columns
from segkit.ablation.statistics.statistics import Comparison
from segkit.ablation.study.config_diff import ConfigDiff, show_value
from segkit.ablation.study.phrases import join
from segkit.ablation.study.study import Comparability
from segkit.system.console import table

#: Columns of the report's main table that a terminal has room for.
COLUMNS = ("variant", MAIN, DELTA, "interval", "p (Holm)", "verdict", "seeds")

#: Differing settings that the console shows; the report has all.
SETTINGS_SHOWN = 8


def problem_lines(checks: Sequence[Comparability]) -> list[str]:
    """A console line for each error and each warning; errors stand out."""
    marks = {"error": "ERROR     ", "warning": "warning   "}
    return [marks[check.level] + check.text for check in checks if check.level in marks]


def result_lines(findings: Findings) -> list[str]:
    """The scores in columns, each difference in words, and the settings that differ."""
    rows = main_table(findings).select(name_columns(findings, COLUMNS))
    comparison = findings.comparison
    return [
        table([list(rows.columns), *([cell.text for cell in row] for row in rows.rows)]),
        "",
        *(f"{difference.variant}: {difference.words}" for difference in comparison.differences),
        *(line for other in findings.others for line in _further_lines(other, findings.study.baseline)),
        *(f"caution: {warning}" for warning in findings.warnings),
        "",
        *diff_lines(findings.diff),
    ]


def _further_lines(comparison: Comparison, baseline: str) -> list[str]:
    """What a further metric shows, a line each, and in one line of whom it shows nothing; the report has their
    intervals."""
    silent = [found.variant for found in comparison.differences if found.verdict == "not shown"]
    lines = [
        f"{found.variant}: {found.words}" for found in comparison.differences if found.variant not in silent
    ]
    if silent:
        lines.append(f"by {comparison.metric.title} no difference to {baseline} shown: {join(silent)}")
    return lines


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
