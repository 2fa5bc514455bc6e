"""The arithmetic is fp32: never less precise than the plain way of writing the same loss in the logits' dtype."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import bootstrapped_cross_entropy, cross_entropy, ohem_cross_entropy
from tests.losses import reference
from tests.losses.cases import CASES, make_batch

PAIRS = {
    "ce": (cross_entropy, F.cross_entropy),
    "bootstrapped": (
        lambda z, t: bootstrapped_cross_entropy(z, t, share=0.25),
        lambda z, t: reference.topk_mean(z, t, 0.25),
    ),
    "ohem": (
        lambda z, t: ohem_cross_entropy(z, t, thresh=0.5, n_min=10),
        lambda z, t: reference.full_sort_ohem(z, t, 0.5, 10),
    ),
}


def run(form, logits, target, size=None) -> tuple[float, torch.Tensor]:
    logits = logits.detach().clone().requires_grad_()
    resized = logits if size is None else F.interpolate(logits, size, mode="bilinear", align_corners=False)
    loss = form(resized, target)
    loss.backward()
    return loss.item(), logits.grad.double()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("name", PAIRS)
def test_error_is_bounded_by_that_of_the_naive_form(name, stride, dtype):
    ours, naive = PAIRS[name]
    size = (32, 24)
    batch = make_batch((2, 7, size[0] // stride, size[1] // stride), size, dtype=dtype, seed=3)
    truth, true_gradient = run(naive, batch.logits.double(), batch.target, size)
    value, gradient = run(ours, batch.logits, batch.target)
    naive_value, naive_gradient = run(naive, batch.logits, batch.target, size)
    assert abs(value - truth) <= abs(naive_value - truth) + 1e-6
    ours_error, naive_error = (g.sub(true_gradient).norm() for g in (gradient, naive_gradient))
    # fp32 against fp32 differs by the order of summation, hence the factor; rounding to bf16 or fp16 dominates there.
    factor = 2.0 if dtype == torch.float32 else 1.0
    assert ours_error <= factor * naive_error + 1e-9


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_autocast_changes_nothing(case, dtype):
    batch = make_batch((2, 3, 2, 3), (7, 8), ignored=True)
    loss = case.loss(3, class_weights=[0.5, 2.0, 1.0])
    expected, _ = loss(batch.logits, batch.target, batch.weight, iteration=case.iteration)
    with torch.autocast("cpu", dtype=dtype):
        inside, _ = loss(batch.logits, batch.target, batch.weight, iteration=case.iteration)
    assert inside.dtype == torch.float32
    assert inside.item() == expected.item()


def test_many_pixels_average_without_drift():
    logits = torch.zeros(1, 2, 1, 1).expand(1, 2, 1024, 1024)
    target = torch.zeros(1, 1024, 1024, dtype=torch.uint8)
    assert cross_entropy(logits, target).item() == pytest.approx(0.6931471805599453, rel=1e-6)
