"""What the statistics say, in plain words: the first paragraph of a report."""

from collections.abc import Collection, Sequence

from segkit.ablation.report.findings import Findings
from segkit.ablation.report.number_text import difference_text, interval_text
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.study.phrases import NAMED, join


def read_findings(findings: Findings) -> str:
    """One paragraph: what differs from the baseline, what was not shown to, and what to be careful about.

    If nothing differs, that comes first.
    """
    return " ".join([*_say_verdicts(findings), *_say_cautions(findings)])


def describe_variants(findings: Findings) -> tuple[str, ...]:
    """A sentence per variant."""
    return tuple(f"{found.variant}: {found.words}." for found in findings.comparison.differences)


def _say_verdicts(findings: Findings) -> list[str]:
    differences, baseline = findings.comparison.differences, findings.study.baseline
    if not differences:
        return [f"Only {baseline} has finished runs, so there is nothing to compare it with."]
    level = f"{100 * findings.comparison.level:.0f} %"
    by_verdict: dict[str, list[Difference]] = {}
    for found in differences:
        by_verdict.setdefault(found.verdict, []).append(found)
    sentences = [_say_if_nothing(by_verdict, baseline)]
    starts = {
        "better": f"Better than {baseline}, beyond the {level} interval over images and seed noise: ",
        "worse": f"Worse than {baseline}, beyond the {level} interval over images and seed noise: ",
        "one seed: better": f"Better than {baseline} with one seed, beyond the {level} interval over images: ",
        "one seed: worse": f"Worse than {baseline} with one seed, beyond the {level} interval over images: ",
        "within seed noise": "Different on these images, but not beyond seed noise, so that other seeds may "
        "reverse it: ",
    }
    sentences += [f"{start}{_list(by_verdict[key])}." for key, start in starts.items() if key in by_verdict]
    if "not shown" in by_verdict:
        sentences.append(_say_not_shown(by_verdict["not shown"], baseline, level))
    if "identical" in by_verdict:
        names = join([found.variant for found in by_verdict["identical"]])
        sentences.append(
            f"Identical to {baseline} in every image: {names}; it may be that what is varied has no effect."
        )
    return [sentence for sentence in sentences if sentence]


def _say_if_nothing(verdicts: Collection[str], baseline: str) -> str:
    """The first sentence where no variant is clearly better or worse; nothing otherwise."""
    if {"better", "worse"} & set(verdicts):
        return ""
    if set(verdicts) <= {"not shown", "identical"}:
        return f"No variant was shown to differ from {baseline}."
    if "within seed noise" in verdicts:
        return f"No variant was shown to differ from {baseline} beyond seed noise."
    return "With one seed the seed noise is not known, and other seeds may reverse what follows."


def _list(differences: Sequence[Difference]) -> str:
    return join([f"{found.variant} ({difference_text(found).value} points)" for found in differences])


def _say_not_shown(differences: Sequence[Difference], baseline: str, level: str) -> str:
    names = join([found.variant for found in differences])
    if len(differences) == 1:
        allowed = f"the {level} interval is {difference_text(differences[0]).interval} points"
    else:
        ends = (
            min(found.interval[0] for found in differences),
            max(found.interval[1] for found in differences),
        )
        allowed = f"the {level} intervals lie within {interval_text(ends)} points"
    return f"Not shown to differ from {baseline}: {names}. This does not show that they are equal: {allowed}."


def _say_cautions(findings: Findings) -> list[str]:
    sentences = [f"Caution: {warning}." for warning in findings.comparison.warnings]
    missing = findings.study.missing
    if missing:
        runs = (
            "one planned run is missing" if len(missing) == 1 else f"{len(missing)} planned runs are missing"
        )
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        sentences.append(f"Caution: {runs}: {'; '.join(missing[:NAMED])}{more}.")
    errors = sum(check.level == "error" for check in findings.checks)
    if errors:
        what = "one finding speaks" if errors == 1 else f"{errors} findings speak"
        sentences.append(f"Caution: {what} against this comparison, see the checks below.")
    warned = sum(check.level == "warning" for check in findings.checks) - len(findings.study.missing)
    if warned > 0:
        sentences.append(f"The checks below have {'a warning' if warned == 1 else f'{warned} warnings'}.")
    return sentences
