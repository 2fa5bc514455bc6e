"""Region losses whose sums are made by compiled loops: equal to those from maps of all classes and pixels."""

import pytest
import torch

from segkit.losses import unified_focal_loss
from segkit.losses.kernels import choice, counts_by_numba
from segkit.losses.kernels.cpu import call
from segkit.losses.kernels.labels import LabelError
from segkit.registry import LOSSES
from tests.losses.cases import make_batch
from tests.losses.test_region import FUNCTIONS

LOSSES_OF_COUNTS = {
    "dice": {},
    "dice, smooth 0": {"smooth": 0.0},
    "jaccard": {"form": "metric"},
    "tversky": {"alpha": 0.2, "beta": 0.9},
    "focal_tversky": {},
    "log_cosh_dice": {"classes": "all"},
    "unified_focal": {},
    "unified_focal, symmetric": {"symmetric": True, "background": [1], "gamma": 0.2},
    "mcc": {},
    "mcc, smooth 0": {"smooth": 0.0},
}
every_loss = pytest.mark.parametrize("case", LOSSES_OF_COUNTS)


@pytest.fixture(autouse=True)
def small_batches_too(monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)


def compute(case: str, logits, target, weight=None):
    """The loss and its gradient at the logits."""
    logits = logits.detach().requires_grad_()
    loss = FUNCTIONS[case.partition(",")[0]](logits, target, weight, **LOSSES_OF_COUNTS[case])
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def assert_equal_to_maps(case, logits, target, weight=None):
    assert counts_by_numba(logits, target)
    loss, gradient = compute(case, logits, target, weight)
    exact = logits.detach().double()
    assert not counts_by_numba(exact, target)
    expected, expected_gradient = compute(case, exact, target, None if weight is None else weight.double())
    assert loss.dtype == torch.float32 and gradient.dtype == logits.dtype
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    digits = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[logits.dtype]
    largest = expected_gradient.abs().max()
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=digits, atol=digits * largest)
    return gradient


@every_loss
@pytest.mark.parametrize("with_map", [False, True], ids=["alone", "weight map"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 19, 33, 47), (1, 2, 1, 1)], ids=str)
def test_value_and_gradient_are_those_of_the_maps(case, shape, with_map):
    batch = make_batch(shape, shape[2:], ignored=True)
    batch.target[batch.target == 1] = 0  # a class is absent
    assert_equal_to_maps(case, batch.logits, batch.target, batch.weight if with_map else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("target_dtype", [torch.uint8, torch.int64], ids=str)
def test_any_layout_and_dtype(dtype, memory_format, target_dtype):
    for classes, size in ((2, (3, 5)), (5, (9, 13)), (21, (33, 47))):
        batch = make_batch((2, classes, *size), size, dtype=dtype, ignored=True)
        logits = batch.logits.detach().to(memory_format=memory_format)
        gradient = assert_equal_to_maps("dice", logits, batch.target.to(target_dtype), batch.weight)
        assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 9), (2, 3, 4, 5, 6)], ids=str)
def test_lists_of_pixels_and_volumes(shape):
    batch = make_batch(shape, shape[2:], ignored=True)
    for case in ("tversky", "unified_focal"):
        assert_equal_to_maps(case, batch.logits, batch.target, batch.weight)


@pytest.mark.parametrize("large", [False, True], ids=["in the cache", "past the caches"])
def test_logits_of_another_size_and_large_gradients(large, monkeypatch):
    if large:
        monkeypatch.setattr("segkit.losses.kernels.cpu.soft_counts.CACHES", 0)
    for case in ("dice", "unified_focal"):
        for size in ((5, 7), (20, 33)):
            batch = make_batch((2, 3, 5, 7), size, ignored=True)
            assert_equal_to_maps(case, batch.logits, batch.target, batch.weight)


@every_loss
def test_what_stands_at_ignored_pixels_does_not_matter(case):
    batch = make_batch((2, 4, 6, 5), (6, 5), ignored=True)
    ignored = batch.target == 255
    loss, gradient = compute(case, batch.logits, batch.target, batch.weight)
    logits = batch.logits.detach().clone()
    logits.movedim(1, -1)[ignored] = torch.nan
    weight = batch.weight.masked_fill(ignored, torch.nan)
    again, same = compute(case, logits, batch.target, weight)
    assert torch.equal(again, loss) and torch.equal(same, gradient)
    assert not gradient.movedim(1, -1)[ignored].any()


@every_loss
def test_nan_at_a_valid_pixel_reaches_the_loss(case):
    batch = make_batch((1, 3, 4, 4), (4, 4))
    logits = batch.logits.detach().clone()
    logits[0, :, 1, 2] = torch.nan
    assert compute(case, logits, batch.target)[0].isnan()


@every_loss
def test_nothing_valid_is_0_with_a_gradient_of_0(case):
    batch = make_batch((2, 3, 4, 5), (4, 5))
    loss, gradient = compute(case, batch.logits, torch.full_like(batch.target, 255))
    assert loss == 0 and not gradient.any()


@every_loss
def test_a_sure_and_right_prediction_has_no_loss_and_no_slope(case):
    target = torch.randint(0, 3, (2, 6, 7), generator=torch.Generator().manual_seed(0))
    logits = 200 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    loss, gradient = compute(case, logits, target)
    assert loss == pytest.approx(0, abs=1e-6) and gradient.abs().max() < 1e-6


def test_the_same_bits_whatever_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(call, "choose_threads", lambda work: torch.get_num_threads())
    batch = make_batch((3, 7, 64, 65), (64, 65), ignored=True)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute("mcc", batch.logits, batch.target, batch.weight))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0]) and torch.equal(gradient, found[0][1])


def test_a_label_that_is_no_class_is_an_error():
    batch = make_batch((1, 3, 4, 5), (4, 5))
    batch.target[0, 2, 3] = 7
    with pytest.raises(LabelError, match=r"the target has ids .*7.* but the logits have 3 classes \(0-2\)"):
        compute("dice", batch.logits, batch.target)


def test_a_second_derivative_is_refused():
    batch = make_batch((1, 3, 4, 5), (4, 5))
    loss = FUNCTIONS["dice"](batch.logits, batch.target)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, batch.logits, create_graph=True)


def test_a_weight_map_that_is_learned_keeps_its_gradient():
    batch = make_batch((1, 3, 4, 5), (4, 5))
    weight = batch.weight.requires_grad_()
    FUNCTIONS["dice"](batch.logits, batch.target, weight).backward()
    assert weight.grad is not None and weight.grad.any()


def test_soft_labels_go_another_way():
    batch = make_batch((1, 3, 4, 5), (4, 5))
    labels = batch.logits.detach().softmax(dim=1)
    assert not counts_by_numba(batch.logits, labels)
    assert unified_focal_loss(batch.logits, labels).isfinite()


@pytest.mark.parametrize("name", sorted({case.partition(",")[0] for case in LOSSES_OF_COUNTS}))
def test_the_report_is_that_of_the_maps(name, monkeypatch):
    batch = make_batch((2, 5, 16, 17), (16, 17), ignored=True)
    loss = LOSSES.get(name)(num_classes=5, ignore_index=255)
    value, report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    monkeypatch.setattr(choice, "WORTH_COMPILING", 2**62)
    expected, expected_report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    torch.testing.assert_close(value, expected)
    assert report.keys() == expected_report.keys()
    for key, each in expected_report.items():
        torch.testing.assert_close(report[key], each, msg=lambda text, key=key: f"{key}: {text}")
