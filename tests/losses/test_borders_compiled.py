"""The active boundary loss by compiled loops: equal to plain PyTorch's."""

import pytest
import torch

from segkit.losses import active_boundary_loss
from segkit.losses.kernels import borders_by_numba, choice
from segkit.losses.kernels.cpu import call
from segkit.losses.kernels.labels import LabelError
from segkit.losses.regions.active_boundary import border_threshold, pixel_active_boundary
from segkit.losses.selections.hardest_cpu import kth_largest
from tests.losses.cases import make_batch

OPTIONS = {
    "default": {},
    "much": {"share": 0.4, "label_smoothing": 0.0, "max_distance": 1.5},
    "all": {"share": 1.0},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
DIGITS = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture(autouse=True)
def small_batches_too(monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)


def make_areas(shape, size=None, *, ignored=False, dtype=torch.float32):
    """Random logits, and labels of two areas each, so that most pixels are on no border."""
    batch = make_batch(shape, size or shape[2:], ignored=ignored, dtype=dtype)
    height, width = size or shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    batch.target = torch.where(batch.target == 255, 255, (rows + 2 * columns > height).long())
    return batch


def compute(logits, target, factor, **options):
    logits = logits.detach().requires_grad_()
    values = pixel_active_boundary(logits, target, **options)
    gradient = torch.autograd.grad((values.value * factor.to(values.value.dtype)).sum(), logits)[0]
    return values, gradient


def assert_equal_to_reference(logits, target, factor, **options):
    values, gradient = compute(logits, target, factor, **options)
    assert values.fused is not None and values.fused.backend == "numba"
    expected, expected_gradient = compute(logits.detach().double(), target, factor, **options)
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
    return values, gradient


@every_option
@pytest.mark.parametrize("ignored", [False, True], ids=["all valid", "some ignored"])
@pytest.mark.parametrize(
    "shape", [(2, 3, 6, 7), (1, 2, 1, 1), (1, 3, 1, 9), (2, 19, 33, 47), (1, 5, 18, 300)], ids=str
)
def test_value_and_gradient(shape, ignored, options):
    batch = make_areas(shape, ignored=ignored)
    values, gradient = assert_equal_to_reference(batch.logits, batch.target, batch.weight, **options)
    if shape[2] > 1:
        assert values.class_weight.any() and gradient.any()


def test_logits_at_a_stride_are_resized_first():
    batch = make_areas((2, 3, 5, 6), (20, 24), ignored=True)
    _, gradient = assert_equal_to_reference(batch.logits, batch.target, batch.weight, share=0.1)
    assert gradient.any()


@pytest.mark.parametrize("dtype", DIGITS, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layouts_and_dtypes(dtype, memory_format):
    for target_dtype in (torch.uint8, torch.int16, torch.int64):
        batch = make_areas((2, 5, 9, 13), ignored=True, dtype=dtype)
        logits = batch.logits.detach().to(memory_format=memory_format)
        target = batch.target.to(target_dtype)
        _, gradient = assert_equal_to_reference(logits, target, batch.weight, share=0.2)
        assert gradient.is_contiguous(memory_format=memory_format)
    cut = torch.cat([logits, logits], dim=3)[:, :, :, 4:17]  # of a larger image
    assert_equal_to_reference(cut, target, batch.weight, share=0.2)


def test_the_loss_and_its_report_are_the_same(monkeypatch):
    from segkit.registry import LOSSES

    batch = make_areas((2, 3, 24, 30), ignored=True)
    loss = LOSSES.get("active_boundary")(num_classes=3, share=0.1)
    value, report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    monkeypatch.setattr(choice, "WORTH_COMPILING", 2**62)
    expected, expected_report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    torch.testing.assert_close(value, expected)
    assert report.keys() == expected_report.keys()
    for name, found in report.items():
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected_report[name]))


def test_what_stands_at_ignored_pixels_does_not_matter():
    batch = make_areas((2, 4, 9, 13), ignored=True)
    ignored = batch.target == 255
    values, gradient = compute(batch.logits, batch.target, batch.weight, share=0.2)
    for filling in (torch.nan, torch.inf, -50.0):
        logits = batch.logits.detach().clone()
        logits.movedim(1, -1)[ignored] = filling
        again, same = compute(logits, batch.target, batch.weight, share=0.2)
        assert torch.equal(again.value, values.value) and torch.equal(same, gradient)
    assert not gradient.movedim(1, -1)[ignored].any() and not values.value[ignored].any()
    assert not values.class_weight[ignored].any()


def test_ignored_pixels_are_as_the_outside_of_the_image():
    batch = make_areas((2, 3, 12, 11))
    target = batch.target.clone()
    target[:, :4], target[:, :, 9:] = 255, 255
    values, gradient = compute(batch.logits, target, batch.weight, share=0.1)
    part = batch.logits[:, :, 4:, :9]
    alone, slope = compute(part, target[:, 4:, :9], batch.weight[:, 4:, :9], share=0.1)
    assert values.value.any()
    assert torch.equal(values.value[:, 4:, :9], alone.value) and torch.equal(gradient[:, :, 4:, :9], slope)


@pytest.mark.parametrize("place", [(2, 3), (0, 0), (5, 6)])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_what_is_no_number_at_a_valid_pixel_is_seen(number, place):
    batch = make_areas((1, 3, 6, 7))
    logits = batch.logits.detach().clone()
    logits[(0, slice(None), *place)] = number
    values, gradient = compute(logits, batch.target, batch.weight, share=0.1)
    assert values.value[(0, *place)].isnan() and gradient[(0, slice(None), *place)].isnan().all()
    assert active_boundary_loss(logits, batch.target).isnan()


def test_no_slope_no_gradient_and_nothing_valid():
    batch = make_areas((1, 3, 6, 7))
    _, gradient = compute(batch.logits, batch.target, torch.zeros_like(batch.weight), share=0.4)
    assert not gradient.any()
    nothing = torch.full_like(batch.target, 255)
    values, gradient = compute(batch.logits, nothing, batch.weight)
    assert not values.value.any() and not gradient.any()


def test_the_same_bits_whatever_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(call, "choose_threads", lambda work: torch.get_num_threads())
    batch = make_areas((2, 7, 70, 41), ignored=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute(batch.logits, batch.target, batch.weight, share=0.3))
    finally:
        torch.set_num_threads(before)
    for values, gradient in found[1:]:
        assert torch.equal(values.value, found[0][0].value) and torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_the_threshold_is_that_of_a_sort(share):
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(2, 500, generator=generator)
    rows[0, 100:300], rows[1, 7:450] = 0.5, 0.0  # ties
    valid = torch.rand(2, 500, generator=generator) < 0.8
    rows = rows * valid
    expected = border_threshold(
        rows, valid, share, lambda rows, k: rows.sort(descending=True)[0].gather(1, k - 1)
    )
    assert torch.equal(border_threshold(rows, valid, share, kth_largest), expected)
    assert torch.equal(border_threshold(rows, valid, share), expected)


def test_errors_are_those_of_every_way():
    batch = make_areas((1, 3, 6, 7))
    batch.target[0, 1, 2] = 9
    with pytest.raises(LabelError, match=r"the target has ids 9 but the logits have 3 classes"):
        pixel_active_boundary(batch.logits, batch.target)
    batch = make_areas((1, 3, 6, 7))
    with pytest.raises(RuntimeError, match="no second derivative"):
        value = pixel_active_boundary(batch.logits, batch.target, share=0.5).value.sum()
        torch.autograd.grad(value, batch.logits, create_graph=True)
    with pytest.raises(ValueError) as error:
        pixel_active_boundary(batch.logits, batch.target, distance=torch.zeros(1, 5, 6))
    assert str(error.value) == "the distances have shape (1, 5, 6) but must have (1, 6, 7)"


def test_what_is_not_compiled(monkeypatch):
    batch = make_areas((1, 3, 6, 7))
    assert borders_by_numba(batch.logits, batch.target)
    assert not borders_by_numba(batch.logits.double(), batch.target)
    assert not borders_by_numba(batch.logits, torch.rand(1, 3, 6, 7))
    monkeypatch.setattr(choice, "WORTH_COMPILING", 2**20)
    assert not borders_by_numba(batch.logits, batch.target)
