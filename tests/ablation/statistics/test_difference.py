"""Verdicts and the sentences that say them."""

import dataclasses
import math
import statistics

import numpy as np
import pytest

from segkit.ablation.statistics.difference import Difference, choose_verdict, find_seed_noise, score


def difference(verdict, value, interval, **others):
    fields = {"p": 0.001, "p_holm": 0.001, "per_seed": (value,) * 3, "seed_noise": 0.006, "baseline": "ce"}
    return Difference(variant="ohem", verdict=verdict, value=value, interval=interval, **fields | others)


@pytest.mark.parametrize(
    ("value", "noise", "significant", "identical", "verdict"),
    [
        (0.02, 0.01, True, False, "better"),
        (-0.02, 0.01, True, False, "worse"),
        (0.02, 0.03, True, False, "within seed noise"),
        (-0.02, 0.03, True, False, "within seed noise"),
        (0.02, 0.02, True, False, "within seed noise"),
        (0.02, 0.0, True, False, "better"),
        (0.02, None, True, False, "one seed: better"),
        (-0.02, None, True, False, "one seed: worse"),
        (0.02, 0.01, False, False, "not shown"),
        (0.02, 0.03, False, False, "not shown"),
        (0.02, None, False, False, "not shown"),
        (0.0, 0.0, False, True, "identical"),
        (0.0, None, False, True, "identical"),
    ],
)
def test_verdict(value, noise, significant, identical, verdict):
    assert choose_verdict(value, noise, significant=significant, identical=identical) == verdict


def test_seed_noise_is_half_of_students_interval():
    found = find_seed_noise(score([0.01, 0.02, 0.06]), 0.95)
    assert found == pytest.approx(4.302653 * statistics.stdev([0.01, 0.02, 0.06]) / math.sqrt(3), rel=1e-6)
    assert find_seed_noise(score([0.01, 0.03]), 0.95) == pytest.approx(12.706205 * 0.01, rel=1e-6)
    assert find_seed_noise(score([0.01]), 0.95) is None
    assert find_seed_noise(score([0.01, 0.01]), 0.95) == 0.0


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seed_noise_alone_is_rarely_called_a_difference(seeds):
    """Differences over seeds that are noise around 0, all of them beyond the interval over images."""
    random = np.random.default_rng(0)
    verdicts = []
    for _ in range(1000):
        per_seed = score(random.normal(0.0, 0.01, seeds).tolist())
        noise = find_seed_noise(per_seed, 0.95)
        verdicts.append(choose_verdict(per_seed.mean, noise, significant=True, identical=False))
    wrong = sum(verdict in ("better", "worse") for verdict in verdicts)
    assert 30 <= wrong <= 70  # 5 % of them; by the standard deviation alone it would be 22 % with 3 seeds


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            difference("better", 0.021, (0.012, 0.03)),
            "better than ce by 2.1 points (95 % interval 1.2 to 3.0, p = 0.001), beyond seed noise (±0.6 from "
            "3 seeds)",
        ),
        (
            difference("worse", -0.021, (-0.03, -0.012), p_holm=0.0123, comparisons=4, level=0.9),
            "worse than ce by 2.1 points (90 % interval 1.2 to 3.0, Holm p = 0.012), beyond seed noise (±0.6 "
            "from 3 seeds)",
        ),
        (
            difference("within seed noise", 0.021, (0.012, 0.03), seed_noise=0.024, p_holm=0.00036),
            "better than ce by 2.1 points (95 % interval 1.2 to 3.0, p = 0.0004), but not beyond seed noise "
            "(±2.4 from 3 seeds): other seeds may reverse it",
        ),
        (
            difference("one seed: worse", -0.021, (-0.03, -0.012), seed_noise=None),
            "worse than ce by 2.1 points (95 % interval 1.2 to 3.0, p = 0.001) with one seed: whether other seeds "
            "would reverse it is not known",
        ),
        (
            difference("not shown", 0.003, (-0.004, 0.01), p=0.4, p_holm=0.4),
            "no difference to ce shown: +0.3 points, the 95 % interval -0.4 to 1.0 contains 0",
        ),
        (
            difference("not shown", -0.003, (-0.01, 0.004), p=0.4, p_holm=0.4),
            "no difference to ce shown: -0.3 points, the 95 % interval -1.0 to 0.4 contains 0",
        ),
        (
            difference("not shown", 0.003, (0.001, 0.01), p=0.02, p_holm=0.12, comparisons=6),
            "no difference to ce shown: +0.3 points, the 95 % interval 0.1 to 1.0 excludes 0 (p = 0.020), but that "
            "does not survive the correction for 6 comparisons (Holm p = 0.120)",
        ),
        (
            difference("identical", 0.0, (0.0, 0.0), p=1.0, p_holm=1.0),
            "identical to ce: the predictions are counted alike in every image",
        ),
    ],
)
def test_words(found, words):
    assert found.words == words


def test_what_is_not_zero_is_not_written_as_zero():
    found = difference("better", 0.0124, (0.0004, 0.03))
    assert "by 1.24 points (95 % interval 0.04 to 3.00, p" in found.words
    found = difference("not shown", 0.0, (-0.0004, 0.01))
    assert "shown: 0.00 points, the 95 % interval -0.04 to 1.00" in found.words
    found = difference("not shown", -0.0, (-0.01, 0.01))
    assert "shown: 0.0 points" in found.words
    found = difference("not shown", 0.0101, (-0.004, 0.0104))  # that these are written alike misleads nobody
    assert "shown: +1.0 points, the 95 % interval -0.4 to 1.0" in found.words


def test_numbers_that_are_compared_are_not_written_alike():
    larger = difference("better", 0.0212, (0.012, 0.03), seed_noise=0.0208)
    assert "by 2.12 points" in larger.words and "beyond seed noise (±2.08 from" in larger.words
    equal = dataclasses.replace(larger, verdict="within seed noise", seed_noise=0.0212)
    assert "by 2.1 points" in equal.words and "not beyond seed noise (±2.1 from" in equal.words
