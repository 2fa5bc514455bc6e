"""Focal Tversky, log-cosh Dice and their kin: special cases, limits, and slopes where a power has none."""

import math

import pytest
import torch

from segkit.losses import dice_loss, focal_tversky_loss, log_cosh_dice_loss, tversky_loss
from segkit.losses.common.region import part, power
from tests.losses.cases import make_batch

PRICES = {"alpha": 0.4, "beta": 0.8, "smooth": 0.5}


def slope_of(loss, batch):
    return torch.autograd.grad(loss, batch.logits)[0]


def confident(batch, size):
    """Logits that are right at every pixel, `size` above the others."""
    return size * torch.nn.functional.one_hot(batch.target, 3).movedim(-1, 1).float()


# ------------------------------------------------------------------------------------------------------ focal tversky


def test_focal_tversky_of_gamma_1_is_tversky():
    batch = make_batch(ignored=True)
    focal = focal_tversky_loss(batch.logits, batch.target, batch.weight, gamma=1.0, **PRICES)
    plain = tversky_loss(batch.logits, batch.target, batch.weight, **PRICES)
    torch.testing.assert_close(focal, plain)
    torch.testing.assert_close(slope_of(focal, batch), slope_of(plain, batch))


def test_focal_tversky_is_the_power_of_the_tversky_loss_of_each_class_not_of_the_mean():
    batch = make_batch(scale=4.0)
    each = []
    for c in range(3):
        p, y = batch.logits.softmax(1)[:, c], (batch.target == c).float()
        i, fp, fn = (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum()
        each.append(1 - (i + 0.5) / (i + 0.4 * fp + 0.8 * fn + 0.5))
    focal = focal_tversky_loss(batch.logits, batch.target, gamma=2.0, **PRICES)
    torch.testing.assert_close(focal, torch.stack(each).sqrt().mean())
    assert abs(focal - torch.stack(each).mean().sqrt()) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gamma", [0.5, 4 / 3, 3.0])
def test_the_slope_of_focal_tversky_is_finite_up_to_the_perfect_prediction(gamma, dtype):
    """The power has an infinite slope at 0; to the logits the slope falls to 0 with the errors."""
    batch, before = make_batch(), math.inf
    for size in (10.0, 20.0, 40.0, 80.0, 200.0, 800.0):
        logits = confident(batch, size).to(dtype).requires_grad_()
        loss = focal_tversky_loss(logits, batch.target, gamma=gamma, smooth=0.0)
        (slope,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite() and slope.isfinite().all()
        assert slope.abs().max() <= before
        before = slope.abs().max()
    assert loss.item() == 0 and torch.equal(slope, torch.zeros_like(slope))


def test_power_is_the_power_and_its_slope_is_finite():
    x = torch.tensor([0.0, 1e-45, 1e-38, 1e-3, 0.25, 1.0], requires_grad=True)
    y = power(x, 1 / 3)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y[2:], x[2:] ** (1 / 3))
    torch.testing.assert_close(slope[3:], x[3:].detach() ** (-2 / 3) / 3)
    assert y[0] == 0 and slope.isfinite().all()
    assert power(torch.tensor([float("nan")]), 0.5).isnan().all()


def test_part_is_0_where_nothing_is():
    errors = torch.tensor([0.0, 0.0, 3.0, 1e-20], requires_grad=True)
    found = part(errors, torch.tensor([0.0, 2.0, 1.0, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.75, 1e-20]))
    assert torch.autograd.grad(found.sum(), errors)[0].isfinite().all()
    assert part(torch.tensor([float("nan")]), torch.tensor([0.0])).isnan().all()


# ------------------------------------------------------------------------------------------------------ log-cosh dice


def test_log_cosh_dice_is_the_log_cosh_of_dice():
    batch = make_batch(ignored=True)
    for classes in ("present", "all"):
        dice = dice_loss(batch.logits, batch.target, batch.weight, classes=classes)
        flat = log_cosh_dice_loss(batch.logits, batch.target, batch.weight, classes=classes)
        torch.testing.assert_close(flat, dice.cosh().log())
        torch.testing.assert_close(slope_of(flat, batch), dice.tanh() * slope_of(dice, batch))


def test_log_cosh_dice_keeps_its_digits_near_0():
    """log(cosh(1e-4)) is 5e-9, which fp32 cannot see beside the 1 of cosh."""
    batch = make_batch()
    logits = confident(batch, 9.0)
    single = log_cosh_dice_loss(logits, batch.target, smooth=0.0)
    assert 0 < single.item() < 1e-7
    assert single.item() == pytest.approx(
        log_cosh_dice_loss(logits.double(), batch.target, smooth=0.0).item(), rel=1e-3
    )
