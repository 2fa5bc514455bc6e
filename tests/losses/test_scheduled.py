"""A loss whose options follow schedules: the value is that of the loss built with the options of the iteration."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from segkit.errors import ConfigError
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.registry import LOSSES, SCHEDULES
from tests.losses.cases import make_batch

LINEAR, STEP = SCHEDULES.get("linear"), SCHEDULES.get("step")


def way(before, after, start=0, end=10, **options):
    return Schedule("linear", LINEAR, before, after, start, end, **options)


def ohem(**options):
    return partial(LOSSES.get("ohem_ce"), num_classes=3, **options)


def refusal(loss, iterations=100, pixels=10_000) -> str:
    with pytest.raises(ConfigError) as error:
        loss.check_run(iterations=iterations, pixels_per_batch=pixels)
    return str(error.value)


class Plain(nn.Module):
    """A loss of somebody else's, without anything that is optional; it draws when it is made."""

    def __init__(self, gamma):
        super().__init__()
        if gamma > 5:
            raise ValueError(f"gamma must be at most 5, got {gamma}")
        self.gamma, self.drawn = gamma, torch.rand(3)

    def forward(self, logits, target, weight=None, *, iteration):
        return self.gamma * logits.mean(), {"drawn": self.drawn.sum()}


# --- one schedule


def test_a_schedule_is_a_function_of_the_iteration():
    assert [way(0.9, 0.6, 2, 5)(i) for i in range(7)] == pytest.approx([0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6])
    assert [way(10, 7, 0, 6, whole=True)(i) for i in range(7)] == [10, 10, 9, 8, 8, 8, 7]
    assert all(type(way(10, 7, whole=True)(i)) is int for i in range(12))


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (way(0.9, 0.6, 200, 1000), "0.9 -> 0.6 linear over 200-1,000"),
        (way(1000, 50, whole=True), "1000 -> 50 linear over 0-10"),
        (Schedule("constant", SCHEDULES.get("constant"), 0.5, 0.5, 0, 0), "0.5 constant"),
    ],
)
def test_a_schedule_in_words(schedule, text):
    assert str(schedule) == text


def test_a_schedule_that_ends_before_it_starts():
    with pytest.raises(ValueError, match=r"^start=5 is after end=3; it must not be larger$"):
        way(1, 0, 5, 3)


# --- the loss


@pytest.mark.parametrize("iteration", [0, 1, 3, 7, 10, 50])
def test_value_gradient_and_metrics_are_those_of_the_loss_built_by_hand(iteration):
    thresh, n_min = way(0.9, 0.2), way(60, 5, 2, 8, whole=True)
    loss = Scheduled(ohem(), {"thresh": thresh, "n_min": n_min})
    by_hand = ohem(thresh=thresh(iteration), n_min=n_min(iteration))()
    one, two = make_batch(ignored=True), make_batch(ignored=True)
    value, metrics = loss(one.logits, one.target, one.weight, iteration=iteration)
    expected, plain = by_hand(two.logits, two.target, two.weight, iteration=iteration)
    value.backward()
    expected.backward()
    assert torch.equal(value, expected) and torch.equal(one.logits.grad, two.logits.grad)
    added = {"schedule_thresh": thresh(iteration), "schedule_n_min": float(n_min(iteration))}
    assert list(metrics) == [*plain, *added]
    assert {key: metrics[key] for key in added} == added and all(type(metrics[key]) is float for key in added)
    report, same = (part.pixels(one.logits, one.target, iteration=iteration) for part in (loss, by_hand))
    assert torch.equal(report.kept, same.kept)
    assert torch.equal(loss.denominator(one.target), by_hand.denominator(one.target))


def test_the_schedule_moves_the_value():
    loss, batch = Scheduled(ohem(n_min=1), {"thresh": way(1.0, 0.05)}), make_batch()
    kept = [float(loss(batch.logits, batch.target, iteration=i)[1]["kept_fraction"]) for i in range(0, 11, 2)]
    assert kept == sorted(kept, reverse=True) and len(set(kept)) > 3


def test_what_happened_between_changes_nothing():
    loss, batch = Scheduled(ohem(), {"thresh": way(0.9, 0.1, 2, 8)}), make_batch(ignored=True)

    def value(iteration):
        return loss(batch.logits, batch.target, iteration=iteration)[0].item()

    first = [value(i) for i in range(12)]
    loss.eval()
    loss.pixels(batch.logits, batch.target, iteration=3)
    assert [value(i) for i in reversed(range(12))] == first[::-1]
    assert len(set(first)) > 3


def test_equal_values_build_one_loss():
    built = []

    def construct(**values):
        built.append(values)
        return ohem(**values)()

    loss, batch = Scheduled(construct, {"thresh": way(0.9, 0.6, 5, 7)}), make_batch()
    for iteration in (0, 1, 2, 5):
        loss(batch.logits, batch.target, iteration=iteration)
        loss.pixels(batch.logits, batch.target, iteration=iteration)
    assert len(built) == 1
    loss(batch.logits, batch.target, iteration=6)
    loss.denominator(batch.target)
    loss(batch.logits, batch.target, iteration=6)
    assert len(built) == 2


def test_the_iteration_is_needed():
    loss, batch = Scheduled(ohem(), {"thresh": way(0.9, 0.6)}, name="ohem_ce"), make_batch()
    with pytest.raises(TypeError, match="iteration"):
        loss(batch.logits, batch.target)
    with pytest.raises(TypeError, match=r"^ohem_ce needs the iteration, got None$"):
        loss(batch.logits, batch.target, iteration=None)


def test_nothing_is_saved_or_trained_and_copies_are_the_same():
    loss, batch = Scheduled(ohem(), {"thresh": way(0.9, 0.6)}), make_batch()
    assert loss.state_dict() == {} and not list(loss.parameters())
    expected = loss(batch.logits, batch.target, iteration=4)[0]
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(batch.logits, batch.target, iteration=4)[0], expected)


def test_the_loss_follows_the_device_and_the_mode():
    loss = Scheduled(ohem(class_weights=[1.0, 2.0, 3.0]), {"thresh": way(0.9, 0.6)})
    before = loss.at(3)
    loss.to("meta")
    assert loss.at(3).criterion.class_weights.device.type == "meta"
    assert loss.at(4).criterion.class_weights.device.type == "meta"
    assert loss.denominator(torch.zeros(1, 2, 2, dtype=torch.int64, device="meta")).device.type == "meta"
    assert before.training and not loss.eval().at(3).training


# --- losses of other people


def test_what_a_loss_does_not_have_is_not_there():
    loss = Scheduled(Plain, {"gamma": way(0.0, 2.0)}, name="plain")
    for method in ("pixels", "denominator", "logits_channels"):
        assert not hasattr(loss, method)
    assert not loss.needs_weight
    loss.check_run(iterations=10, pixels_per_batch=10)
    line = loss.describe(iterations=10, pixels_per_batch=10)
    assert line == "plain  scheduled: gamma 0 -> 2 linear over 0-10"


def test_what_a_loss_has_is_there():
    loss = Scheduled(partial(LOSSES.get("bce"), 2), {"label_smoothing": way(0.1, 0.0)})
    assert loss.logits_channels == 1
    weighted = Scheduled(partial(Weighted, num_classes=3), {"x": way(0.0, 1.0)})
    assert weighted.needs_weight


def Weighted(num_classes, x):
    return LOSSES.get("weighted_mask_ce")(num_classes)


def test_a_constructor_that_draws_gives_one_loss_and_leaves_the_runs_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    loss, batch = Scheduled(Plain, {"gamma": way(0.0, 2.0)}), make_batch()
    drawn = {float(loss(batch.logits, batch.target, iteration=i)[1]["drawn"]) for i in (0, 3, 6, 0)}
    assert len(drawn) == 1
    assert torch.equal(torch.rand(4), expected)


# --- before a run


def test_a_schedule_that_never_starts():
    loss = Scheduled(ohem(), {"thresh": way(0.9, 0.6, 20_000, 30_000, key="loss.thresh")})
    assert refusal(loss, iterations=4000) == (
        "loss.thresh: its schedule would never start: start=20000 but the run has 4000 iterations "
        "-> start: 10%, end: 50%"
    )
    loss.check_run(iterations=20_001, pixels_per_batch=10_000)
    assert "never start" in refusal(loss, iterations=20_000)
    Scheduled(ohem(), loss.schedules, allow_inactive=True).check_run(iterations=10, pixels_per_batch=10_000)


def test_every_schedule_that_never_starts_is_said():
    loss = Scheduled(ohem(), {"thresh": way(0.9, 0.6, 50, 60), "n_min": way(9, 1, 70, 80, whole=True)})
    with pytest.raises(ConfigError) as error:
        loss.check_run(iterations=10, pixels_per_batch=10_000)
    assert len(error.value.problems) == 2


def test_a_value_that_its_option_cannot_have_is_found_before_the_run():
    def too_far(progress):
        return 1 - 3 * progress

    out = Schedule(
        "dive",
        too_far,
        1.0,
        0.5,
        0,
        99,
        key="loss.thresh",
        refuses=lambda v: None if v > 0 else "must be > 0",
    )
    assert refusal(Scheduled(lambda thresh: ohem()(), {"thresh": out})) == (
        "loss.thresh: must be > 0, but its schedule gives -0.030303 at iteration 68"
    )


def test_a_value_that_the_constructor_refuses_is_found_before_the_run():
    loss = Scheduled(Plain, {"gamma": way(0.0, 6.0, 0, 12)})
    loss.check_run(iterations=11, pixels_per_batch=1)
    assert refusal(loss, iterations=12) == (
        "gamma must be at most 5, got 5.5 (at iteration 11, where the schedules give gamma 5.5)"
    )


def test_an_out_of_range_value_between_the_ends_is_found():
    def bump(progress):
        return 1 + 8 * progress * (1 - progress)

    loss = Scheduled(Plain, {"gamma": Schedule("bump", bump, 3.0, 0.0, 0, 1000)})
    assert "gamma must be at most 5" in refusal(loss, iterations=100_000)


def test_a_loss_that_does_nothing_part_of_the_run_is_fine_and_throughout_is_not():
    shrinking = Scheduled(ohem(), {"n_min": way(10_000, 10, 0, 100, whole=True)})
    growing = Scheduled(ohem(), {"n_min": way(10, 10_000, 0, 50, whole=True)})
    for loss in (shrinking, growing):
        loss.check_run(iterations=100, pixels_per_batch=10_000)
    whole = Scheduled(ohem(), {"n_min": way(20_000, 10_000, 0, 100, whole=True)})
    assert refusal(whole).startswith("ohem_ce keeps every pixel: n_min=10100 but a batch has 10,000")
    inactive = Scheduled(ohem(allow_inactive=True), whole.schedules)
    inactive.check_run(iterations=100, pixels_per_batch=10_000)


def test_the_line_on_the_console():
    loss = Scheduled(ohem(), {"thresh": way(0.9, 0.6, 200, 1000)}, name="ohem_ce")
    assert loss.describe(iterations=2000, pixels_per_batch=262_144) == (
        "ohem_ce  thresh 0.6  n_min 1/16 (= 16,384 of 262,144 pixels)  "
        "scheduled: thresh 0.9 -> 0.6 linear over 200-1,000"
    )
