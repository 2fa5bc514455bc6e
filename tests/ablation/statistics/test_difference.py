"""Verdicts and the sentences that say them."""

import pytest

from segkit.ablation.statistics.difference import Difference, choose_verdict, write_p


def difference(verdict, value, interval, **others):
    fields = {
        "p": 0.001,
        "p_holm": 0.001,
        "per_seed": (value,) * 3,
        "images": (0.003, 0.003),
        "noise": 0.006,
        "baseline": "ce",
    }
    return Difference(variant="ohem", verdict=verdict, value=value, interval=interval, **fields | others)


@pytest.mark.parametrize(
    ("value", "p_holm", "interval", "margin", "verdict"),
    [
        (0.02, 0.04, (0.001, 0.03), None, "better"),
        (-0.02, 0.04, (-0.03, -0.001), None, "worse"),
        (0.02, 0.0501, (-0.001, 0.03), None, "not shown"),
        (0.002, 0.4, (-0.004, 0.005), None, "not shown"),
        (0.002, 0.4, (-0.004, 0.005), 0.005, "within the margin"),
        (0.002, 0.4, (-0.006, 0.005), 0.005, "not shown"),
        (
            0.002,
            0.01,
            (0.001, 0.004),
            0.005,
            "better",
        ),  # and the sentence says that it is by less than the margin
        (0.0, 1.0, (-0.01, 0.01), 0.005, "not shown"),
    ],
)
def test_verdict(value, p_holm, interval, margin, verdict):
    assert choose_verdict(value, p_holm, interval, level=0.95, margin=margin) == verdict


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            difference("better", 0.021, (0.012, 0.03)),
            "better than ce by 2.1 points (95 % interval 1.2 to 3.0, p = 0.001; ±0.6 from seeds, ±0.3 from images)",
        ),
        (
            difference("worse", -0.021, (-0.03, -0.012), p_holm=0.0123, comparisons=4, level=0.9),
            "worse than ce by 2.1 points (90 % interval 1.2 to 3.0, Holm p = 0.012; ±0.6 from seeds, ±0.3 from images)",
        ),
        (
            difference("better", 0.002, (0.001, 0.004), p_holm=1e-6, margin=0.005),
            "better than ce by 0.2 points (95 % interval 0.1 to 0.4, p < 0.0001; ±0.6 from seeds, ±0.3 from images), "
            "though by less than the margin of 0.5",
        ),
        (
            difference("within the margin", 0.001, (-0.003, 0.004), margin=0.005, noise=0.0),
            "no different from ce by more than 0.5 points either way: the 95 % interval is −0.3 to 0.4 (±0.0 from "
            "seeds, ±0.3 from images)",
        ),
        (
            difference("not shown", 0.003, (-0.004, 0.01), seeds_needed=12, images_needed=None),
            "no difference to ce shown: +0.3 points, the 95 % interval −0.4 to 1.0 contains 0 (±0.6 from seeds, ±0.3 "
            "from images); to show a difference of this size would take about 12 seeds",
        ),
        (
            difference("not shown", -0.003, (-0.01, 0.004), seeds_needed=12, images_needed=2345),
            "no difference to ce shown: −0.3 points, the 95 % interval −1.0 to 0.4 contains 0 (±0.6 from seeds, ±0.3 "
            "from images); to show a difference of this size would take about 12 seeds or about 2,345 independent "
            "images",
        ),
        (
            difference("not shown", -0.003, (-0.01, 0.004)),
            "no difference to ce shown: −0.3 points, the 95 % interval −1.0 to 0.4 contains 0 (±0.6 from seeds, ±0.3 "
            "from images); to show a difference of this size would take more seeds and more images",
        ),
        (
            difference("one seed", 0.021, (0.012, 0.03), noise=None, p=None, p_holm=None),
            "+2.1 points to ce with the one seed that both have, the 95 % interval over images 1.2 to 3.0: no verdict, "
            "because what other seeds would show is not known",
        ),
        (
            difference("identical", 0.0, (0.0, 0.0), p=1.0, p_holm=1.0),
            "identical to ce: the predictions are counted alike in every image",
        ),
    ],
)
def test_words(found, words):
    assert found.words == words


@pytest.mark.parametrize("margin", [0.0025, 0.0004, 0.01, 0.125])
def test_a_margin_is_written_as_it_was_given(margin):
    text = f"{100 * margin:g}"
    assert f"by more than {text} points" in difference("within the margin", 0, (0, 0), margin=margin).words
    assert difference("better", margin / 2, (0, margin), margin=margin).words.endswith(
        f"the margin of {text}"
    )


def test_what_is_not_zero_is_not_written_as_zero():
    found = difference("better", 0.0124, (0.0004, 0.03))
    assert "by 1.24 points (95 % interval 0.04 to 3.00, p" in found.words
    found = difference("not shown", 0.0, (-0.0004, 0.01))
    assert "shown: 0.00 points, the 95 % interval −0.04 to 1.00" in found.words
    found = difference("not shown", -0.0, (-0.01, 0.01))
    assert "shown: 0.0 points" in found.words and "would take" not in found.words


def test_the_side_of_zero_is_what_counts():
    found = difference("better", 0.02, (0.01, 0.06), images=(0.008, 0.04))
    assert (found.from_images, found.reach) == (0.008, 0.01)
    found = difference("worse", -0.02, (-0.03, -0.01), images=(0.008, 0.04), noise=None)
    assert (found.from_images, found.reach) == (0.04, 0.04)


def test_p_is_never_written_as_less_than_is_known():
    assert [write_p(p) for p in (0.04567, 0.001, 0.00034, 0.0001, 0.00009, None)] == [
        "= 0.046",
        "= 0.001",
        "= 0.0003",
        "= 0.0001",
        "< 0.0001",
        "unknown",
    ]
