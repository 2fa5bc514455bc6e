"""Triton for tests: where its kernels run, and the plain form that they must equal.

On a machine with a GPU the kernels run there, compiled. Elsewhere Triton's interpreter runs them on the CPU: it is
chosen by an environment variable that must be set when Triton is first imported, and that must not reach other tests.
"""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRET = {"TRITON_INTERPRET": "1"} if DEVICE == "cpu" else {}


def import_kernels() -> None:
    """Import Triton and the kernels, on the CPU for the interpreter; skip the test file where that does not run."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed", allow_module_level=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in INTERPRET.items():
            patch.setenv(name, value)
        from segkit.losses.kernels import triton_radix, triton_sums  # noqa: F401 (their kernels too)
        from segkit.losses.kernels.triton_forward import launch_forward

        if not INTERPRET:
            return
        try:
            launch_forward(*make_inputs((1, 1, 1, 1), (1, 1))[:2], 255)
        except Exception as error:
            if "only 0-dimensional arrays" not in str(error):
                raise
            pytest.skip("this Triton's interpreter does not run with this NumPy", allow_module_level=True)


def reference(logits, target, ignore_index):
    """ce and wrong in fp64: resize, mask what is ignored, log_softmax, gather."""
    logits = logits.double()
    if logits.shape[2:] != target.shape[1:]:
        logits = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    valid = target.long() != ignore_index
    # Ignored logits are replaced, not multiplied: the gradient must be zero even where they are NaN.
    logits = torch.where(valid[:, None], logits, 0.0)
    label = torch.where(valid, target.long(), 0)[:, None]
    ce = torch.where(valid, -F.log_softmax(logits, dim=1).gather(1, label)[:, 0], 0.0)
    return ce, valid & (logits.amax(dim=1) > logits.gather(1, label)[:, 0])


def make_inputs(
    shape=(1, 3, 2, 3),
    size=(4, 6),
    *,
    dtype=torch.float32,
    label_dtype=torch.int64,
    ignore_index=255,
    ignored=0.3,
    seed=0,
):
    """Logits, labels of which a share is ignored, and the gradient that comes into ce; all on `DEVICE`."""
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(shape, generator=generator)).to(dtype)
    target = torch.randint(0, shape[1], (shape[0], *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = ignore_index
    grad_ce = torch.randn(target.shape, generator=generator)
    return logits.to(DEVICE), target.to(label_dtype).to(DEVICE), grad_ce.to(DEVICE)


def differentiate(function, logits, target, grad_ce, ignore_index=255):
    """ce, wrong and the gradient to the logits of sum(ce x grad_ce)."""
    logits = logits.detach().requires_grad_()
    ce, wrong = function(logits, target, ignore_index=ignore_index)
    # Not (ce * grad_ce).sum(): the gradient would be an expression, where here it can be any tensor.
    (gradient,) = torch.autograd.grad(ce, logits, grad_ce.to(ce.dtype))
    return ce.detach(), wrong, gradient


def assert_equal_to_reference(function, logits, target, grad_ce, ignore_index=255):
    """Value, wrong and gradient, within fp32's rounding; the gradient within that of the logits' dtype."""
    ce, wrong, gradient = differentiate(function, logits, target, grad_ce, ignore_index)
    expected_ce, expected_wrong, expected = differentiate(reference, logits, target, grad_ce, ignore_index)
    assert ce.dtype == torch.float32
    assert gradient.dtype == logits.dtype
    assert gradient.shape == logits.shape
    torch.testing.assert_close(ce.double(), expected_ce, rtol=2e-6, atol=4e-6)
    assert torch.equal(wrong, expected_wrong)
    rounding = torch.finfo(logits.dtype).eps / 2
    torch.testing.assert_close(
        gradient.double(), expected.double(), rtol=2e-5 + 2 * rounding, atol=2e-6 + rounding * 1e-2
    )
    assert (ce >= 0).all()
