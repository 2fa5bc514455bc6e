"""clDice: value and gradient against the loops, what ignored pixels do to skeletons, ties, and memory."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import cldice_loss, dice_loss
from segkit.losses.common.skeleton import soft_skeleton
from segkit.losses.sum import Term
from segkit.registry import LOSSES
from tests.losses import skeleton_reference
from tests.losses.cases import make_batch
from tests.losses.differences import central_differences
from tests.on_the_device import Made


def cldice(num_classes=3, **options):
    return LOSSES.get("cldice")(num_classes=num_classes, ignore_index=255, **options)


OPTIONS = {
    "default": {"alpha": 0.5, "iterations": 3, "smooth": 1.0},
    "clDice alone": {"alpha": 1.0, "iterations": 1, "smooth": 0.0},
    "dice alone": {"alpha": 0.0, "iterations": 2, "smooth": 0.5},
    "two classes": {"alpha": 0.3, "iterations": 2, "smooth": 0.1, "only": [2, 1]},
}


@pytest.mark.parametrize(("with_map", "classes"), [(False, "present"), (True, "all")])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_value_and_gradient_equal_the_loops(options, with_map, classes):
    for shape in ((1, 3, 4, 5), (2, 3, 3, 3), (1, 3, 1, 3)):
        batch = make_batch(shape, shape[2:], dtype=torch.float64, ignored=True)
        batch.target[batch.target == 1] = 0  # a class is absent
        weight = batch.weight if with_map else None
        how = {**options, "classes": classes}
        loss, _ = cldice(**how)(batch.logits, batch.target, weight, iteration=0)
        expected = skeleton_reference.value(batch.logits, batch.target, weight=weight, **how)
        assert loss.item() == pytest.approx(expected, abs=1e-12)
        (slope,) = torch.autograd.grad(loss, batch.logits)
        differences = central_differences(
            lambda z, target=batch.target, weight=weight, how=how: skeleton_reference.value(
                z, target, weight=weight, **how
            ),
            batch.logits,
        )
        torch.testing.assert_close(slope, differences, rtol=1e-6, atol=1e-9)
        assert cldice_loss(batch.logits, batch.target, weight, **how).item() == loss.item()


def test_gradcheck_of_the_skeleton():
    region = make_batch((2, 2, 7, 6), (7, 6), dtype=torch.float64).logits.sigmoid().detach().requires_grad_()
    inside = torch.rand(2, 1, 7, 6, generator=torch.Generator().manual_seed(0)) < 0.8
    assert torch.autograd.gradcheck(lambda x: soft_skeleton(x, inside, 3), (region,))


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_the_skeleton_is_that_of_the_authors(iterations):
    region = make_batch((2, 3, 24, 17), (24, 17), dtype=torch.float64).logits.sigmoid().detach()
    ours, theirs = region.clone().requires_grad_(), region.clone().requires_grad_()
    found = soft_skeleton(ours, torch.ones(2, 1, 24, 17, dtype=torch.bool), iterations)
    expected = skeleton_reference.authors_skeleton(theirs, iterations)
    torch.testing.assert_close(found, expected)
    towards = torch.rand(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        *(
            torch.autograd.grad((value * towards).sum(), x)[0]
            for value, x in ((found, ours), (expected, theirs))
        )
    )


def test_the_skeleton_of_a_bar_is_its_middle_line():
    bar = torch.zeros(1, 1, 9, 15)
    bar[..., 2:7, 2:13] = 1  # five pixels wide
    found = soft_skeleton(bar, torch.ones(1, 1, 9, 15, dtype=torch.bool), 3)[0, 0]
    assert torch.equal(found[4, 4:11], torch.ones(7))
    assert found[3, 5:10].sum() == 0 and found[5, 5:10].sum() == 0
    assert (
        soft_skeleton(bar, torch.ones(1, 1, 9, 15, dtype=torch.bool), 1)[0, 0, 4, 7] == 0
    )  # too few iterations


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_a_gap_costs_more_than_as_many_pixels_at_the_rim(alpha):
    """What the loss is for: the same overlap, and another topology."""
    target = torch.zeros(1, 11, 21, dtype=torch.int64)
    target[:, 4:7, 1:20] = 1
    gap, rim = target.clone(), target.clone()
    gap[:, 4:7, 10] = 0
    rim[:, 4, 9:12] = 0
    logits = [20.0 * F.one_hot(each, 2).movedim(-1, 1) for each in (gap, rim)]
    overlaps = [dice_loss(each, target) for each in logits]
    torch.testing.assert_close(*overlaps)
    broken, thinner = (cldice_loss(each, target, alpha=alpha, only=[1]) for each in logits)
    assert broken > thinner + 0.01


# ------------------------------------------------------------------------------------------------------ ignored pixels


def differentiate(logits, target, **options):
    logits = logits.detach().clone().requires_grad_()
    loss = cldice_loss(logits, target, **options)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("filling", [-50.0, 0.0, 50.0, float("nan"), float("inf")])
def test_logits_of_ignored_pixels_change_nothing_to_the_bit(filling):
    batch = make_batch((2, 3, 12, 9), (12, 9), ignored=True)
    ignored = (batch.target == 255).unsqueeze(1)
    expected, gradient = differentiate(batch.logits, batch.target)
    found, slope = differentiate(batch.logits.masked_fill(ignored, filling), batch.target)
    assert torch.equal(found, expected) and torch.equal(slope, gradient)
    assert slope.masked_select(ignored).count_nonzero() == 0


@pytest.mark.parametrize("side", ["rows above", "columns to the right"])
def test_ignored_pixels_are_as_the_outside_of_the_image(side):
    """At the rim nothing erodes from them and nothing grows from them: the image could as well end there."""
    batch = make_batch((2, 3, 12, 9), (12, 9), ignored=True)
    part = (slice(3, None), slice(None)) if side == "rows above" else (slice(None), slice(None, 5))
    target = torch.full_like(batch.target, 255)
    target[:, *part] = batch.target[:, *part]
    whole, gradient = differentiate(batch.logits, target, iterations=4)
    alone, slope = differentiate(batch.logits[:, :, *part], batch.target[:, *part], iterations=4)
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(gradient[:, :, *part], slope)


def test_a_larger_image_with_a_hole_equals_the_loops():
    batch = make_batch((1, 2, 9, 11), (9, 11), dtype=torch.float64, ignored=True)
    batch.target[0, 2:5, 3:8] = 255
    how = {"alpha": 0.7, "iterations": 3, "smooth": 0.3}
    expected = skeleton_reference.value(batch.logits, batch.target, **how)
    assert cldice_loss(batch.logits, batch.target, **how).item() == pytest.approx(expected, abs=1e-12)


def test_the_label_of_a_pixel_changes_the_skeleton_and_that_of_an_ignored_one_does_not():
    batch = make_batch((1, 3, 9, 9), (9, 9))
    batch.target[:] = 0
    batch.target[0, 3:6] = 1
    plain = cldice_loss(batch.logits, batch.target, alpha=1.0)
    batch.target[0, 4, 4] = 0  # a hole in the band
    holed = cldice_loss(batch.logits, batch.target, alpha=1.0)
    assert plain != holed
    values = []
    for ignore_index in (255, 7):  # whatever stands there
        batch.target[0, 4, 4] = ignore_index
        loss, gradient = differentiate(batch.logits, batch.target, alpha=1.0, ignore_index=ignore_index)
        assert loss not in (plain, holed) and gradient[0, :, 4, 4].count_nonzero() == 0
        values.append((loss, gradient))
    assert all(torch.equal(one, other) for one, other in zip(*values, strict=True))


def test_a_pixel_of_weight_0_is_as_ignored():
    batch = make_batch((2, 3, 9, 9), (9, 9), ignored=True)
    weight = (batch.weight > 0.5).float()
    ignored = batch.target.masked_fill(weight == 0, 255)
    weighted, gradient = differentiate(batch.logits, batch.target, weight=weight)
    without, slope = differentiate(batch.logits, ignored)
    torch.testing.assert_close(weighted, without)
    torch.testing.assert_close(gradient, slope)


# ---------------------------------------------------------------------------------------------------------------- ties


def test_neighbours_that_tie_share_the_gradient():
    """Opening takes 0.25 away in the middle, from a plane of 0.5: the nine eroded pixels around it tie for the largest,
    and each of these is the smallest of those beside it that are not the middle, which tie too."""
    region = torch.full((1, 1, 5, 5), 0.5)
    region[..., 2, 2] = 0.75
    region.requires_grad_()
    soft_skeleton(region, torch.ones(1, 1, 5, 5, dtype=torch.bool), 1).sum().backward()
    expected = torch.zeros(5, 5)
    expected[2, 2] = 1
    for y, x in [(y, x) for y in (1, 2, 3) for x in (1, 2, 3)]:
        beside = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        tied = [place for place in beside if place != (2, 2)]
        for place in tied:
            expected[place] -= 1 / 9 / len(tied)
    torch.testing.assert_close(region.grad[0, 0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_mirrored_images_that_tie_have_mirrored_gradients(dtype):
    batch = make_batch((2, 3, 8, 8), (8, 8), dtype=dtype, ignored=True)
    logits = batch.logits.detach().round()
    expected, gradient = differentiate(logits, batch.target)
    for dims in ((-1,), (-2,), (-2, -1)):
        loss, slope = differentiate(logits.flip(dims), batch.target.flip(dims))
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(
            slope.flip(dims), gradient, atol=1e-7, rtol=1e-2 if dtype != torch.float32 else 1e-5
        )


# ------------------------------------------------------------------------------------------------------------- the rest


def test_one_class_that_fills_the_image():
    """Nothing erodes from the rim, so there is no skeleton, and clDice has nothing to say of such a class."""
    batch = make_batch((1, 3, 6, 6), (6, 6))
    batch.target[:] = 1
    for classes in ("present", "all"):
        loss, gradient = differentiate(batch.logits, batch.target, classes=classes)
        assert loss.isfinite() and gradient.isfinite().all()
    assert cldice_loss(200.0 * F.one_hot(batch.target, 3).movedim(-1, 1), batch.target, alpha=1.0) == 0


def test_what_is_missed_entirely_without_smoothing():
    """Precision and sensitivity are both 0: the worst value, and no division by 0."""
    target = torch.zeros(1, 7, 7, dtype=torch.int64)
    target[:, 3] = 1
    logits = 200.0 * F.one_hot(target.flip(-1).roll(2, 1), 2).movedim(-1, 1).float()
    loss, gradient = differentiate(logits, target, alpha=1.0, smooth=0.0, only=[1])
    assert loss == 1 and gradient.isfinite().all()


def test_only_some_classes_are_compared():
    batch = make_batch((2, 3, 8, 8), (8, 8), ignored=True)
    each = [cldice_loss(batch.logits, batch.target, only=[k], classes="all") for k in range(3)]
    torch.testing.assert_close(
        cldice_loss(batch.logits, batch.target, only=[0, 2], classes="all"), (each[0] + each[2]) / 2
    )
    torch.testing.assert_close(cldice_loss(batch.logits, batch.target, classes="all"), sum(each) / 3)


def test_volumes_and_lists_of_pixels():
    """In three directions as in two; a list of pixels has no neighbours, so that nothing has a skeleton."""
    torch.manual_seed(0)
    logits, target = torch.randn(1, 2, 4, 5, 6), torch.randint(0, 2, (1, 4, 5, 6))
    flat = logits.movedim(1, -1).reshape(-1, 2), target.reshape(-1)
    assert cldice_loss(logits, target, alpha=1.0) > 0
    assert cldice_loss(*flat, alpha=1.0) == 0
    turned = cldice_loss(logits.movedim(2, -1), target.movedim(1, -1))
    torch.testing.assert_close(turned, cldice_loss(logits, target))


def test_soft_labels_that_are_one_hot_equal_class_ids():
    batch = make_batch((2, 3, 7, 7), (7, 7), ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    torch.testing.assert_close(cldice_loss(batch.logits, one_hot), cldice_loss(batch.logits, batch.target))


def test_it_takes_a_quarter_of_the_memory_of_the_authors_way_at_most():
    logits, target = torch.randn(1, 2, 64, 64), torch.randint(0, 2, (1, 64, 64))
    inside = torch.ones(1, 1, 64, 64, dtype=torch.bool)

    def peak(skeleton) -> int:
        region = logits.detach().requires_grad_()
        with Made() as made:
            (skeleton(region.softmax(1)) * target).sum().backward()
        return made.peak

    ours = peak(lambda p: soft_skeleton(p, inside, 5))
    theirs = peak(lambda p: skeleton_reference.authors_skeleton(p, 5))
    assert ours <= 0.25 * theirs


def test_what_needs_no_gradient_keeps_nothing():
    region, inside = torch.rand(1, 2, 64, 64), torch.ones(1, 1, 64, 64, dtype=torch.bool)
    peaks = []
    for iterations in (2, 20):
        with Made() as made:
            soft_skeleton(region, inside, iterations)
        peaks.append(made.peak)
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"alpha": 1.5}, "alpha must be in [0, 1], got 1.5"),
        ({"alpha": float("nan")}, "alpha must be in [0, 1], got nan"),
        ({"iterations": 0}, "iterations must be a whole number >= 1, got 0"),
        ({"iterations": 2.5}, "iterations must be a whole number >= 1, got 2.5"),
        ({"smooth": -1.0}, "smooth must be a number >= 0, got -1.0"),
        ({"classes": "some"}, "classes must be one of present, all, got 'some'"),
        ({"only": [3]}, "only must be a list of ids of classes (0-2), each once, got [3]"),
        ({"only": [1, 1]}, "only must be a list of ids of classes (0-2), each once, got [1, 1]"),
        ({"only": []}, "only must be a list of ids of classes (0-2), each once, got []"),
    ],
)
def test_options_out_of_range(options, message):
    batch = make_batch()
    for call in (lambda: cldice(**options), lambda: cldice_loss(batch.logits, batch.target, **options)):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_the_line_on_the_console():
    run = {"iterations": 10, "pixels_per_batch": 1000}
    assert cldice().describe(**run) == "cldice  alpha 0.5  iterations 3  smooth 1  classes present"
    line = "cldice  alpha 0.5  iterations 10  smooth 1  only [1]  classes present"
    assert cldice(iterations=10, only=[1]).describe(**run) == line


def test_a_sum_promises_no_more_than_its_terms():
    terms = [Term("dice", LOSSES.get("dice")(3)), Term("cldice", cldice())]
    assert "pixel_order" in LOSSES.get("sum")(num_classes=3, terms=terms).unpromised
    assert LOSSES.get("sum")(num_classes=3, terms=terms[:1]).unpromised == {}
