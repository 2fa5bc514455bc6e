"""The first paragraph of a report, for every verdict."""

from types import SimpleNamespace

import pytest

from segkit.ablation.report.conclusions import describe_variants, read_findings
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.study.study import Comparability


def difference(variant, value, verdict, *, interval=None, seed_noise=0.004):
    interval = interval or (value - 0.005, value + 0.005)
    seed_noise = None if verdict.startswith("one seed") else seed_noise
    return Difference(variant, value, interval, 0.01, 0.02, (value,) * 3, seed_noise, verdict, baseline="ce")


def read(*differences, warnings=(), missing=(), checks=()):
    findings = SimpleNamespace(
        study=SimpleNamespace(baseline="ce", missing=missing),
        comparison=SimpleNamespace(differences=differences, level=0.95, warnings=warnings),
        checks=checks,
    )
    return read_findings(findings)


CASES = {
    "better and worse": (
        [difference("a", 0.012, "better"), difference("b", -0.02, "worse"), difference("c", 0.03, "better")],
        "Better than ce, beyond the 95 % interval over images and seed noise: a (+1.2 points) and c (+3.0 "
        "points). Worse than ce, beyond the 95 % interval over images and seed noise: b (−2.0 points).",
    ),
    "nothing": (
        [difference("a", 0.001, "not shown", interval=(-0.006, 0.008))],
        "No variant was shown to differ from ce. Not shown to differ from ce: a. This does not show that they are "
        "equal: the 95 % interval is [−0.6, +0.8] points.",
    ),
    "nothing in two": (
        [
            difference("a", 0.001, "not shown", interval=(-0.006, 0.008)),
            difference("b", 0.0, "not shown", interval=(-0.011, 0.007)),
        ],
        "No variant was shown to differ from ce. Not shown to differ from ce: a and b. This does not show that they "
        "are equal: the 95 % intervals lie within [−1.1, +0.8] points.",
    ),
    "seed noise": (
        [difference("a", 0.012, "within seed noise", seed_noise=0.02)],
        "No variant was shown to differ from ce beyond seed noise. Different on these images, but not beyond seed "
        "noise, so that other seeds may reverse it: a (+1.2 points).",
    ),
    "identical": (
        [difference("a", 0.0, "identical", interval=(0.0, 0.0))],
        "No variant was shown to differ from ce. Identical to ce in every image: a; it may be that what is varied has "
        "no effect.",
    ),
    "one seed": (
        [difference("a", 0.012, "one seed: better"), difference("b", -0.02, "one seed: worse")],
        "With one seed the seed noise is not known, and other seeds may reverse what follows. Better than ce "
        "with one seed, beyond the 95 % interval over images: a (+1.2 points). Worse than ce with one seed, beyond the "
        "95 % interval over images: b (−2.0 points).",
    ),
    "baseline only": ([], "Only ce has finished runs, so there is nothing to compare it with."),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts_in_words(case):
    differences, expected = CASES[case]
    assert read(*differences) == expected


def test_cautions_follow():
    checks = [Comparability("error", "e"), *[Comparability("warning", "w")] * 3, Comparability("ok", "o")]
    text = read(
        *CASES["nothing"][0], warnings=("only 7 groups",), missing=("a, seed 1: failed",), checks=checks
    )
    assert text.endswith(
        "Caution: only 7 groups. Caution: one planned run is missing: a, seed 1: failed. Caution: one finding speaks "
        "against this comparison, see the checks below. The checks below have 2 warnings."
    )


def test_many_missing_runs_are_counted():
    text = read(missing=[f"a, seed {seed}" for seed in range(6)])
    assert text.endswith(
        "Caution: 6 planned runs are missing: a, seed 0; a, seed 1; a, seed 2; a, seed 3 and 2 more."
    )


def test_a_sentence_per_variant():
    findings = SimpleNamespace(comparison=SimpleNamespace(differences=[difference("a", 0.012, "better")]))
    assert describe_variants(findings) == (
        "a: better than ce by 1.2 points (95 % interval 0.7 to 1.7, p = 0.020), beyond seed noise (±0.4 from 3 "
        "seeds).",
    )
