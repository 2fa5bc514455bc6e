"""The Lovasz extension by compiled loops: the same slopes, to the bit, as from torch's sort."""

import pytest
import torch

from segkit.losses import lovasz_loss
from segkit.losses.kernels import choice, lovasz_by_numba
from segkit.losses.kernels.cpu import call
from tests.losses.cases import make_batch


@pytest.fixture(autouse=True)
def needs_numba():
    pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")


def compute(monkeypatch, logits, target, weight=None, *, compiled=True, **options):
    """The loss and its gradient, by the loops or without."""
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0 if compiled else 2**62)
    assert lovasz_by_numba(logits.detach().float()) == compiled
    logits = logits.detach().requires_grad_()
    loss = lovasz_loss(logits, target, weight, **options)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("with_map", [False, True], ids=["alone", "weight map"])
@pytest.mark.parametrize("step", [None, 1.0], ids=["", "ties"])
@pytest.mark.parametrize(
    "shape", [(3, 4, 9, 13), (1, 2, 1, 1), (2, 19, 33, 47), (7, 3), (1, 3, 2, 3, 4)], ids=str
)
def test_loss_and_slopes(monkeypatch, shape, step, with_map, classes):
    batch = make_batch(shape, shape[2:], ignored=True)
    logits = batch.logits if step is None else (batch.logits / step).round() * step
    arguments = logits, batch.target, batch.weight if with_map else None
    loss, gradient = compute(monkeypatch, *arguments, classes=classes)
    expected, expected_gradient = compute(monkeypatch, *arguments, classes=classes, compiled=False)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(gradient, expected_gradient)


def test_channels_last_and_half_precision(monkeypatch):
    batch = make_batch((2, 5, 9, 13), (9, 13), dtype=torch.bfloat16, ignored=True)
    logits = batch.logits.detach().to(memory_format=torch.channels_last)
    found = compute(monkeypatch, logits, batch.target)
    expected = compute(monkeypatch, logits, batch.target, compiled=False)
    torch.testing.assert_close(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_nothing_valid_and_nothing_wrong(monkeypatch):
    batch = make_batch((2, 3, 4, 5), (4, 5))
    loss, gradient = compute(monkeypatch, batch.logits, torch.full_like(batch.target, 255))
    assert loss == 0 and not gradient.any()
    right = 200 * torch.nn.functional.one_hot(batch.target, 3).movedim(-1, 1).float()
    assert compute(monkeypatch, right, batch.target)[0] == 0


def test_nan_at_a_valid_pixel_reaches_the_loss_and_at_an_ignored_one_does_not(monkeypatch):
    batch = make_batch((1, 3, 4, 5), (4, 5))
    logits = batch.logits.detach().clone()
    logits[0, :, 1, 2] = torch.nan
    assert compute(monkeypatch, logits, batch.target)[0].isnan()
    batch.target[0, 1, 2] = 255
    loss, gradient = compute(monkeypatch, logits, batch.target)
    assert loss.isfinite() and gradient.isfinite().all() and not gradient[0, :, 1, 2].any()


def test_the_same_bits_whatever_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(call, "choose_threads", lambda work: torch.get_num_threads())
    batch = make_batch((2, 7, 40, 41), (40, 41), ignored=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute(monkeypatch, batch.logits, batch.target, batch.weight))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0]) and torch.equal(gradient, found[0][1])


def test_a_second_derivative_is_refused(monkeypatch):
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    batch = make_batch((1, 3, 4, 5), (4, 5))
    loss = lovasz_loss(batch.logits, batch.target)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, batch.logits, create_graph=True)
