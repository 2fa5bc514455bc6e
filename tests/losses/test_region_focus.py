"""Focal Tversky, log-cosh Dice, unified focal, Matthews: special cases, limits, slopes where a power has none."""

import math

import pytest
import torch

from segkit.losses import (
    cross_entropy,
    dice_loss,
    focal_tversky_loss,
    log_cosh_dice_loss,
    mcc_loss,
    tversky_loss,
    unified_focal_loss,
)
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


# ------------------------------------------------------------------------------------------------------ unified focal


def test_unified_focal_holds_cross_entropy_and_tversky():
    batch = make_batch(ignored=True)
    inputs = (batch.logits, batch.target, batch.weight)
    for symmetric in (False, True):
        how = {"gamma": 0.0, "symmetric": symmetric, "smooth": 0.5}
        by_pixel = unified_focal_loss(*inputs, mix=1.0, delta=0.5, **how)
        torch.testing.assert_close(by_pixel, cross_entropy(*inputs) / 2)
        torch.testing.assert_close(slope_of(by_pixel, batch), slope_of(cross_entropy(*inputs), batch) / 2)
        by_region = unified_focal_loss(*inputs, mix=0.0, delta=0.7, **how)
        torch.testing.assert_close(by_region, tversky_loss(*inputs, alpha=0.3, beta=0.7, smooth=0.5))


def test_unified_focal_of_two_classes_is_the_published_form():
    """Asymmetric: the exponents touch the pixels of the background and the region of the other class alone."""
    batch = make_batch((2, 2, 5, 7), dtype=torch.float64)
    p, y = batch.logits.softmax(1), torch.stack([batch.target == 0, batch.target == 1], 1).double()
    ce = -y * p.log()
    pixels = 0.3 * (1 - p[:, 0]) ** 0.2 * ce[:, 0] + 0.7 * ce[:, 1]
    i, fn, fp = (x.sum((0, 2, 3)) for x in (p * y, (1 - p) * y, p * (1 - y)))
    gap = 1 - (i + 1e-6) / (i + 0.7 * fn + 0.3 * fp + 1e-6)
    expected = 0.4 * pixels.mean() + 0.6 * (gap[0] + gap[1] ** 0.8) / 2
    found = unified_focal_loss(batch.logits, batch.target, mix=0.4, delta=0.7, gamma=0.2)
    torch.testing.assert_close(found, expected)


def test_the_background_of_unified_focal_may_be_several_classes():
    batch = make_batch((2, 4, 5, 7))
    order = torch.tensor([2, 0, 3, 1])  # the class that each was before
    moved = order.argsort()[batch.target]
    one = unified_focal_loss(batch.logits, batch.target, background=[0, 2], gamma=0.3)
    same = unified_focal_loss(batch.logits[:, order], moved, background=[0, 1], gamma=0.3)
    torch.testing.assert_close(one, same)
    assert abs(one - unified_focal_loss(batch.logits, batch.target, background=[0, 1], gamma=0.3)) > 1e-4


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99])
def test_the_slope_of_unified_focal_is_finite_up_to_the_perfect_prediction(gamma, symmetric):
    batch = make_batch()
    for size in (10.0, 20.0, 40.0, 80.0, 200.0, 800.0):
        logits = confident(batch, size).requires_grad_()
        loss = unified_focal_loss(logits, batch.target, gamma=gamma, symmetric=symmetric, smooth=0.0)
        (slope,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite() and slope.isfinite().all()
    assert loss.item() == 0 and torch.equal(slope, torch.zeros_like(slope))


# ----------------------------------------------------------------------------------------------------------- matthews


def test_mcc_of_a_hard_prediction_is_that_of_its_confusion_matrix():
    target, other = make_batch(seed=1).target, make_batch(seed=2).target
    hard = 200 * torch.nn.functional.one_hot(other, 3).movedim(-1, 1).double()
    each = []
    for c in range(3):
        pair = torch.stack([(target == c).double().flatten(), (other == c).double().flatten()])
        each.append(1 - torch.corrcoef(pair)[0, 1])  # MCC is the correlation of the two masks
    torch.testing.assert_close(mcc_loss(hard, target, smooth=0.0), torch.stack(each).mean())


def test_mcc_of_two_classes_is_the_same_for_either_from_0_to_2():
    batch = make_batch((2, 2, 5, 7))
    loss = mcc_loss(batch.logits, batch.target)
    torch.testing.assert_close(loss, mcc_loss(batch.logits.flip(1), 1 - batch.target))
    hard = 200 * torch.nn.functional.one_hot(batch.target, 2).movedim(-1, 1).float()
    assert mcc_loss(hard, batch.target).item() == 0
    assert mcc_loss(-hard, batch.target, smooth=0.0).item() == pytest.approx(2)
    assert mcc_loss(0 * hard, batch.target, smooth=0.0).item() == pytest.approx(1)


def test_mcc_learns_from_a_batch_of_a_single_class():
    """The correlation with a region that is everything is 0 / 0; `smooth` gives it a value and a slope."""
    batch = make_batch()
    batch.target.fill_(1)
    losses = []
    for shift in (0.0, 1.0, 4.0):
        logits = (
            batch.logits.detach() + shift * torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
        ).requires_grad_()
        for classes in ("present", "all"):
            loss = mcc_loss(logits, batch.target, classes=classes)
            (slope,) = torch.autograd.grad(loss, logits)
            assert (slope[:, 1] < 0).all()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1] > 0
    logits = batch.logits.detach().requires_grad_()
    loss = mcc_loss(logits, batch.target, smooth=0.0)
    assert loss.item() == 1 and not torch.autograd.grad(loss, logits)[0].any()


def test_mcc_of_as_many_pixels_as_one_likes_does_not_overflow():
    batch = make_batch()
    many = mcc_loss(batch.logits, batch.target, torch.full_like(batch.weight, 1e12), smooth=0.0)
    torch.testing.assert_close(many, mcc_loss(batch.logits, batch.target, smooth=0.0))
    assert slope_of(many, batch).isfinite().all()
