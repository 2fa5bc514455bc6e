"""Schedules are pure functions of the iteration: values by hand, edges and messages."""

import itertools
import math
import subprocess
import sys
from fractions import Fraction

import pytest

from segkit import schedule


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (0, 0),
        (200, 200),
        ("10%", Fraction(1, 10)),
        (" 12.5 % ", Fraction(1, 8)),
        ("0%", 0),
        ("100%", 1),
    ],
)
def test_durations_are_counts_or_shares(value, parsed):
    assert schedule.parse_duration(value) == parsed


@pytest.mark.parametrize(
    "value", ["10", "101%", "-1%", "ten%", "%", "", 0.1, True, None, float("nan"), "1/0%"]
)
def test_other_durations_are_refused(value):
    with pytest.raises(ValueError) as error:
        schedule.parse_duration(value)
    rule = "must be a number of iterations or a share of the run such as 10%"
    assert str(error.value) == f"{rule}, got {value!r}"


def test_negative_duration_is_refused():
    with pytest.raises(ValueError) as error:
        schedule.parse_duration(-5)
    assert str(error.value) == "must not be negative, got -5"


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [("10%", 2000, 200), ("29%", 100, 29), ("33%", 10, 3), ("100%", 7, 7), ("0%", 7, 0), (50, 20, 50)],
)
def test_iterations_round_down_without_binary_error(value, total, expected):
    # 0.29 * 100 is 28.999... in floating point.
    assert schedule.iterations(value, total) == expected


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (1, 1),
        (100_000, 100_000),
        ("1/16", Fraction(1, 16)),
        ("5%", Fraction(1, 20)),
        (0.0625, Fraction(1, 16)),
        (0.1, Fraction(1, 10)),
        (1.0, 1),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_counts_are_numbers_or_shares(value, parsed):
    assert schedule.parse_count(value) == parsed


@pytest.mark.parametrize(
    "value", [0, -1, 0.0, 1.5, "2", "0", "1/0", "", "x%", True, None, math.inf, math.nan]
)
def test_other_counts_are_refused(value):
    with pytest.raises(ValueError) as error:
        schedule.parse_count(value)
    rule = "must be a count of at least 1, or a share in (0, 1] such as 1/16 or 5%"
    assert str(error.value) == f"{rule}, got {value!r}"


@pytest.mark.parametrize("number", ["1e999999999", "1E+99_999_999", "1e-999999999", "0." + "0" * 99 + "1"])
def test_a_number_that_would_fill_the_memory_is_none(number):
    """Text of a configuration may be a stranger's."""
    for read, text in ((schedule.parse_count, number), (schedule.parse_count, f"{number}%")):
        with pytest.raises(ValueError, match="must be a count"):
            read(text)
    with pytest.raises(ValueError, match="must be a number of iterations"):
        schedule.parse_duration(f"{number}%")


def test_the_integer_one_is_a_pixel_and_the_float_one_is_all():
    assert type(schedule.parse_count(1)) is int
    assert type(schedule.parse_count(1.0)) is Fraction


def test_ramp_by_hand():
    values = [schedule.ramp(i, start=2, end=6, before=1.0, after=0.2) for i in range(9)]
    assert values == pytest.approx([1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_ramp_ends_are_exact():
    assert schedule.ramp(100, start=3, end=100, before=1.0, after=0.1) == 0.1
    assert schedule.ramp(3, start=3, end=100, before=1.0, after=0.1) == 1.0


def test_ramp_without_length_is_a_step():
    values = [schedule.ramp(i, start=4, end=4, before=1.0, after=0.5) for i in (3, 4, 5)]
    assert values == [1.0, 0.5, 0.5]


def test_due_each_period_and_at_the_end():
    assert [i for i in range(1, 11) if schedule.due(i, 4, total=10)] == [4, 8, 10]
    assert [i for i in range(1, 9) if schedule.due(i, 4, total=8)] == [4, 8]
    assert [i for i in range(1, 4) if schedule.due(i, 100, total=3)] == [3]


def test_due_zero_is_never():
    assert not any(schedule.due(i, 0, total=10) for i in range(11))


def linear_decay(progress):
    return 1.0 - progress


def test_learning_rate_by_hand():
    rates = [schedule.learning_rate(i, base=2.0, total=4, shape=linear_decay) for i in range(5)]
    assert rates == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])


def test_warmup_climbs_in_equal_steps_to_the_base_rate():
    rates = [schedule.learning_rate(i, base=8.0, total=7, shape=linear_decay, warmup=3) for i in range(7)]
    # Updates 0-2 climb; update 3 is the first at the base rate, and the decay takes the other four.
    assert rates == pytest.approx([2.0, 4.0, 6.0, 8.0, 6.0, 4.0, 2.0])


def test_warmup_factor_is_where_the_climb_starts():
    rate = schedule.learning_rate(0, base=1.0, total=10, shape=linear_decay, warmup=1, warmup_factor=0.5)
    assert rate == pytest.approx(0.75)
    flat = [
        schedule.learning_rate(i, base=1.0, total=10, shape=linear_decay, warmup=4, warmup_factor=1.0)
        for i in range(5)
    ]
    assert flat == [1.0] * 5


def test_progress_stays_in_the_unit_interval():
    seen = []
    for warmup in (0, 5, 10):
        for iteration in range(11):
            schedule.learning_rate(
                iteration, base=1.0, total=10, shape=lambda p: seen.append(p) or 1.0, warmup=warmup
            )
    assert min(seen) == 0.0 and max(seen) == 1.0


def test_importing_the_schedule_imports_nothing_heavy():
    code = (
        "import sys, segkit.schedule, segkit.registry; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def fall(progress):
    return 1.0 - progress


def test_scheduled_goes_from_before_to_after():
    values = [schedule.scheduled(i, start=2, end=6, before=1.0, after=0.2, shape=fall) for i in range(9)]
    assert values == pytest.approx([1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    assert values[:3] == [1.0, 1.0, 1.0] and values[6:] == [0.2, 0.2, 0.2], "the ends are exact"


@pytest.mark.parametrize(("start", "end"), [(0, 10), (3, 4), (2, 9), (5, 5), (0, 0)])
def test_scheduled_with_a_straight_line_is_a_ramp(start, end):
    for i in range(12):
        ends = {"start": start, "end": end, "before": 0.9, "after": 0.15}
        assert schedule.scheduled(i, **ends, shape=fall) == pytest.approx(schedule.ramp(i, **ends), rel=1e-15)


def test_scheduled_in_one_step():
    values = [schedule.scheduled(i, start=4, end=4, before=1.0, after=0.5, shape=fall) for i in (3, 4, 5)]
    assert values == [1.0, 0.5, 0.5]


def test_a_shape_need_not_reach_the_end():
    values = [
        schedule.scheduled(i, start=0, end=2, before=1.0, after=0.0, shape=lambda p: 1 - p / 2)
        for i in range(4)
    ]
    assert values == [1.0, 0.75, 0.5, 0.5], "from `end` on it is the value at p = 1"


def test_a_shape_is_asked_for_0_to_1_only():
    asked = []
    for i in range(20):
        schedule.scheduled(i, start=5, end=10, before=1.0, after=0.0, shape=lambda p: asked.append(p) or 0.5)
    assert asked == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, *[1.0] * 10])


def value_of(factor, before, after):
    return schedule.scheduled(1, start=0, end=2, before=before, after=after, shape=lambda progress: factor)


def test_rounding_does_not_leave_the_range():
    assert 0.87 + (0.33 - 0.87) < 0.33  # what the formula alone would give
    assert value_of(1.0, 0.33, 0.87) == 0.33 and value_of(0.0, 0.33, 0.87) == 0.87
    for before, after in itertools.product([0.33, 0.87, 1.0, 0.07, 0.7000000000000001], repeat=2):
        for n in range(1, 50):
            low, high = sorted((before, after))
            assert low <= value_of(1 - 2.0**-53 * n, before, after) <= high
            assert low <= value_of(2.0**-53 * n, before, after) <= high
    assert value_of(0.3, 0.7, 0.7) == 0.7


def test_a_shape_may_leave_the_range():
    assert value_of(1.5, 1.0, 0.0) == 1.5 and value_of(-0.5, 1.0, 0.0) == -0.5
