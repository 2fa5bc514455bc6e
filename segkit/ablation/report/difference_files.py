"""The differences to the baseline for a spreadsheet or another program, at full precision."""

import csv
import io
import json
from typing import Any

from segkit.ablation.report.findings import Findings
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.statistics.unit import POINTS
from segkit.system.files import finite_or_none


def render_differences_csv(findings: Findings) -> str:
    """A row per metric and variant; a unit of "share" is of scores in [0, 1]. Blank where there is nothing to know."""
    content = io.StringIO()
    names = list(_row(findings, None))
    writer = csv.DictWriter(content, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    for found in _all(findings):
        writer.writerow(
            {name: "" if value is None else value for name, value in _row(findings, found).items()}
        )
    return content.getvalue()


def render_differences_json(findings: Findings) -> str:
    """The same as a list of objects, with the differences of every seed and the sentence on each variant."""
    differences = [
        {
            **_row(findings, found),
            "per_seed": dict(zip(found.seeds, found.per_seed, strict=True)),
            "words": found.words,
        }
        for found in _all(findings)
    ]
    return json.dumps(differences, indent=1, ensure_ascii=False) + "\n"


def _all(findings: Findings) -> list[Difference]:
    """By the main metric first."""
    return [
        found for comparison in (findings.comparison, *findings.others) for found in comparison.differences
    ]


def _row(findings: Findings, found: Difference | None) -> dict[str, Any]:
    """What is known of a difference, by the names of the columns; of None the names alone matter."""
    return {
        "variant": found and found.variant,
        "baseline": findings.study.baseline,
        "metric": found and found.metric,
        "unit": found and ("share" if found.unit is POINTS else found.unit.name),
        "difference": found and found.value,
        "lower": found and finite_or_none(found.interval[0]),
        "upper": found and finite_or_none(found.interval[1]),
        "level": findings.comparison.level,
        "comparisons": found and found.comparisons,
        "from_seeds": found and found.noise,
        "from_images_lower": found and finite_or_none(found.images[0]),
        "from_images_upper": found and finite_or_none(found.images[1]),
        "p": found and found.p,
        "p_holm": found and found.p_holm,
        "verdict": found and found.verdict,
        "margin": found and found.margin,
        "seeds": found and len(found.seeds),
        "units": found and found.units,
        "seeds_needed": found and found.seeds_needed,
        "images_needed": found and found.images_needed,
    }
