"""Region mutual information: against its definition, and what windows do at rims and ignored pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.errors import ConfigError
from segkit.losses import cross_entropy, rmi_loss
from segkit.losses.common import windows
from segkit.registry import LOSSES
from tests.losses import rmi_reference
from tests.losses.cases import make_batch
from tests.on_the_device import OnTheDevice

#: Few cells, so that the loops are quick; a ridge at which differences of values still tell the slope.
SMALL = {"mix": 0.3, "radius": 2, "pool": 1, "ridge": 0.05}
SETTINGS = {
    "every pixel a cell": ((2, 3, 4, 5), SMALL),
    "cells of 2 x 2, some cut": ((2, 2, 5, 7), {**SMALL, "pool": 2}),
    "three classes of cells": ((1, 3, 6, 5), {**SMALL, "radius": 3, "mix": 0.0}),
    "sigmoid": ((2, 2, 4, 5), {**SMALL, "probabilities": "sigmoid"}),
}


@pytest.fixture(params=[2**60, 0], ids=["plain", "compiled"])
def way(request, monkeypatch):
    """How fp32 is computed."""
    monkeypatch.setattr(windows, "WORTH_COMPILING", request.param)


def value_and_slope(logits, target, weight=None, **options):
    logits = logits.detach().requires_grad_()
    loss = rmi_loss(logits, target, weight, **options)
    return loss, torch.autograd.grad(loss, logits)[0]


def make_probabilities(batch, probabilities):
    return batch.logits.sigmoid() if probabilities == "sigmoid" else batch.logits.softmax(dim=1)


# ------------------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("with_map", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_value_and_gradient_equal_the_loops(setting, ignored, with_map):
    shape, options = SETTINGS[setting]
    batch = make_batch(shape, shape[2:], dtype=torch.float64, seed=2)
    if ignored:
        batch.target[0, 0, 0] = batch.target[-1, -1, 1] = 255
    weight = batch.weight if with_map else None
    loss, slope = value_and_slope(batch.logits, batch.target, weight, **options)
    expected = rmi_reference.value(batch.logits, batch.target, weight=weight, **options)
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    step, z = 1e-5, batch.logits.detach().clone()
    for place in range(0, z.numel(), 7):
        saved, ends = z.view(-1)[place].item(), []
        for sign in (1, -1):
            z.view(-1)[place] = saved + sign * step
            ends.append(rmi_reference.value(z, batch.target, weight=weight, **options))
        z.view(-1)[place] = saved
        difference = (ends[0] - ends[1]) / (2 * step)
        assert slope.view(-1)[place].item() == pytest.approx(difference, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("held", [2**8, 2**30])
@pytest.mark.parametrize("probabilities", ["softmax", "sigmoid"])
@pytest.mark.parametrize("pool", [1, 3])
def test_it_is_what_the_authors_unfold(pool, probabilities, held, monkeypatch):
    """But for the constant; with the windows laid out one class at a time, or all at once."""
    monkeypatch.setitem(windows.HELD, "cpu", held)
    batch = make_batch((2, 4, 18, 21), (18, 21), dtype=torch.float64)
    target = F.interpolate(batch.target[:, None, ::3, ::3].double(), (18, 21)).squeeze(1).long()
    p = make_probabilities(batch, probabilities)
    y = F.one_hot(target, 4).movedim(-1, 1).double()
    pooled = (F.avg_pool2d(each, pool) for each in (p, y))
    expected = rmi_reference.by_unfolding(*pooled, radius=3, ridge=5e-4)
    slope = torch.autograd.grad(expected, batch.logits)[0]
    loss, found = value_and_slope(batch.logits, target, mix=0.0, pool=pool, probabilities=probabilities)
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found, slope, rtol=1e-5, atol=1e-9)


def test_the_gradient_in_double_precision():
    batch = make_batch((1, 3, 7, 6), (7, 6), dtype=torch.float64, ignored=True)
    options = {"radius": 2, "pool": 1, "ridge": 0.05}
    soft = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1) * 0.8 + 0.05
    for target in (batch.target, soft.double()):
        for probabilities in ("softmax", "sigmoid"):
            assert torch.autograd.gradcheck(
                lambda z, t=target, p=probabilities: rmi_loss(z, t, batch.weight, probabilities=p, **options),
                (batch.logits,),
            )


@pytest.mark.usefixtures("way")
def test_soft_labels_that_are_one_hot_equal_ids():
    batch = make_batch((2, 3, 8, 9), (8, 9), ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    for probabilities in ("softmax", "sigmoid"):
        options = {"radius": 2, "pool": 2, "probabilities": probabilities}
        hard = value_and_slope(batch.logits, batch.target, batch.weight, **options)
        soft = value_and_slope(batch.logits, one_hot, batch.weight, **options)
        torch.testing.assert_close(soft, hard)


def test_mix_1_is_cross_entropy():
    batch = make_batch((2, 3, 8, 9), (8, 9), ignored=True)
    loss = rmi_loss(batch.logits, batch.target, batch.weight, mix=1.0)
    torch.testing.assert_close(loss, cross_entropy(batch.logits, batch.target, batch.weight))
    single = rmi_loss(batch.logits, batch.target, batch.weight, mix=1.0, probabilities="sigmoid")
    bce = F.binary_cross_entropy_with_logits(
        batch.logits,
        F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float(),
        reduction="none",
    ).sum(dim=1)
    mass = batch.weight * (batch.target != 255)
    torch.testing.assert_close(single, (bce * mass).sum() / mass.sum())


# ------------------------------------------------------------------------------------------- its rims and its precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("way")
def test_a_perfect_prediction_is_0_exactly_and_a_better_one_is_less(dtype):
    target = make_batch((2, 3, 24, 28), (24, 28)).target
    one_hot = F.one_hot(target, 3).movedim(-1, 1)
    losses = []
    for size in (0.0, 1.0, 3.0, 9.0, 27.0):
        losses.append(rmi_loss((size * one_hot).to(dtype), target, mix=0.0, pool=2).item())
    assert losses == sorted(losses, reverse=True)
    loss, slope = value_and_slope((800 * one_hot).to(dtype), target, pool=2)
    assert loss.item() == 0 and torch.equal(slope, torch.zeros_like(slope))


@pytest.mark.usefixtures("way")
def test_a_class_that_is_absent_has_no_part():
    batch = make_batch((1, 4, 12, 12), (12, 12))
    batch.target.clamp_max_(2)
    logits = batch.logits.detach()
    logits[:, 3] -= 1e4
    with_it = rmi_loss(logits, batch.target, mix=0.0, pool=1)
    torch.testing.assert_close(with_it, rmi_loss(logits[:, :3], batch.target, mix=0.0, pool=1))
    # Nor where it is predicted: what could be told of it is nothing.
    sure = batch.logits.detach().requires_grad_()
    loss = rmi_loss(sure, batch.target, mix=0.0, pool=1, probabilities="sigmoid")
    assert not torch.autograd.grad(loss, sure)[0][:, 3].any()


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.usefixtures("way")
def test_ignored_pixels_are_as_the_outside_of_the_image(pool):
    batch = make_batch((2, 3, 12, 11), (12, 11))
    options = {"radius": 2, "pool": pool}
    cut = (slice(None), slice(None), slice(0, 7), slice(0, 9))
    target = batch.target.clone()
    target[:, 7:], target[:, :, 9:] = 255, 255
    logits = batch.logits.detach().clone()
    logits[:, :, 7:], logits[:, :, :, 9:] = float("nan"), 1e30
    loss, slope = value_and_slope(logits, target, **options)
    alone, of_alone = value_and_slope(
        batch.logits.detach()[cut].contiguous(), batch.target[:, :7, :9].contiguous(), **options
    )
    torch.testing.assert_close(loss, alone)
    torch.testing.assert_close(slope[cut], of_alone)
    assert not slope[:, :, 7:].any() and not slope[:, :, :, 9:].any()


def test_a_window_with_an_ignored_cell_does_not_count():
    """One ignored pixel in the middle takes nine windows; the others, and no other pixel, are as before."""
    cells = torch.ones(1, 7, 7)
    cells[0, 3, 3] = 0
    weight = windows.weigh_windows(cells, 3)
    assert weight.sum() == 25 - 9 and weight[0, 0].tolist() == [1.0] * 5
    assert weight[0, 1].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    mass = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]]])
    assert windows.pool_mass(mass, 2).tolist() == [[[1.0, 0.0], [0.25, 0.5]]]


@pytest.mark.usefixtures("way")
def test_an_image_without_a_window_has_no_part_and_one_alone_leaves_cross_entropy():
    batch = make_batch((3, 3, 12, 12), (12, 12))
    batch.target[1] = 255
    kept = [0, 2]
    loss = rmi_loss(batch.logits, batch.target, mix=0.0, pool=2)
    assert loss > 0.1
    torch.testing.assert_close(loss, rmi_loss(batch.logits[kept], batch.target[kept], mix=0.0, pool=2))
    small = batch.logits[:, :, :8], batch.target[:, :8]  # two rows of cells of 4, and windows have three
    loss, slope = value_and_slope(*small)
    torch.testing.assert_close(loss, cross_entropy(*small) / 2)
    assert slope.any()


@pytest.mark.usefixtures("way")
def test_single_precision_is_enough_where_windows_leave_nothing_open():
    """Probabilities that are a line through the labels tell them wholly: what is left is less than fp32 can tell beside
    the covariances of many pixels, and yet positive definite."""
    target = (torch.arange(512).view(1, 1, -1) // 7 + torch.arange(384).view(1, -1, 1) // 5) % 2
    one_hot = F.one_hot(target, 2).movedim(-1, 1)
    for size in (0.1, 2.0, 30.0):
        logits = size * one_hot.float()
        loss, slope = value_and_slope(logits, target, mix=0.0, pool=1)
        exact, of_exact = value_and_slope(logits.double(), target, mix=0.0, pool=1)
        assert loss.item() == pytest.approx(exact.item(), rel=1e-4, abs=1e-4)
        assert (slope - of_exact).norm() <= 1e-3 * of_exact.norm() + 1e-9


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation makes."""

    def __init__(self):
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor):
                self.nbytes = max(self.nbytes, each.untyped_storage().nbytes())
        return result


def test_no_tensor_is_larger_than_the_logits(monkeypatch):
    """Laid out at once the windows would be 36 times as large."""
    monkeypatch.setitem(windows.HELD, "cpu", 2**8)
    batch = make_batch((2, 20, 40, 42), (40, 42))
    with Largest() as largest:
        rmi_loss(batch.logits, batch.target, pool=1).backward()
    assert largest.nbytes <= batch.logits.numel() * 4


def test_nothing_waits_for_the_device_with_windows():
    """By default the images of the other tests have none."""
    logits = torch.empty(2, 3, 4, 4, device="meta", requires_grad=True)
    target = torch.empty(2, 8, 8, dtype=torch.uint8, device="meta")
    for probabilities in ("softmax", "sigmoid"):
        for weight in (None, torch.empty(2, 8, 8, device="meta")):
            loss = LOSSES.get("rmi")(3, pool=1, probabilities=probabilities).to("meta")
            with OnTheDevice():
                loss(logits, target, weight, iteration=0)[0].backward()


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": 1.5}, "mix must be in [0, 1], got 1.5"),
        ({"radius": 0}, "radius must be at least 1, got 0"),
        ({"pool": 0}, "pool must be at least 1, got 0"),
        ({"ridge": 0.0}, "ridge must be a number > 0, got 0.0"),
        ({"probabilities": "tanh"}, "probabilities must be one of softmax, sigmoid, got 'tanh'"),
        ({"scope": "image"}, "scope must be one of batch, rank, got 'image'"),
    ],
)
def test_options_out_of_range(options, message):
    batch = make_batch()
    for call in (
        lambda: LOSSES.get("rmi")(num_classes=3, **options),
        lambda: rmi_loss(batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_lists_of_pixels_have_no_windows():
    with pytest.raises(ValueError) as error:
        rmi_loss(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
    assert str(error.value) == "rmi needs images, logits (N, C, H, W), got (4, 3)"


def test_a_run_whose_images_are_too_small_is_an_error():
    run = {"iterations": 10, "pixels_per_batch": 2 * 80, "images_per_batch": 2}
    with pytest.raises(ConfigError) as error:
        LOSSES.get("rmi")(3).check_run(**run)
    assert str(error.value) == (
        "rmi sees no window: with radius 3 and pool 4 an image needs 9 x 9 pixels but has 80 "
        "-> a smaller pool, or radius"
    )
    LOSSES.get("rmi")(3, allow_inactive=True).check_run(**run)
    LOSSES.get("rmi")(3, pool=2).check_run(**run)


def test_the_line_on_the_console():
    line = LOSSES.get("rmi")(3).describe(iterations=10, pixels_per_batch=1000)
    assert line == "rmi  mix 0.5  radius 3  pool 4  softmax"
