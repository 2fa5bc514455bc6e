"""The backend `numba` beyond what every backend is tested for: threads, layouts, blocks, what it does not read."""

import os

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.losses.kernels import upsampled_cross_entropy
from segkit.losses.kernels.cpu import call, cross_entropy, pixel_sums, threads
from tests.losses.cases import CASES, CLASS_WEIGHTS, make_batch
from tests.losses.test_kernels import TOLERANCE, run

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
#: (N, C, h, w) and (H, W): blocks that end within a row, several images, and several bands of rows and columns.
SAME, RESIZED = ((2, 19, 33, 47), (33, 47)), ((2, 19, 16, 40), (125, 333))


def assert_equal_to_reference(logits, target, factor):
    ce, wrong, gradient = run("numba", logits, target, factor)
    expected, expected_wrong, expected_gradient = run("reference", logits.float(), target, factor)
    rtol, atol, gradient_rtol, gradient_atol = TOLERANCE[logits.dtype]
    torch.testing.assert_close(ce, expected, rtol=2 * rtol, atol=2 * atol)
    torch.testing.assert_close(
        gradient.float(), expected_gradient, rtol=gradient_rtol, atol=2 * gradient_atol
    )
    assert torch.equal(wrong, expected_wrong)
    return gradient


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 20, 24, 31, 33])
def test_any_number_of_classes(classes, memory_format, dtype):
    """What is turned over in vectors of 4, 8 and 16 has ends of every kind, and so have pixels."""
    for size in ((1, 1), (3, 5), (4, 4), (5, 7), (9, 13)):
        batch = make_batch((2, classes, *size), size, dtype=dtype, ignored=True)
        logits = batch.logits.detach().to(memory_format=memory_format)
        gradient = assert_equal_to_reference(logits, batch.target, batch.weight)
        assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("channels", [19, 24])
def test_channels_last_is_read_as_it_lies(channels):
    """Also where only some channels are the classes; nothing of the size of the logits is made but their gradient."""
    batch = make_batch((2, channels, 9, 13), (9, 13), ignored=True)
    logits = batch.logits.detach().to(memory_format=torch.channels_last)[:, :19]
    target = batch.target.clamp(max=18)
    assert_equal_to_reference(logits, target, batch.weight)
    with Watch(logits) as watch:
        upsampled_cross_entropy(logits, target.byte(), ignore_index=255, backend="numba")
    assert 0 < max(watch.made) <= target.numel()


class Watch(TorchDispatchMode):
    """Notes the elements of every floating-point tensor that an operation makes, but for views of the logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.made = logits.untyped_storage().data_ptr(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        is_made = isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() != self.logits
        if is_made and result.is_floating_point():
            self.made.add(result.numel())
        return result


@pytest.mark.parametrize("shape, size", [((7, 4), ()), ((3, 4, 11), (11,)), ((2, 4, 3, 5, 7), (3, 5, 7))])
def test_other_numbers_of_dimensions(shape, size):
    batch = make_batch(shape, size, ignored=True)
    assert_equal_to_reference(batch.logits.detach(), batch.target, batch.weight)


def test_other_numbers_of_dimensions_are_not_resized():
    batch = make_batch((2, 4, 6), (12,))
    with pytest.raises(ValueError) as error:
        run("numba", batch.logits, batch.target, batch.weight)
    assert str(error.value) == (
        "backend: numba, but it takes logits (N, C, h, w), got (2, 4, 6) -> backend: auto"
    )


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks, for many threads."""
    monkeypatch.setattr(cross_entropy, "LARGEST_BLOCK", 32)
    monkeypatch.setattr(pixel_sums, "WIDTH", 64)


@pytest.mark.parametrize("shape, size", [SAME, RESIZED])
@pytest.mark.parametrize("openmp", [True, False])
def test_nothing_depends_on_the_threads(monkeypatch, small_blocks, shape, size, openmp):
    if not openmp:
        monkeypatch.setattr(threads, "find_openmp", lambda: None)
    batch = make_batch(shape, size, ignored=True)
    found = []
    for number in (1, 2, 5):
        monkeypatch.setattr(call, "choose_threads", lambda work, number=number: number)
        found.append(run("numba", batch.logits, batch.target, batch.weight))
        sums = pixel_sums.sum_pixels(
            found[-1][0], batch.weight, found[-1][1], batch.target, ignore_index=255, num_classes=19, unit=8
        )
        total = pixel_sums.sum_products(found[-1][0].flatten(1), batch.weight.flatten(1))
        found[-1] = (*found[-1], *sums, total)
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_loss_does_not_depend_on_the_threads(monkeypatch, small_blocks, case):
    batch = make_batch((2, 5, 24, 31), (24, 31), ignored=True)
    loss = case.loss(5, class_weights=CLASS_WEIGHTS, backend="numba")
    found = []
    for number in (1, 3):
        monkeypatch.setattr(call, "choose_threads", lambda work, number=number: number)
        value, report = loss(batch.logits, batch.target, batch.weight, iteration=case.iteration)
        (gradient,) = torch.autograd.grad(value, batch.logits)
        found.append([value, gradient, *(torch.as_tensor(each) for each in report.values())])
    assert_same(*found)


def test_how_many_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [threads.choose_threads(work) for work in (1, 65_536, 10**9)] == [1, 2, 8]


def test_a_forked_process_computes_in_the_thread_that_it_has(monkeypatch):
    """The threads of its parent are not there, and whoever waits for them waits for ever."""
    monkeypatch.setattr(call, "choose_threads", lambda work: 2)
    batch = make_batch(*SAME)
    expected = run("numba", batch.logits, batch.target, batch.weight)
    monkeypatch.setattr(threads, "find_openmp", lambda: pytest.fail("asked for threads"))
    monkeypatch.setattr(threads, "_main_process", os.getpid() + 1)
    assert_same(run("numba", batch.logits, batch.target, batch.weight), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_large_gradient_is_written_past_the_caches(monkeypatch, memory_format, dtype):
    monkeypatch.setattr(cross_entropy, "LARGEST_BLOCK", 48)
    batch = make_batch(*SAME, dtype=dtype, ignored=True)
    batch.weight[:, 20:] = 0  # blocks without a gradient
    logits = batch.logits.detach().to(memory_format=memory_format)
    expected = run("numba", logits, batch.target, batch.weight)
    monkeypatch.setattr(cross_entropy, "CACHES", 0)
    assert_same(run("numba", logits, batch.target, batch.weight), expected)


@pytest.mark.parametrize("shape, size", [SAME, RESIZED])
def test_logits_without_a_gradient_are_not_read(monkeypatch, small_blocks, shape, size):
    """Backward, where a selection keeps nothing: what is there by then does not matter."""
    batch = make_batch(shape, size)
    factor = torch.zeros_like(batch.weight)
    factor[0, : size[0] // 2] = 1
    logits = batch.logits.detach().clone().requires_grad_()
    ce, _ = upsampled_cross_entropy(logits, batch.target, ignore_index=255, backend="numba")
    with torch.no_grad():
        logits.data[1] = torch.nan  # past autograd's check
    (gradient,) = torch.autograd.grad((factor * ce).sum(), logits)
    *_, expected = run("numba", batch.logits, batch.target, factor)
    assert torch.equal(gradient, expected)
    assert not gradient[1].any() and gradient[0].any()


@pytest.mark.parametrize("size", [(4, 5), (9, 11)])
def test_a_pixel_that_is_not_kept_has_no_gradient_though_it_is_nan(size):
    batch = make_batch((1, 3, 4, 5), size)
    batch.logits.data[..., 2, 2] = torch.nan
    ce, _ = upsampled_cross_entropy(batch.logits, batch.target, ignore_index=255, backend="numba")
    factor = (~ce.detach().isnan()).float()
    assert factor.any() and not factor.all()
    (gradient,) = torch.autograd.grad(ce, batch.logits, factor)
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize("size", [(4, 5), (9, 11)])
@pytest.mark.parametrize("label", [3, -1, 2**40])
def test_a_label_that_is_no_class_is_named(size, label):
    batch = make_batch((2, 3, 4, 5), size)
    batch.target[1, 2, 3] = label
    with pytest.raises(ValueError) as error:
        run("numba", batch.logits, batch.target, batch.weight)
    assert str(error.value) == (
        f"label out of range: the target has ids {label} but the logits have 3 classes (0-2), ignore_index 255"
    )


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 50, 70)])
def test_sums_are_those_of_the_pixels(shape):
    generator = torch.Generator().manual_seed(0)
    value, wrong = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator) < 0.3
    factor = torch.randint(0, 3, shape, generator=generator) / 2
    target = torch.randint(0, 4, shape, generator=generator)
    target[:, :1] = 255
    factor[target == 255] = 0
    sums = pixel_sums.sum_pixels(
        value, factor, wrong, target.to(torch.int16), ignore_index=255, num_classes=4, unit=2
    )
    assert sums.valid == (target != 255).sum() and sums.factor == factor.sum()
    assert sums.wrong == (factor * wrong).sum() and sums.smallest == value[factor > 0].min()
    torch.testing.assert_close(sums.value, value.double().sum())
    assert sums.per_class.tolist() == [2 * factor[target == c].sum() for c in range(4)]


def test_the_smallest_of_nothing_is_infinite():
    zero, nothing = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    sums = pixel_sums.sum_pixels(zero, zero, zero.bool(), nothing, ignore_index=255, num_classes=1, unit=8)
    assert sums.smallest == torch.inf


def test_sums_of_products_have_both_gradients():
    generator = torch.Generator().manual_seed(0)
    value, factor = (torch.rand(3, 70, generator=generator).requires_grad_() for _ in range(2))
    weights = torch.tensor([1.0, 2.0, 3.0])
    found = torch.autograd.grad((weights * pixel_sums.sum_products(value, factor)).sum(), (value, factor))
    expected = torch.autograd.grad((weights * (value * factor).sum(dim=1)).sum(), (value, factor))
    assert_same(found, expected)
