"""A table of many variants by many metrics, as the pages have it: by the main metric with interval and verdict, by the
others the difference alone, bold where it is shown."""

from segkit.ablation.report.findings import Findings
from segkit.ablation.report.number_text import difference_text, score_text
from segkit.ablation.statistics.difference import Difference

SHOWN = ("better", "worse")


def markdown_rows(findings: Findings) -> list[str]:
    """A line of Markdown for each variant, the best by the main metric first."""
    main = findings.comparison
    sign = 1 if main.metric.less_is_better else -1
    ordered = sorted(findings.scores, key=lambda one: sign * one.main.mean)
    return [_row(findings, scores.variant, score_text(scores.main, main.metric.unit)) for scores in ordered]


def _row(findings: Findings, variant: str, score: str) -> str:
    found = [_of(comparison.differences, variant) for comparison in (findings.comparison, *findings.others)]
    if variant == findings.study.baseline:
        cells = ["baseline", *[""] * len(findings.others)]
    else:
        text = difference_text(found[0])
        verdict = f" {found[0].verdict}" * (found[0].verdict in SHOWN)
        cells = [f"{text.value} {text.interval}{verdict}", *(_short(each) for each in found[1:])]
    return " | ".join([f"| `{variant}`", score, *cells]) + " |"


def _of(differences: tuple[Difference, ...], variant: str) -> Difference | None:
    return next((found for found in differences if found.variant == variant), None)


def _short(found: Difference | None) -> str:
    value = difference_text(found).value
    return f"**{value}**" if found.verdict in SHOWN else value
