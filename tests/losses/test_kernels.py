"""Every backend of the cross-entropy against the loops: sizes, dtypes, layouts, labels, what is not finite."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses.kernels import banded, upsampled_cross_entropy
from tests.losses import reference
from tests.losses.cases import GEOMETRIES, make_batch

#: Backends that run here; `banded` also in bands of single rows, and in bands of a few, which end within images.
BACKENDS = {
    "reference": None,
    "direct": None,
    "banded": None,
    "banded, a row each": 1,
    "banded, a few rows each": 500,
    "numba": None,
}

MORE_GEOMETRIES = GEOMETRIES | {
    "fractional": ((2, 4, 5, 7), (13, 17)),
    "only rows": ((1, 3, 4, 5), (11, 5)),
    "only columns": ((2, 3, 4, 5), (4, 13)),
    "smaller": ((2, 3, 9, 11), (4, 5)),
    "smaller and larger": ((1, 3, 9, 3), (5, 10)),
    "to 1x1": ((2, 3, 6, 5), (1, 1)),
    "one class": ((1, 1, 3, 3), (5, 5)),
    "many images": ((7, 2, 2, 2), (3, 3)),
}

#: Relative and absolute tolerance of ce, then of the gradient, which is rounded once to the dtype of the logits.
TOLERANCE = {
    torch.float64: (1e-12, 1e-13, 1e-11, 1e-13),
    torch.float32: (2e-6, 1e-6, 2e-5, 1e-6),
    torch.bfloat16: (2e-6, 1e-6, 2**-8, 1e-6),
    torch.float16: (2e-6, 1e-6, 2**-10, 1e-6),
}


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch) -> str:
    if BACKENDS[request.param] is not None:
        monkeypatch.setattr(banded, "BAND_BYTES", BACKENDS[request.param])
    return request.param.partition(",")[0]


def is_refused(backend: str, dtype: torch.dtype) -> bool:
    """Whether the backend leaves logits of this dtype to the others; that it says so is seen here."""
    if backend != "numba" or dtype != torch.float64:
        return False
    batch = make_batch(dtype=dtype)
    with pytest.raises(
        ValueError, match=r"^backend: numba, but it takes fp32, bf16 or fp16 logits, got torch.float64"
    ):
        run(backend, batch.logits, batch.target, batch.weight)
    return True


def run(backend: str, logits, target, factor, *, ignore_index: int = 255):
    """ce, wrong and the gradient of sum(factor x ce)."""
    logits = logits.detach().clone().requires_grad_()
    ce, wrong = upsampled_cross_entropy(logits, target, ignore_index=ignore_index, backend=backend)
    (gradient,) = torch.autograd.grad((factor.to(ce.dtype) * ce).sum(), logits)
    return ce.detach(), wrong, gradient


def compute_by_loops(logits, target, factor, *, ignore_index: int = 255):
    """The same from the definition in float64: ce (N, H, W) and the gradient."""
    ce = torch.zeros(target.shape, dtype=torch.float64)

    def rule(pixels):
        for place, value in pixels.ce.items():
            ce[place] = value
        return {place: float(factor[place]) for place in pixels.ce}

    if logits.shape[1] == 1:  # which the loops take for the one logit of two classes; softmax of one is 1
        return ce, torch.zeros_like(logits, dtype=torch.float64)
    _, gradient = reference.value_and_gradient(logits, target, rule, ignore_index=ignore_index)
    return ce, gradient


def find_wrong(logits, target, *, ignore_index: int = 255):
    resized = F.interpolate(logits.detach().double(), target.shape[1:], mode="bilinear", align_corners=False)
    valid = target != ignore_index
    true = resized.gather(1, torch.where(valid, target, 0).unsqueeze(1))
    return (resized > true).any(dim=1) & valid


def assert_near(actual, expected, rtol, atol, where: str):
    torch.testing.assert_close(
        actual.double(), expected, rtol=rtol, atol=atol, msg=lambda text: f"{where}: {text}"
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("geometry", MORE_GEOMETRIES)
def test_value_and_gradient_equal_the_loops(backend, geometry, dtype):
    if is_refused(backend, dtype):
        return
    shape, size = MORE_GEOMETRIES[geometry]
    for seed, ignored in enumerate((False, True)):
        batch = make_batch(shape, size, dtype=dtype, ignored=ignored, seed=seed)
        ce, wrong, gradient = run(backend, batch.logits, batch.target, batch.weight)
        expected, expected_gradient = compute_by_loops(batch.logits, batch.target, batch.weight)
        where = f"ignored={ignored}"
        rtol, atol, gradient_rtol, gradient_atol = TOLERANCE[dtype]
        assert ce.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert gradient.dtype == dtype
        assert_near(ce, expected, rtol, atol, where)
        assert_near(gradient, expected_gradient, gradient_rtol, gradient_atol, where)
        assert wrong.dtype == torch.bool
        assert torch.equal(wrong, find_wrong(batch.logits, batch.target)), where
        assert torch.equal(ce == 0, batch.target == 255) or shape[1] == 1, where


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_any_integer_dtype_of_the_target(backend, dtype):
    batch = make_batch((2, 3, 2, 3), (7, 8))
    batch.target[0, :2] = 100
    expected = run(backend, batch.logits, batch.target, batch.weight, ignore_index=100)
    actual = run(backend, batch.logits, batch.target.to(dtype), batch.weight, ignore_index=100)
    for ours, same in zip(actual, expected, strict=True):
        assert torch.equal(ours, same)


@pytest.mark.parametrize(
    "ignore_index, dtype", [(255, torch.int8), (-1, torch.uint8), (256 + 1, torch.uint8)]
)
def test_an_ignore_index_that_the_dtype_cannot_hold_ignores_nothing(backend, ignore_index, dtype):
    batch = make_batch((2, 3, 2, 3), (7, 8))
    expected = run(backend, batch.logits, batch.target, batch.weight)
    actual = run(backend, batch.logits, batch.target.to(dtype), batch.weight, ignore_index=ignore_index)
    assert torch.equal(actual[0], expected[0]) and torch.equal(actual[2], expected[2])


@pytest.mark.parametrize("size", [(6, 7), (13, 15)])
def test_any_memory_layout(backend, size):
    batch = make_batch((2, 3, 6, 7), size, ignored=True)
    expected = run(backend, batch.logits, batch.target, batch.weight)
    padded = torch.full((2, 5, 9, 9), torch.nan)
    padded[:, 1:4, 2:8, 1:8] = batch.logits.detach()
    transposed = batch.target.mT.contiguous().mT
    channels_last = batch.logits.detach().to(memory_format=torch.channels_last)
    for logits in (channels_last, padded[:, 1:4, 2:8, 1:8]):
        actual = run(backend, logits, transposed, batch.weight)
        for ours, same in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, same)
    ce, _ = upsampled_cross_entropy(
        batch.logits[:1].expand(2, -1, -1, -1), batch.target, ignore_index=255, backend=backend
    )
    torch.testing.assert_close(ce[0], expected[0][0])


@pytest.mark.parametrize("size", [(4, 5), (9, 11)])
def test_all_ignored(backend, size):
    batch = make_batch((2, 3, 4, 5), size)
    ce, wrong, gradient = run(backend, batch.logits, torch.full_like(batch.target, 255), batch.weight)
    assert not ce.any() and not wrong.any() and not gradient.any()


def read_logit_2_3(size) -> torch.Tensor:
    """(2, *size) bool: pixels that read logit [1, :, 2, 3] of (2, C, 4, 5), be it with a share of 0."""
    marked = torch.zeros(2, 1, 4, 5)
    marked[1, 0, 2, 3] = torch.nan
    return F.interpolate(marked, size, mode="bilinear")[:, 0].isnan()


NOT_FINITE = [torch.nan, torch.inf, -torch.inf]


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("size", [(4, 5), (8, 10), (4, 10), (8, 5), (3, 3)])
def test_what_is_not_finite_at_ignored_pixels_is_not_seen(backend, value, size):
    batch = make_batch((2, 3, 4, 5), size, ignored=True)
    batch.target[read_logit_2_3(size)] = 255
    expected = run(backend, batch.logits, batch.target, batch.weight)
    broken = batch.logits.detach().clone()
    broken[1, :, 2, 3] = value
    actual = run(backend, broken, batch.target, batch.weight)
    assert torch.equal(actual[0], expected[0]) and torch.equal(actual[1], expected[1])
    assert not actual[2][1, :, 2, 3].any()
    actual[2][1, :, 2, 3] = expected[2][1, :, 2, 3]
    torch.testing.assert_close(actual[2], expected[2])


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("size", [(4, 5), (8, 10), (4, 10), (8, 5), (3, 3)])
def test_what_is_not_finite_at_valid_pixels_is_never_hidden(backend, value, size):
    batch = make_batch((2, 3, 4, 5), size)
    batch.target[1] = 1
    batch.logits.data[1, 1, 2, 3] = value
    expected, _, expected_gradient = run("reference", batch.logits, batch.target, batch.weight + 1)
    ce, _, gradient = run(backend, batch.logits, batch.target, batch.weight + 1)
    finite = expected.isfinite()
    assert not finite.all()
    torch.testing.assert_close(ce[finite], expected[finite])
    assert not ce[~finite].isfinite().any()  # which of inf and NaN is a matter of 0 x inf in resizing
    assert gradient[0].isfinite().all()
    assert not gradient[~expected_gradient.isfinite()].isfinite().any()


@pytest.mark.parametrize("size", [(4, 5), (9, 11)])
def test_gradcheck(backend, size):
    if is_refused(backend, torch.float64):
        return
    batch = make_batch((2, 3, 4, 5), size, dtype=torch.float64, ignored=True)
    assert torch.autograd.gradcheck(
        lambda z: upsampled_cross_entropy(z, batch.target, ignore_index=255, backend=backend).ce,
        (batch.logits,),
        fast_mode=True,  # one product with the whole Jacobian instead of all its columns
    )


@pytest.mark.parametrize("shape, size", [((2, 19, 32, 48), (32, 48)), ((2, 19, 16, 24), (61, 93))])
def test_two_runs_are_bitwise_equal(backend, shape, size):
    batch = make_batch(shape, size, ignored=True)
    first = run(backend, batch.logits, batch.target, batch.weight)
    held = torch.empty(12345)  # the second run finds its memory elsewhere
    second = run(backend, batch.logits.detach().clone(), batch.target, batch.weight)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other), held.shape


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_error_is_bounded_by_that_of_the_naive_form(backend, dtype, scale):
    """Interpolation, then `F.cross_entropy`, in the dtype of the logits."""
    batch = make_batch((2, 19, 8, 12), (61, 93), dtype=dtype, ignored=True, scale=scale)

    def run_naive(logits):
        logits = logits.detach().clone().requires_grad_()
        resized = F.interpolate(logits, batch.target.shape[1:], mode="bilinear", align_corners=False)
        ce = F.cross_entropy(resized, batch.target, reduction="none", ignore_index=255)
        return ce.detach().double(), torch.autograd.grad((batch.weight * ce).sum(), logits)[0].double()

    truth, naive = run_naive(batch.logits.double()), run_naive(batch.logits)
    ce, _, gradient = run(backend, batch.logits, batch.target, batch.weight)
    for name, ours, theirs, exact in zip(("ce", "gradient"), (ce, gradient), naive, truth, strict=True):
        error, naive_error = ((value.double() - exact).norm().item() for value in (ours, theirs))
        # fp32 against fp32 differs by the order of summation; elsewhere rounding to 16 bits dominates.
        assert error <= (2.0 if dtype == torch.float32 else 1.0) * naive_error, name


def test_an_offset_of_the_logits_changes_nothing(backend):
    """A logsumexp of 4,096 + a little, rounded to fp32, has lost the fourth digit of every probability."""
    batch = make_batch((2, 5, 8, 10), (8, 10))
    logits = batch.logits.detach().mul(2**10).round().div(2**10)  # so that the offset is exact
    expected = run(backend, logits, batch.target, batch.weight)
    actual = run(backend, logits + 2**12, batch.target, batch.weight)
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(actual[2], expected[2], rtol=1e-6, atol=1e-6)


def test_autocast_changes_nothing(backend):
    batch = make_batch((2, 3, 2, 3), (7, 8), ignored=True)
    expected = run(backend, batch.logits, batch.target, batch.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(backend, batch.logits, batch.target, batch.weight)
    for ours, same in zip(inside, expected, strict=True):
        assert torch.equal(ours, same)


def test_no_gradient_is_needed(backend):
    batch = make_batch((2, 3, 2, 3), (7, 8), ignored=True)
    expected, _, _ = run(backend, batch.logits, batch.target, batch.weight)
    with torch.no_grad():
        ce, _ = upsampled_cross_entropy(batch.logits, batch.target, ignore_index=255, backend=backend)
    assert torch.equal(ce, expected) and not ce.requires_grad
