"""What the statistics say, in plain words: the first paragraph of a report, and what to be careful about."""

import math
from collections.abc import Sequence

from segkit.ablation.report.findings import Findings
from segkit.ablation.report.number_text import difference_text, interval_text
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.statistics.statistics import Comparison
from segkit.ablation.study.phrases import NAMED, join

#: The share of the interval's square that one source must have for the other to be called of no help.
MOST = 0.8


def read_findings(findings: Findings) -> str:
    """One paragraph: what differs from the baseline, what was not shown to. If nothing differs, that comes first."""
    return " ".join(_say_verdicts(findings))


def describe_variants(findings: Findings) -> tuple[str, ...]:
    """A sentence per variant."""
    return tuple(f"{found.variant}: {found.words}." for found in findings.comparison.differences)


def _say_verdicts(findings: Findings) -> list[str]:
    differences, baseline = findings.comparison.differences, findings.study.baseline
    if not differences:
        return [f"Only {baseline} has finished runs, so there is nothing to compare it with."]
    by_verdict: dict[str, list[Difference]] = {}
    for found in differences:
        by_verdict.setdefault(found.verdict, []).append(found)
    others = findings.others
    by_main = (
        f" by {findings.comparison.metric.title}, the main one of {len(others) + 1} metrics" if others else ""
    )
    shown = {"better", "worse"} & set(by_verdict)
    sentences = [] if shown else [f"No variant was shown to differ from {baseline}{by_main}."]
    for verdict in ("better", "worse"):
        if verdict in by_verdict:
            sentences.append(f"{verdict.capitalize()} than {baseline}: {_list(by_verdict[verdict])}.")
    if "within the margin" in by_verdict:
        margin = f"{100 * (by_verdict['within the margin'][0].margin or 0.0):g}"  # always of points
        names = join([found.variant for found in by_verdict["within the margin"]])
        sentences.append(f"No different from {baseline} by more than {margin} points either way: {names}.")
    if "not shown" in by_verdict:
        sentences.append(_say_not_shown(by_verdict["not shown"], baseline))
    if "one seed" in by_verdict:
        sentences.append(
            "Where there is one seed there is no verdict, because what other seeds would show is not known; on these "
            f"images, with these trainings: {_list(by_verdict['one seed'])}."
        )
    if "identical" in by_verdict:
        names = join([found.variant for found in by_verdict["identical"]])
        sentences.append(
            f"Identical to {baseline} in every image: {names}; it may be that what is varied has no effect."
        )
    judged = [found for found in differences if found.noise is not None and found.verdict != "identical"]
    return [*sentences, *_say_power(judged), *_say_others(others, baseline)]


def _say_others(others: Sequence[Comparison], baseline: str) -> list[str]:
    """By which further metrics a variant differs."""
    parts = []
    for comparison in others:
        for verdict in ("better", "worse"):
            names = [found.variant for found in comparison.differences if found.verdict == verdict]
            if names:
                parts.append(f"{comparison.metric.title} ({join(names)} {verdict})")
    if not others:
        return []
    return [
        f"Of the other metrics, shown to differ from {baseline} by {join(parts)}."
        if parts
        else f"By none of the other metrics was a variant shown to differ from {baseline}."
    ]


def _list(differences: Sequence[Difference]) -> str:
    texts = [(found.variant, difference_text(found)) for found in differences]
    unit = differences[0].unit.name
    return join([f"{variant} ({text.value} {unit}, {text.interval})" for variant, text in texts])


def _say_not_shown(differences: Sequence[Difference], baseline: str) -> str:
    names, unit = join([found.variant for found in differences]), differences[0].unit
    if len(differences) == 1:
        allowed = f"its interval is {difference_text(differences[0]).interval} {unit.name}"
    else:
        ends = (
            min(found.interval[0] for found in differences),
            max(found.interval[1] for found in differences),
        )
        within = interval_text(ends, unit.digits_for(ends), unit)
        allowed = f"their intervals lie within {within} {unit.name}"
    return f"Not shown to differ from {baseline}: {names}. This does not show that they are equal: {allowed}."


def _say_power(judged: Sequence[Difference]) -> list[str]:
    """What the study could have shown, and of what there would have to be more."""
    judged = [found for found in judged if found.reach and math.isfinite(found.reach)]
    if not judged:
        return []
    reach, unit = sorted(found.reach for found in judged), judged[0].unit
    digits = unit.digits_for(reach)
    least, most = (unit.write(share, digits) for share in (reach[0], reach[-1]))
    size = f"about {least}" if least == most else f"{least} to {most}"
    level = f"{100 * judged[0].level:g} %"
    count = judged[0].comparisons
    together = f", widened for {count} comparisons as p is," if count > 1 else ""
    intervals = (
        f"The {level} intervals{together} are for other images of the same kind and for other seeds. "
        f"A difference had to be larger than {size} {unit.name} to be told from none"
    )
    share = [(found.noise or 0.0) ** 2 / found.reach**2 for found in judged]
    if min(share) > MOST:
        return [
            f"{intervals}; nearly all of that is from seeds: more seeds would help, more images would not."
        ]
    if max(share) < 1 - MOST:
        return [
            f"{intervals}; nearly all of that is from images: more images would help, more seeds would not."
        ]
    return [f"{intervals}; part of that is from seeds and part from images: more of either would help."]


def list_cautions(findings: Findings) -> tuple[str, ...]:
    """What to be careful about, as sentences without capital and full stop."""
    cautions = list(findings.warnings)
    missing = findings.study.missing
    if missing:
        runs = (
            "one planned run is missing" if len(missing) == 1 else f"{len(missing)} planned runs are missing"
        )
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        cautions.append(f"{runs}: {'; '.join(missing[:NAMED])}{more}")
    errors = sum(check.level == "error" for check in findings.checks)
    if errors:
        what = "one finding speaks" if errors == 1 else f"{errors} findings speak"
        cautions.append(f"{what} against this comparison, see the checks below")
    warned = sum(check.level == "warning" for check in findings.checks) - len(findings.study.missing)
    if warned > 0:
        cautions.append(f"the checks below have {'a warning' if warned == 1 else f'{warned} warnings'}")
    return tuple(cautions)
