"""Criteria that look at all logits of a pixel or at its neighbours, by compiled loops: equal to plain PyTorch's."""

import pytest
import torch

from segkit.losses.criteria.border_relaxed_ce import find_near_classes, pixel_border_relaxed
from segkit.losses.criteria.focal import pixel_focal
from segkit.losses.criteria.function_of_ce import Curve
from segkit.losses.criteria.generalized_ce import pixel_generalized
from segkit.losses.criteria.logit_adjusted_ce import pixel_logit_adjusted
from segkit.losses.criteria.margin_smoothing_ce import pixel_margin_smoothing
from segkit.losses.criteria.poly_ce import pixel_poly
from segkit.losses.criteria.spatial_smoothing_ce import (
    pixel_spatial_smoothing,
    smooth_labels,
    window_weights,
)
from segkit.losses.criteria.symmetric_ce import pixel_symmetric
from segkit.losses.kernels import choice
from segkit.losses.kernels.labels import LabelError, read_labels
from segkit.losses.regions.boundary import pixel_signed_distance
from tests.losses.cases import make_batch


def pixel_adjusted(logits, target, *, tau: float = 1.0, **more):
    """With priors of as many classes as there are, each three times as rare as the one before."""
    priors = 3.0 ** -torch.arange(logits.shape[1], dtype=torch.float64)
    return pixel_logit_adjusted(logits, target, priors=priors, tau=tau, **more)


def focal_of_two(ce):
    from segkit.losses.kernels.cpu.criteria import focal_of

    return focal_of(ce, 2.0)


def pixel_focal_weighted(logits, target, *, class_weights=None, **more):
    return pixel_focal(logits, target, alpha=class_weights, **more)


CRITERIA = {
    "poly": (pixel_poly, {"epsilon": 2.0}),
    "poly, below 0": (pixel_poly, {"epsilon": -1.0}),
    "symmetric": (pixel_symmetric, {"alpha": 0.1, "beta": 1.0}),
    "symmetric, reverse alone": (pixel_symmetric, {"alpha": 0.0}),
    "generalized": (pixel_generalized, {}),
    "generalized, nearly ce": (pixel_generalized, {"q": 1e-6}),
    "focal": (pixel_focal_weighted, {}),
    "focal, root": (pixel_focal_weighted, {"gamma": 0.5}),
    "focal, strong": (pixel_focal_weighted, {"gamma": 5.0}),
    "focal, none": (pixel_focal_weighted, {"gamma": 0.0}),
    "margin": (pixel_margin_smoothing, {"margin": 1.0, "strength": 0.3}),
    "margin, none beyond": (pixel_margin_smoothing, {"margin": 100.0}),
    "margin of 0": (pixel_margin_smoothing, {"margin": 0.0}),
    "relaxed": (pixel_border_relaxed, {}),
    "relaxed, wide": (pixel_border_relaxed, {"radius": 3}),
    "relaxed, own class": (pixel_border_relaxed, {"radius": 0}),
    "smoothed": (pixel_spatial_smoothing, {}),
    "smoothed, wide": (pixel_spatial_smoothing, {"radius": 10, "sigma": 4.0}),
    "smoothed, own class": (pixel_spatial_smoothing, {"radius": 0}),
    "distance": (pixel_signed_distance, {}),
    "distance, some classes": (pixel_signed_distance, {"only": (2, 0)}),
    "adjusted": (pixel_adjusted, {}),
    "adjusted, not at all": (pixel_adjusted, {"tau": 0.0}),
    "adjusted, by much": (pixel_adjusted, {"tau": 2.0}),  # of 19 classes by too much for one pass
}
every_criterion = pytest.mark.parametrize("case", CRITERIA)
#: Those that have class weights.
WEIGHTED = [case for case in CRITERIA if not case.startswith("distance")]
DIGITS = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture(autouse=True)
def small_batches_too(monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)


def smooth_blocks(target):
    """Labels of areas of some pixels, in which some windows have one class and some have several."""
    return (
        target[:, ::3, ::4]
        .repeat_interleave(3, dim=1)
        .repeat_interleave(4, dim=2)[:, : target.shape[1], : target.shape[2]]
    )


def compute(case, logits, target, factor, **more):
    function, options = CRITERIA[case]
    logits = logits.detach().requires_grad_()
    values = function(logits, target, **options, **more)
    gradient = torch.autograd.grad((values.value * factor.to(values.value.dtype)).sum(), logits)[0]
    return values, gradient


def assert_equal_to_reference(case, logits, target, factor, **more):
    values, gradient = compute(case, logits, target, factor, **more)
    assert values.fused is not None and values.fused.backend == "numba"
    double = {k: v.double() if torch.is_tensor(v) else v for k, v in more.items()}
    expected, expected_gradient = compute(case, logits.detach().double(), target, factor, **double)
    assert expected.fused is None
    for name in ("value", "ce", "class_weight"):
        one, other = getattr(values, name).double(), getattr(expected, name)
        torch.testing.assert_close(
            one, other, rtol=2e-5, atol=5e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    for name in ("valid", "wrong", "label"):
        assert torch.equal(getattr(values, name), getattr(expected, name)), name
    digits = DIGITS[logits.dtype]
    largest = max(expected_gradient.abs().max(), 0.05)  # probabilities have an error of about 1e-7
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=digits, atol=digits * largest)
    return gradient


@every_criterion
@pytest.mark.parametrize("size", [(9, 13), (24, 40)], ids=["same size", "resized"])
@pytest.mark.parametrize("classes", [3, 19])
def test_value_and_gradient(case, size, classes):
    batch = make_batch((2, classes, 9, 13), size, ignored=True)
    for target in (batch.target, smooth_blocks(batch.target)):
        assert_equal_to_reference(case, 4 * batch.logits, target, batch.weight)


@pytest.mark.parametrize("case", [case for case in CRITERIA if case.startswith(("relaxed", "smoothed"))])
def test_many_classes_and_long_rows(case):
    """More classes than bits of a word, rows of more than a block of pixels, and areas of a single class."""
    batch = make_batch((1, 40, 5, 300), (5, 300), ignored=True)
    target = smooth_blocks(batch.target)
    target[:, :, 100:180] = 35
    assert_equal_to_reference(case, batch.logits, target, batch.weight)


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("classes", [3, 31, 32, 40, 100])
def test_which_other_class_is_near(classes, radius):
    from segkit.losses.kernels.cpu.criteria import find_second
    from segkit.losses.kernels.cpu.loops.criteria.slots import NONE, SEVERAL

    single = make_batch((2, classes, 70, 13), (70, 13), ignored=True).target
    for target in (single, smooth_blocks(single)):
        labels = read_labels(target, 255)
        near = find_near_classes(labels, radius, classes=classes).scatter(1, labels.label.unsqueeze(1), False)
        expected = near.int().argmax(dim=1)
        expected[near.sum(dim=1) == 0] = NONE
        expected[near.sum(dim=1) > 1] = SEVERAL
        second, _ = find_second(target.to(torch.uint8), radius, classes, 255)
        assert torch.equal(second.long(), torch.where(labels.valid, expected, NONE))


@pytest.mark.parametrize("radius", [0, 1, 4])
def test_what_the_own_class_weighs(radius):
    from segkit.losses.kernels.cpu.criteria import find_second

    target = smooth_blocks(make_batch((2, 5, 40, 150), (40, 150), ignored=True).target)
    target[:, :, 80:120] = 3
    labels = read_labels(target, 255)
    soft = smooth_labels(labels, 1.5, radius, classes=5, dtype=torch.float64)
    window = [weight for _, weight in window_weights(1.5, radius)]
    _, share = find_second(target, radius, 5, 255, window)
    expected = soft.gather(1, labels.label.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(share[labels.valid].double(), expected[labels.valid], rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", ["relaxed", "smoothed"])
def test_more_classes_than_are_compared_are_left_to_plain_operations(case, monkeypatch):
    monkeypatch.setattr("segkit.losses.kernels.cpu.criteria.MOST_CLASSES", 4)
    for classes in (4, 5):
        batch = make_batch((1, classes, 9, 13), (9, 13), ignored=True)
        values, _ = compute(case, batch.logits, batch.target, batch.weight)
        assert (values.fused is None) == (classes == 5)


@pytest.mark.parametrize("case", WEIGHTED)
def test_class_weights(case):
    batch = make_batch((2, 3, 9, 13), (9, 13), ignored=True)
    weights = torch.tensor([0.5, 0.0, 4.0])
    assert_equal_to_reference(
        case, batch.logits, smooth_blocks(batch.target), batch.weight, class_weights=weights
    )


@every_criterion
@pytest.mark.parametrize("dtype", DIGITS, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layouts_and_dtypes(case, dtype, memory_format):
    for target_dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        batch = make_batch((2, 5, 9, 13), (9, 13), dtype=dtype)
        logits = batch.logits.detach().to(memory_format=memory_format)
        target = smooth_blocks(batch.target).to(target_dtype)
        gradient = assert_equal_to_reference(case, logits, target, batch.weight)
        assert gradient.is_contiguous(memory_format=memory_format)


@every_criterion
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2)], ids=str)
def test_images_smaller_than_a_window(case, size):
    batch = make_batch((2, 3, *size), size)
    assert_equal_to_reference(case, batch.logits, batch.target, batch.weight)


@every_criterion
def test_large_gradients_are_written_past_the_caches(case, monkeypatch):
    monkeypatch.setattr("segkit.losses.kernels.cpu.cross_entropy.CACHES", 0)
    batch = make_batch((2, 3, 9, 13), (9, 13), ignored=True)
    assert_equal_to_reference(case, batch.logits, batch.target, batch.weight)


@every_criterion
def test_sure_predictions_right_and_wrong(case):
    """Probabilities that are 0 or 1 in fp32, among them pixels of which no near class has any."""
    batch = make_batch((2, 4, 9, 13), (9, 13), ignored=True)
    target = smooth_blocks(batch.target)
    for shift in (0, 1):
        sure = torch.where(target == 255, 0, target + shift) % 4
        logits = 150 * torch.nn.functional.one_hot(sure, 4).movedim(-1, 1).float()
        assert_equal_to_reference(case, logits, target, batch.weight)


@every_criterion
def test_what_stands_at_ignored_pixels_does_not_matter(case):
    batch = make_batch((2, 4, 9, 13), (9, 13), ignored=True)
    ignored = batch.target == 255
    values, gradient = compute(case, batch.logits, batch.target, batch.weight)
    logits = batch.logits.detach().clone()
    logits.movedim(1, -1)[ignored] = torch.nan
    again, same = compute(case, logits, batch.target, batch.weight)
    assert torch.equal(again.value, values.value) and torch.equal(same, gradient)
    assert not gradient.movedim(1, -1)[ignored].any() and not values.value[ignored].any()


@every_criterion
def test_nan_at_a_valid_pixel_is_seen(case):
    batch = make_batch((1, 3, 6, 7), (6, 7))
    logits = batch.logits.detach().clone()
    logits[0, :, 2, 3] = torch.nan
    values, gradient = compute(case, logits, batch.target, batch.weight)
    assert values.value[0, 2, 3].isnan() and gradient[0, :, 2, 3].isnan().all()
    assert values.value.isnan().sum() == 1


@every_criterion
def test_no_slope_no_gradient(case):
    batch = make_batch((1, 3, 6, 7), (6, 7))
    _, gradient = compute(case, batch.logits, batch.target, torch.zeros_like(batch.weight))
    assert not gradient.any()


@every_criterion
def test_errors_are_those_of_every_way(case):
    function, options = CRITERIA[case]
    batch = make_batch((1, 3, 6, 7), (6, 7))
    batch.target[0, 1, 2] = 9
    with pytest.raises(LabelError, match=r"the target has ids 9 but the logits have 3 classes"):
        function(batch.logits, batch.target, **options)
    batch = make_batch((1, 3, 6, 7), (6, 7))
    gradient = torch.autograd.grad
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient(function(batch.logits, batch.target, **options).value.sum(), batch.logits, create_graph=True)


#: From sure and right to sure and wrong, in places of a vector and behind them.
LOSSES = [
    0.0,
    1e-30,
    1e-12,
    1e-7,
    1e-4,
    0.01,
    0.3,
    0.347,
    0.7,
    1.0,
    5.0,
    20.0,
    63.0,
    64.0,
    90.0,
    1e4,
    float("inf"),
]


@pytest.mark.parametrize("rate", [1.0, 0.7, 1e-3])
def test_a_curve_is_exact_near_0_and_finite_far_away(rate):
    ce = torch.tensor(LOSSES * 3, requires_grad=True)
    curve = Curve(0.0, 1 / rate, rate)
    value = curve.compiled(ce)
    (slope,) = torch.autograd.grad(value.sum(), ce)
    exact = -torch.expm1(-rate * ce.detach().double()) / rate
    torch.testing.assert_close(value.double(), exact, rtol=3e-7, atol=0)
    torch.testing.assert_close(slope.double(), torch.exp(-rate * ce.detach().double()), rtol=1e-5, atol=1e-27)
    line = Curve(2.0, 1.0).compiled(ce)
    torch.testing.assert_close(line.double(), (2 * ce - torch.expm1(-ce)).double(), rtol=3e-7, atol=0)


@pytest.mark.parametrize("function", [Curve(1.0, 1.0), Curve(0.0, 2.0, 0.7), focal_of_two])
def test_a_function_of_nothing_is_nothing_and_of_nan_is_nan(function):
    """Ignored pixels, whose ce is 0, are not looked for: they have to have a value of 0."""
    value = getattr(function, "compiled", function)(torch.tensor([float("nan"), 0.0, -0.0, 1.0]))
    assert value[0].isnan() and value[1:3].eq(0).all() and value[3] > 0


def test_a_second_derivative_is_refused():
    ce = torch.rand(8, requires_grad=True)
    value = Curve(1.0, 1.0).compiled(ce)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(value.sum(), ce, create_graph=True)
