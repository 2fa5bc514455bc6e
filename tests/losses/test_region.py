"""Region losses: value and gradient against the loops, and what tells them apart."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import (
    cldice_loss,
    dice_loss,
    focal_tversky_loss,
    jaccard_loss,
    log_cosh_dice_loss,
    lovasz_loss,
    mcc_loss,
    tversky_loss,
    unified_focal_loss,
)
from segkit.registry import LOSSES
from tests.losses import region_reference
from tests.losses.cases import make_batch

REGIONS = {
    "dice": ("dice", {"smooth": 1.0}, region_reference.dice(1.0)),
    "dice, smooth 0": ("dice", {"smooth": 0.0}, region_reference.dice(0.0)),
    "jaccard": ("jaccard", {"smooth": 0.5}, region_reference.jaccard(0.5)),
    "tversky": (
        "tversky",
        {"alpha": 0.2, "beta": 0.9, "smooth": 2.0},
        region_reference.tversky(0.2, 0.9, 2.0),
    ),
    "lovasz": ("lovasz", {}, region_reference.lovasz),
    "focal tversky": (
        "focal_tversky",
        {"alpha": 0.2, "beta": 0.9, "gamma": 2.5, "smooth": 2.0},
        region_reference.focal_tversky(0.2, 0.9, 2.5, 2.0),
    ),
    "focal tversky, gamma below 1": (
        "focal_tversky",
        {"gamma": 0.5, "smooth": 0.0},
        region_reference.focal_tversky(0.3, 0.7, 0.5, 0.0),
    ),
    "log cosh dice": ("log_cosh_dice", {"smooth": 0.5}, region_reference.log_cosh_dice(0.5)),
    "unified focal": (
        "unified_focal",
        {"mix": 0.3, "delta": 0.7, "gamma": 0.2, "smooth": 0.1},
        region_reference.unified_focal(0.3, 0.7, 0.2, 0.1, symmetric=False),
    ),
    "unified focal, symmetric": (
        "unified_focal",
        {"mix": 0.6, "delta": 0.4, "gamma": 0.7, "symmetric": True, "background": [1]},
        region_reference.unified_focal(0.6, 0.4, 0.7, 1e-6, symmetric=True, background=(1,)),
    ),
    "mcc": ("mcc", {"smooth": 0.5}, region_reference.mcc(0.5)),
    "mcc, smooth 0": ("mcc", {"smooth": 0.0}, region_reference.mcc(0.0)),
}
FUNCTIONS = {
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "tversky": tversky_loss,
    "lovasz": lovasz_loss,
    "focal_tversky": focal_tversky_loss,
    "log_cosh_dice": log_cosh_dice_loss,
    "unified_focal": unified_focal_loss,
    "mcc": mcc_loss,
}
#: Those that are 1 where everything is wrong.
TO_ONE = ("dice", "jaccard", "tversky", "lovasz", "focal_tversky")


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("with_map", [False, True])
@pytest.mark.parametrize("region", REGIONS)
def test_value_and_gradient_equal_the_loops(region, with_map, classes):
    name, options, form = REGIONS[region]
    for shape in ((2, 3, 3, 4), (1, 2, 5, 3), (1, 4, 1, 1)):
        batch = make_batch(shape, shape[2:], dtype=torch.float64, ignored=True)
        batch.target[batch.target == 1] = 0  # a class is absent
        weight = batch.weight if with_map else None
        how = {"weight": weight, "classes": classes}
        loss, _ = LOSSES.get(name)(num_classes=shape[1], classes=classes, **options)(
            batch.logits, batch.target, weight, iteration=0
        )
        assert loss.item() == pytest.approx(
            region_reference.value(form, batch.logits, batch.target, **how), abs=1e-12
        )
        (slope,) = torch.autograd.grad(loss, batch.logits)
        expected = region_reference.gradient(form, batch.logits, batch.target, **how)
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-9)
        function = FUNCTIONS[name](batch.logits, batch.target, weight, classes=classes, **options)
        assert function.item() == loss.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("region", REGIONS)
def test_arithmetic_is_fp32_whatever_the_logits_are(region, dtype):
    name, options, form = REGIONS[region]
    batch = make_batch(dtype=dtype, ignored=True)
    loss, _ = LOSSES.get(name)(num_classes=3, **options)(batch.logits, batch.target, iteration=0)
    loss.backward()
    expected = region_reference.value(form, batch.logits, batch.target, classes="present")
    assert loss.dtype == torch.float32 and batch.logits.grad.dtype == dtype
    assert loss.item() == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("shape", [(7, 4), (2, 4, 9), (2, 4, 3, 2, 5)], ids=str)
def test_any_number_of_trailing_dimensions(region, shape):
    name, options, _ = REGIONS[region]
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, 4, (shape[0], *shape[2:]))
    pixels = logits.movedim(1, -1).reshape(-1, 4)
    loss = LOSSES.get(name)(num_classes=4, **options)
    value, _ = loss(logits, target, iteration=0)
    flat, _ = loss(pixels, target.reshape(-1), iteration=0)
    torch.testing.assert_close(value, flat)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_hot_labels_equal_hard_labels(name):
    batch = make_batch(ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    hard = FUNCTIONS[name](batch.logits, batch.target, batch.weight)
    soft = FUNCTIONS[name](batch.logits, one_hot, batch.weight)
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(*(torch.autograd.grad(v, batch.logits)[0] for v in (soft, hard)))


def perfect(target):
    return 200 * F.one_hot(target, 3).movedim(-1, 1).float()


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_perfect_prediction_is_0(name, classes):
    target = make_batch().target
    target[target == 2] = 0
    options = {} if name == "lovasz" else {"smooth": 0.0}
    assert FUNCTIONS[name](perfect(target), target, classes=classes, **options).item() == 0


def test_an_entirely_wrong_prediction_is_1():
    target = make_batch().target
    logits = perfect((target + 1) % 3)
    for name in TO_ONE:
        options = {} if name == "lovasz" else {"smooth": 0.0}
        assert FUNCTIONS[name](logits, target, **options).item() == pytest.approx(1)


def test_special_cases_of_tversky():
    batch = make_batch(ignored=True)
    tversky = tversky_loss(batch.logits, batch.target, alpha=0.5, beta=0.5, smooth=0.5)
    torch.testing.assert_close(tversky, dice_loss(batch.logits, batch.target, smooth=1.0))
    tversky = tversky_loss(batch.logits, batch.target, alpha=1.0, beta=1.0, smooth=1.0)
    torch.testing.assert_close(tversky, jaccard_loss(batch.logits, batch.target, smooth=1.0))


def test_lovasz_and_jaccard_are_1_minus_iou_for_hard_predictions():
    target, other = make_batch(seed=1).target, make_batch(seed=2).target
    iou = [((target == c) & (other == c)).sum() / ((target == c) | (other == c)).sum() for c in range(3)]
    expected = 1 - torch.stack(iou).mean()
    torch.testing.assert_close(lovasz_loss(perfect(other), target), expected)
    torch.testing.assert_close(jaccard_loss(perfect(other), target, smooth=0.0), expected)


def test_a_weight_of_2_counts_a_pixel_twice():
    batch = make_batch((1, 3, 1, 6), (1, 6))
    weight = torch.tensor([[[1.0, 2.0, 1.0, 2.0, 0.0, 1.0]]])
    twice = torch.tensor([0, 1, 1, 2, 3, 3, 5])
    for form in FUNCTIONS.values():
        weighted = form(batch.logits, batch.target, weight)
        repeated = form(batch.logits[..., twice], batch.target[..., twice])
        torch.testing.assert_close(weighted, repeated)
        torch.testing.assert_close(*(torch.autograd.grad(v, batch.logits)[0] for v in (weighted, repeated)))


def test_pixels_that_tie_in_lovasz_have_the_same_gradient():
    logits = torch.tensor(
        [[0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, 0.5], [0.5, -0.5]], requires_grad=True
    )
    target = torch.tensor([0, 1, 1, 0, 1])
    lovasz_loss(logits, target).backward()
    torch.testing.assert_close(logits.grad[1], logits.grad[4], rtol=0, atol=0)


def test_where_errors_tie_in_lovasz_true_pixels_come_first():
    """All errors are 1/2. Of class 0 the two true pixels raise 1 - IoU from 0 to 1, and the other one adds nothing."""
    logits = torch.zeros(3, 2, requires_grad=True)
    lovasz_loss(logits, torch.tensor([1, 0, 0])).backward()
    expected = torch.tensor([[0.125, -0.125], [-0.0625, 0.0625], [-0.0625, 0.0625]])
    torch.testing.assert_close(logits.grad, expected)


def test_pixels_that_tie_in_lovasz_share_their_slope_by_weight():
    logits = torch.zeros(3, 2, requires_grad=True)
    lovasz_loss(logits, torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 1.0])).backward()
    torch.testing.assert_close(logits.grad[1], 3 * logits.grad[0])


def test_lovasz_over_a_million_pixels_keeps_its_precision():
    """Neighbours on a curve of a million steps differ by less than fp32 can tell."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 1024, 1024, generator=generator)
    target = torch.randint(0, 2, (1, 1024, 1024), generator=generator)
    single = lovasz_loss(logits, target)
    assert single.item() == pytest.approx(lovasz_loss(logits.double(), target).item(), rel=1e-6)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("dice", {"smooth": -1.0}, "smooth must be a number >= 0, got -1.0"),
        ("jaccard", {"smooth": float("inf")}, "smooth must be a number >= 0, got inf"),
        ("tversky", {"alpha": -0.1}, "alpha must be a number >= 0, got -0.1"),
        ("tversky", {"beta": float("nan")}, "beta must be a number >= 0, got nan"),
        ("focal_tversky", {"gamma": 0.0}, "gamma must be a number > 0, got 0.0"),
        ("focal_tversky", {"beta": -1.0}, "beta must be a number >= 0, got -1.0"),
        ("log_cosh_dice", {"smooth": -1.0}, "smooth must be a number >= 0, got -1.0"),
        ("unified_focal", {"mix": 1.5}, "mix must be in [0, 1], got 1.5"),
        ("unified_focal", {"delta": -0.5}, "delta must be in [0, 1], got -0.5"),
        ("unified_focal", {"gamma": 1.0}, "gamma must be in [0, 1), got 1.0"),
        (
            "unified_focal",
            {"background": [0, 3]},
            "background must name at least one of the 3 classes (0-2) and not all, got [0, 3]",
        ),
        (
            "unified_focal",
            {"background": [0, 2, 1]},
            "background must name at least one of the 3 classes (0-2) and not all, got [0, 1, 2]",
        ),
        ("mcc", {"smooth": float("nan")}, "smooth must be a number >= 0, got nan"),
        ("lovasz", {"classes": "some"}, "classes must be one of present, all, got 'some'"),
    ],
)
def test_options_out_of_range(name, options, message):
    batch = make_batch()
    for call in (
        lambda: LOSSES.get(name)(num_classes=3, **options),
        lambda: FUNCTIONS[name](batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_the_line_on_the_console():
    run = {"iterations": 10, "pixels_per_batch": 1000}
    assert LOSSES.get("dice")(num_classes=3).describe(**run) == "dice  smooth 1  classes present"
    line = "tversky  alpha 0.3  beta 0.7  smooth 1  classes present"
    assert LOSSES.get("tversky")(num_classes=3).describe(**run) == line
    assert LOSSES.get("lovasz")(num_classes=3, classes="all").describe(**run) == "lovasz  classes all"


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("sure", [60.0, 80.0, 87.0, 90.0, 100.0, 104.0])
@pytest.mark.parametrize(
    "function",
    [
        dice_loss,
        partial(dice_loss, form="metric"),
        jaccard_loss,
        tversky_loss,
        partial(focal_tversky_loss, gamma=0.2),
        log_cosh_dice_loss,
        unified_focal_loss,
        mcc_loss,
        cldice_loss,
    ],
)
def test_the_slope_is_finite_where_next_to_nothing_of_an_absent_class_was_predicted(function, sure, classes):
    """Its mass goes to 0 through the smallest floats, of which 1 / mass is infinite."""
    logits = torch.tensor([0.0, sure]).view(1, 2, 1, 1).requires_grad_()
    loss = function(logits, torch.ones(1, 1, 1, dtype=torch.long), smooth=0.0, classes=classes)
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert slope.abs().max() < 1e-6
