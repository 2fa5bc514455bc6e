"""What a loss says of a run before it starts: the line on the console, and refusals with their literal text."""

import pytest
import torch

from segkit.errors import ConfigError
from segkit.losses import CrossEntropy, PixelLoss, TopShare, selected_mean
from segkit.registry import LOSSES


def build(name, **options):
    return LOSSES.get(name)(num_classes=2 if name == "bce" else 3, ignore_index=255, **options)


def refusal(loss, **run) -> str:
    with pytest.raises(ConfigError) as error:
        loss.check_run(**run)
    return str(error.value)


def test_a_warm_up_beyond_the_end_of_the_run():
    message = refusal(build("bootstrapped_ce"), iterations=4000, pixels_per_batch=1000)
    assert message == (
        "bootstrapped_ce would never start: start_warm=20000 but the run has 4000 iterations "
        "-> start_warm: 10%, end_warm: 50%"
    )


def test_the_last_iteration_counts():
    build("bootstrapped_ce", start_warm=99, end_warm=100).check_run(iterations=100, pixels_per_batch=9)
    refusal(build("bootstrapped_ce", start_warm=100, end_warm=100), iterations=100, pixels_per_batch=9)


def test_an_n_min_of_a_whole_batch():
    message = refusal(build("ohem_ce", n_min=100_000), iterations=4000, pixels_per_batch=65_536)
    assert message == "ohem_ce keeps every pixel: n_min=100000 but a batch has 65,536 -> n_min: 1/16"
    refusal(build("ohem_ce", n_min=65_536), iterations=4000, pixels_per_batch=65_536)
    refusal(build("ohem_ce", n_min=1.0), iterations=4000, pixels_per_batch=65_536)
    build("ohem_ce", n_min=65_535).check_run(iterations=4000, pixels_per_batch=65_536)


def test_allow_inactive():
    build("bootstrapped_ce", allow_inactive=True).check_run(iterations=10, pixels_per_batch=10)
    build("ohem_ce", n_min=100, allow_inactive=True).check_run(iterations=10, pixels_per_batch=10)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("bootstrapped_ce", {"top_p": 1.0}, "bootstrapped_ce keeps every pixel: top_p=1 -> top_p: 0.15"),
        (
            "pixel",
            {"selection": {"name": "top_share", "share": 1.0}},
            "pixel keeps every pixel: share=1 -> share: 0.15",
        ),
        (
            "pixel",
            {"selection": {"name": "top_k", "k": 1000}},
            "pixel keeps every pixel: k=1000 but a batch has 1,000 -> k: 62",
        ),
        (
            "pixel",
            {"selection": {"name": "ohem", "n_min": 5000}},
            "pixel keeps every pixel: n_min=5000 but a batch has 1,000 -> n_min: 1/16",
        ),
    ],
)
def test_other_selections_that_keep_every_pixel(name, options, message):
    run = {"iterations": 10**6, "pixels_per_batch": 1000}
    assert refusal(build(name, **options), **run) == message
    build(name, **options, allow_inactive=True).check_run(**run)


@pytest.mark.parametrize("name", ["ce", "weighted_mask_ce", "bce", "focal", "pixel"])
def test_losses_without_selection_run_always(name):
    build(name).check_run(iterations=1, pixels_per_batch=1)


def test_start_warm_after_end_warm():
    with pytest.raises(ValueError, match=r"^start_warm=30 is after end_warm=20; it must not be larger$"):
        build("bootstrapped_ce", start_warm=30, end_warm=20)


def test_a_share_of_the_run_from_python():
    with pytest.raises(ValueError) as error:
        build("bootstrapped_ce", start_warm="10%")
    assert str(error.value) == (
        "start_warm must be a number of iterations >= 0, got '10%' "
        "(a share of the run such as 10% is resolved only in a configuration)"
    )


def test_a_missing_weight_map_is_an_error_that_says_how_to_make_one():
    loss = build("weighted_mask_ce")
    assert loss.needs_weight
    with pytest.raises(ConfigError) as error:
        loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), iteration=0)
    assert str(error.value) == "weighted_mask_ce needs a weight map -> data.weight_map='{name: boundary}'"


@pytest.mark.parametrize("name", ["ce", "bootstrapped_ce", "ohem_ce"])
def test_the_others_need_no_weight_map(name):
    assert not build(name).needs_weight


@pytest.mark.parametrize(
    "name, options, line",
    [
        ("ce", {}, "ce"),
        ("ce", {"class_weights": [1.0, 2.5, 3.0]}, "ce  class_weights [1, 2.5, 3]"),
        ("ce", {"label_smoothing": 0.1}, "ce  label_smoothing 0.1"),
        ("weighted_mask_ce", {"normalize": "weights"}, "weighted_mask_ce  normalize weights"),
        ("bce", {"class_weights": [1.0, 3.0]}, "bce  class_weights [1, 3]"),
        ("focal", {}, "focal  gamma 2"),
        ("focal", {"gamma": 0.5, "alpha": [1.0, 2.0, 3.0]}, "focal  gamma 0.5  alpha [1, 2, 3]"),
        (
            "pixel",
            {"criterion": {"name": "focal"}, "selection": {"name": "top_k", "k": 2000}, "scope": "rank"},
            "pixel  reduction selected  k 2,000 of 262,144 pixels  gamma 2  scope rank",
        ),
        ("ohem_ce", {"thresh": 0.6}, "ohem_ce  thresh 0.6  n_min 1/16 (= 16,384 of 262,144 pixels)"),
        ("ohem_ce", {"n_min": 100_000}, "ohem_ce  thresh 0.7  n_min 100,000 of 262,144 pixels"),
        (
            "bootstrapped_ce",
            {"start_warm": 200, "end_warm": 1000},
            "bootstrapped_ce  top_p 0.15  start_warm 200  end_warm 1,000 (= 39,321 of 262,144 pixels in the end)",
        ),
        (
            "bootstrapped_ce",
            {"top_p": 0.1, "start_warm": 200, "end_warm": 3800},
            "bootstrapped_ce  top_p 0.1  start_warm 200  end_warm 3,800 (= 144,244 of 262,144 pixels in the end)",
        ),
    ],
)
def test_the_line_on_the_console(name, options, line):
    assert build(name, **options).describe(iterations=2000, pixels_per_batch=262_144) == line


def test_the_line_of_an_unnamed_composition():
    loss = PixelLoss(CrossEntropy(3, label_smoothing=0.1), TopShare(0.25), selected_mean)
    line = loss.describe(iterations=10, pixels_per_batch=1000)
    assert line == "pixel_loss  share 0.25 (= 250 of 1,000 pixels in the end)  label_smoothing 0.1"
