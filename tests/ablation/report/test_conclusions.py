"""The first paragraph of a report, for every verdict, and the cautions below it."""

from types import SimpleNamespace

import pytest

from segkit.ablation.report.conclusions import describe_variants, list_cautions, read_findings
from segkit.ablation.statistics.difference import Difference
from segkit.ablation.statistics.metrics import ACCURACY, CE, MIOU
from segkit.ablation.study.study import Comparability


def difference(variant, value, verdict, *, interval=None, images=(0.004, 0.004), noise=0.003, **others):
    interval = interval or (value - 0.005, value + 0.005)
    noise = None if verdict == "one seed" else noise
    fields = {"p": 0.01, "p_holm": 0.02, "baseline": "ce"} | others
    return Difference(
        variant, value, interval, per_seed=(value,) * 3, images=images, noise=noise, verdict=verdict, **fields
    )


def read(*differences, others=()):
    return read_findings(find(*differences, others=others))


def find(*differences, warnings=(), missing=(), checks=(), others=()):
    return SimpleNamespace(
        study=SimpleNamespace(baseline="ce", missing=missing),
        comparison=SimpleNamespace(differences=differences, level=0.95, metric=MIOU),
        others=others,
        warnings=warnings,
        checks=checks,
    )


BOTH = (
    " The 95 % intervals are for other images of the same kind and for other seeds. A difference had to be larger than "
    "about 0.5 points to be told from none; part of that is from seeds and part from images: more of either would help."
)

CASES = {
    "better and worse": (
        [difference("a", 0.012, "better"), difference("b", -0.02, "worse"), difference("c", 0.03, "better")],
        "Better than ce: a (+1.2 points, [+0.7, +1.7]) and c (+3.0 points, [+2.5, +3.5]). Worse than ce: b (−2.0 "
        "points, [−2.5, −1.5])." + BOTH,
    ),
    "nothing": (
        [difference("a", 0.001, "not shown", interval=(-0.006, 0.008), images=(0.001, 0.001), noise=0.007)],
        "No variant was shown to differ from ce. Not shown to differ from ce: a. This does not show that they are "
        "equal: its interval is [−0.6, +0.8] points. The 95 % intervals are for other images of the same kind and for "
        "other seeds. A difference had to be larger than about 0.7 points to be told from none; nearly all of that is "
        "from seeds: more seeds would help, more images would not.",
    ),
    "nothing in two": (
        [
            difference("a", 0.001, "not shown", interval=(-0.006, 0.008), noise=0.0, comparisons=2),
            difference("b", 0.0, "not shown", interval=(-0.011, 0.007), images=(0.011, 0.007), noise=0.001),
        ],
        "No variant was shown to differ from ce. Not shown to differ from ce: a and b. This does not show that they "
        "are equal: their intervals lie within [−1.1, +0.8] points. The 95 % intervals, widened for 2 comparisons as p "
        "is, are for other images of the same kind and for other seeds. A difference had to be larger than "
        "0.4 to 0.7 points to be told from none; nearly all of that is from images: more images would help, more seeds "
        "would not.",
    ),
    "within the margin": (
        [difference("a", 0.001, "within the margin", margin=0.0075)],
        "No variant was shown to differ from ce. No different from ce by more than 0.75 points either way: a."
        + BOTH,
    ),
    "identical": (
        [difference("a", 0.0, "identical", interval=(0.0, 0.0))],
        "No variant was shown to differ from ce. Identical to ce in every image: a; it may be that what is varied has "
        "no effect.",
    ),
    "one seed": (
        [difference("a", 0.012, "one seed"), difference("b", -0.02, "one seed")],
        "No variant was shown to differ from ce. Where there is one seed there is no verdict, because what other "
        "seeds would show is not known; on these images, with these trainings: a (+1.2 points, [+0.7, +1.7]) and b "
        "(−2.0 points, [−2.5, −1.5]).",
    ),
    "baseline only": ([], "Only ce has finished runs, so there is nothing to compare it with."),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts_in_words(case):
    differences, expected = CASES[case]
    assert read(*differences) == expected


def test_cautions_are_a_list():
    checks = [Comparability("error", "e"), *[Comparability("warning", "w")] * 3, Comparability("ok", "o")]
    findings = find(warnings=("only 7 groups",), missing=("a, seed 1: failed",), checks=checks)
    assert list_cautions(findings) == (
        "only 7 groups",
        "one planned run is missing: a, seed 1: failed",
        "one finding speaks against this comparison, see the checks below",
        "the checks below have 2 warnings",
    )
    assert list_cautions(find()) == ()


def test_many_missing_runs_are_counted():
    assert list_cautions(find(missing=[f"a, seed {seed}" for seed in range(6)])) == (
        "6 planned runs are missing: a, seed 0; a, seed 1; a, seed 2; a, seed 3 and 2 more",
    )


def test_a_sentence_per_variant():
    findings = SimpleNamespace(comparison=SimpleNamespace(differences=[difference("a", 0.012, "better")]))
    assert describe_variants(findings) == (
        "a: better than ce by 1.2 points (95 % interval 0.7 to 1.7, p = 0.020; ±0.3 from seeds, ±0.4 from images).",
    )


def test_what_further_metrics_show_is_said():
    nothing = [difference("a", 0.001, "not shown"), difference("b", 0.0, "not shown")]
    accuracy = SimpleNamespace(metric=ACCURACY, differences=[difference("a", 0.1, "better"), nothing[1]])
    ce = SimpleNamespace(
        metric=CE, differences=[difference("a", 0.1, "worse"), difference("b", 0.1, "worse")]
    )
    text = read(*nothing, others=(accuracy, ce))
    assert text.startswith(
        "No variant was shown to differ from ce by mIoU, the main one of 3 metrics. Not shown"
    )
    assert text.endswith(
        " Of the other metrics, shown to differ from ce by accuracy (a better) and cross-entropy (a and b worse)."
    )
    silent = SimpleNamespace(metric=ACCURACY, differences=nothing)
    text = read(*nothing, others=(silent,))
    assert text.endswith(" By none of the other metrics was a variant shown to differ from ce.")
