"""Losses that look at the labels around a pixel (border relaxation, spatial smoothing), against loops over windows."""

import itertools
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import border_relaxed_cross_entropy, cross_entropy, spatial_smoothing_cross_entropy
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.criteria.border_relaxed_ce import _Relaxed, find_near_classes, relax_by_autograd
from segkit.losses.kernels.labels import read_labels
from segkit.losses.pixel import pixel
from segkit.losses.sum import Term
from segkit.registry import CRITERIA, LOSSES, SCHEDULES
from tests.losses import reference
from tests.losses.cases import make_batch

WEIGHTS = [0.5, 2.0, 0.25]
FUNCTIONS = {
    "border_relaxed_ce": border_relaxed_cross_entropy,
    "spatial_smoothing_ce": spatial_smoothing_cross_entropy,
}
every_name = pytest.mark.parametrize("name", FUNCTIONS)


def window(target, place, radius):
    """The labels of the valid pixels of the window, by their (row, column) offset."""
    i, y, x = place
    height, width = target.shape[1:]
    found = {}
    for down, right in itertools.product(range(-radius, radius + 1), repeat=2):
        row, column = y + down, x + right
        if 0 <= row < height and 0 <= column < width and int(target[i, row, column]) != 255:
            found[down, right] = int(target[i, row, column])
    return found


def relaxed(p, near, class_weights):
    """Value, gradient by the logits, and the pixel's weight, of probabilities and the labels around."""
    classes, own = set(near.values()), near[0, 0]
    total = sum(p[c] for c in classes)
    a = class_weights[own]
    slope = [a * (p[c] - (p[c] / total if c in classes else 0.0)) for c in range(len(p))]
    return a * -math.log(total), slope, a


def smoothed(sigma):
    def form(p, near, class_weights, *, radius):
        offsets = itertools.product(range(-radius, radius + 1), repeat=2)
        gauss = {o: math.exp(-(o[0] ** 2 + o[1] ** 2) / (2 * sigma**2)) for o in offsets}
        around = sum(value for offset, value in gauss.items() if offset != (0, 0))
        y = [0.0] * len(p)
        for offset, label in near.items():
            y[label] += around if offset == (0, 0) else gauss[offset]
        y = [class_weights[c] * v / sum(y) for c, v in enumerate(y)]
        value = sum(v * -math.log(q) for v, q in zip(y, p, strict=True))
        slope = [q * sum(y) - v for v, q in zip(y, p, strict=True)]
        return value, slope, class_weights[near[0, 0]]

    return form


def loops(logits, target, form, radius, class_weights=None, weight=None):
    """The mean by weights, and its gradient, of logits at the target's size."""
    class_weights = class_weights or [1.0] * logits.shape[1]
    z = logits.detach().double()
    total = mass = 0.0
    gradient = torch.zeros_like(z)
    for place in (target != 255).nonzero().tolist():
        i, y, x = place
        p = reference.softmax(z[i, :, y, x].tolist())
        value, slope, own = form(p, window(target, place, radius), class_weights)
        m = 1.0 if weight is None else float(weight[i, y, x])
        total, mass = total + m * value, mass + m * own
        gradient[i, :, y, x] = m * torch.tensor(slope, dtype=torch.float64)
    return total / mass, gradient / mass


def form_of(name, radius, sigma=1.0):
    if name == "border_relaxed_ce":
        return {}, relaxed
    form = smoothed(sigma)
    return {"sigma": sigma}, lambda p, near, a: form(p, near, a, radius=radius)


@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("given", [(None, False), (WEIGHTS, True)], ids=str)
@every_name
def test_value_and_gradient_equal_the_loops(name, given, radius):
    class_weights, with_map = given
    for dtype, sigma in ((torch.float64, 1.0), (torch.float32, 0.6), (torch.bfloat16, 2.0)):
        options, form = form_of(name, radius, sigma)
        batch = make_batch((2, 3, 4, 6), (4, 6), ignored=True, dtype=dtype)
        batch.target[1] = 255
        batch.target[1, 2, 2:4] = 1  # and an image of nearly nothing
        weight = batch.weight if with_map else None
        expected, gradient = loops(batch.logits, batch.target, form, radius, class_weights, weight)
        loss, _ = LOSSES.get(name)(3, radius=radius, class_weights=class_weights, **options)(
            batch.logits, batch.target, weight, iteration=0
        )
        (slope,) = torch.autograd.grad(loss, batch.logits)
        assert loss.item() == pytest.approx(expected, rel=1e-10 if dtype == torch.float64 else 3e-6)
        rtol = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2**-7}[dtype]
        torch.testing.assert_close(slope.double(), gradient, rtol=rtol, atol=1e-7)
        weights = None if class_weights is None else torch.tensor(class_weights)
        function = FUNCTIONS[name](
            batch.logits, batch.target, weight, radius=radius, class_weights=weights, **options
        )
        assert function.item() == loss.item()


@every_name
def test_logits_at_a_stride_are_resized_first(name):
    batch = make_batch((2, 3, 2, 3), (7, 8), ignored=True, dtype=torch.float64)
    resized = F.interpolate(batch.logits, (7, 8), mode="bilinear", align_corners=False)
    low, full = FUNCTIONS[name](batch.logits, batch.target), FUNCTIONS[name](resized, batch.target)
    torch.testing.assert_close(low, full)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in (low, full)))


@every_name
def test_gradcheck(name):
    batch = make_batch((2, 3, 2, 3), (4, 5), ignored=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: FUNCTIONS[name](z, batch.target, batch.weight, class_weights=torch.tensor(WEIGHTS)),
        (batch.logits,),
        fast_mode=True,
    )


@every_name
def test_without_borders_and_without_a_window_it_is_cross_entropy(name):
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    torch.testing.assert_close(FUNCTIONS[name](batch.logits, batch.target, radius=0), ce)
    batch.target[batch.target != 255] = 1
    alike = FUNCTIONS[name](batch.logits, batch.target, radius=3)
    torch.testing.assert_close(alike, cross_entropy(batch.logits, batch.target))


@every_name
def test_ignored_neighbours_are_as_if_the_image_ended_there(name):
    """A row and a column that are ignored, against the image without them; and whatever label hides below."""
    batch = make_batch((1, 3, 5, 6), (5, 6))
    batch.target[:, 3:] = 255
    batch.target[:, :, 4:] = 255
    whole = FUNCTIONS[name](batch.logits, batch.target, radius=2)
    (slope,) = torch.autograd.grad(whole, batch.logits)
    cropped = batch.logits.detach()[..., :3, :4].clone().requires_grad_()
    alone = FUNCTIONS[name](cropped, batch.target[:, :3, :4], radius=2)
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(slope[..., :3, :4], torch.autograd.grad(alone, cropped)[0])
    assert slope.abs().sum().isclose(slope[..., :3, :4].abs().sum())


@every_name
def test_images_do_not_see_each_other(name):
    batch = make_batch((3, 3, 4, 5), (4, 5), ignored=True)
    loss, _ = LOSSES.get(name)(3, scope="image")(batch.logits, batch.target, iteration=0)
    each = [FUNCTIONS[name](batch.logits[i : i + 1], batch.target[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss, torch.stack(each).mean())


@every_name
def test_a_mirrored_image_gives_the_mirrored_gradient(name):
    batch = make_batch(ignored=True)
    loss = FUNCTIONS[name](batch.logits, batch.target, radius=2)
    (slope,) = torch.autograd.grad(loss, batch.logits)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT):
        mirrored = FUNCTIONS[name](turn(batch.logits), turn(batch.target), radius=2)
        torch.testing.assert_close(mirrored, loss)
        torch.testing.assert_close(torch.autograd.grad(mirrored, batch.logits)[0], slope)


@every_name
def test_with_ohem_the_pixels_are_those_of_plain_ohem(name):
    batch = make_batch(ignored=True)
    selection = {"name": "ohem", "thresh": 0.3, "n_min": 5}
    kept = [
        pixel(3, criterion={"name": criterion}, selection=selection).pixels(
            batch.logits, batch.target, iteration=0
        )
        for criterion in (name, "ce")
    ]
    assert torch.equal(kept[0].kept, kept[1].kept)
    torch.testing.assert_close(kept[0].loss, kept[1].loss)


def test_a_border_is_content_with_either_class():
    """Two halves: at the border -log(p_0 + p_1), which is 0 if the third class has no probability."""
    target = torch.tensor([[[0, 0, 1, 1]]])
    logits = torch.zeros(1, 3, 1, 4)
    logits[:, 2] = -200.0
    logits.requires_grad_()
    loss = border_relaxed_cross_entropy(logits, target)
    loss.backward()
    torch.testing.assert_close(loss.item(), math.log(2) / 2)
    assert (logits.grad[..., 1:3] == 0).all() and (logits.grad[:, :2, :, ::3] != 0).all()


def test_where_every_class_is_near_nothing_is_left_to_learn():
    """Exactly, and a NaN is not hidden by it."""
    batch = make_batch((1, 2, 1, 2), (1, 2))
    batch.target = torch.tensor([[[0, 1]]])
    loss = border_relaxed_cross_entropy(batch.logits, batch.target)
    (slope,) = torch.autograd.grad(loss, batch.logits)
    assert loss.item() == 0 and torch.equal(slope, torch.zeros_like(slope))
    batch.logits.detach()[0, 0, 0, 0] = torch.nan
    assert border_relaxed_cross_entropy(batch.logits, batch.target).isnan()


def test_the_gradient_is_finite_and_right_where_the_near_classes_have_no_probability():
    """p of both near classes is 0 in fp32, and their ratio is not."""
    logits = torch.tensor([[0.0, -200.0, -201.0]]).T.reshape(1, 3, 1, 1).repeat(1, 1, 1, 2).requires_grad_()
    loss = border_relaxed_cross_entropy(logits, torch.tensor([[[1, 2]]]))
    loss.backward()
    assert loss.item() == pytest.approx(200 - math.log1p(math.exp(-1)), rel=1e-6)
    share = 1 / (1 + math.exp(-1))
    expected = torch.tensor([1.0, -share, share - 1]).view(1, 3, 1, 1) / 2
    torch.testing.assert_close(logits.grad, expected.expand(1, 3, 1, 2))


def test_smoothed_labels_of_the_paper():
    """In the middle of a border of two halves, sigma 1: half for the own class, and what the window has of it."""
    target = torch.tensor([[[0, 0, 1]] * 3])
    near, far = math.exp(-0.5), math.exp(-1.0)
    other = (near + 2 * far) / (4 * near + 4 * far) / 2
    for sigma, expected in ((1.0, other), (1e-3, 1 / 8), (1e-170, 1 / 8), (1e6, 3 / 16)):
        logits = torch.zeros(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        loss = spatial_smoothing_cross_entropy(logits, target, sigma=sigma)
        loss.backward()  # the gradient is (p - y) / 9
        y = 0.5 - 9 * logits.grad[0, :, 1, 1]
        torch.testing.assert_close(y, torch.tensor([1 - expected, expected], dtype=torch.float64))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("border_relaxed_ce", {"radius": -1}, "radius must be a number of pixels from 0 to 10, got -1"),
        ("border_relaxed_ce", {"radius": 11}, "radius must be a number of pixels from 0 to 10, got 11"),
        ("spatial_smoothing_ce", {"radius": 1.5}, "radius must be a number of pixels from 0 to 10, got 1.5"),
        ("spatial_smoothing_ce", {"sigma": 0.0}, "sigma must be a number > 0, got 0.0"),
        ("spatial_smoothing_ce", {"sigma": float("inf")}, "sigma must be a number > 0, got inf"),
    ],
)
def test_options_out_of_range(name, options, message):
    batch = make_batch()
    for call in (
        lambda: LOSSES.get(name)(num_classes=3, **options),
        lambda: CRITERIA.get(name)(num_classes=3, **options),
        lambda: FUNCTIONS[name](batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


@every_name
def test_what_has_no_neighbours_is_refused(name):
    with pytest.raises(ValueError) as error:
        FUNCTIONS[name](torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
    assert str(error.value) == f"{name} needs the class ids of images, (N, H, W), got (4,)"
    with pytest.raises(ValueError) as error:
        FUNCTIONS[name](torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    assert str(error.value) == f"{name} makes soft labels of class ids, and the target is soft labels already"


@pytest.mark.parametrize("sure", [1, 100, 1e4])
def test_what_is_compiled_is_the_same(sure):
    batch = make_batch(ignored=True)
    batch.logits = (batch.logits.detach() * sure).requires_grad_()
    labels = read_labels(batch.target, 255)
    near = find_near_classes(labels, 1, classes=3)
    for found, expected in zip(
        relax_by_autograd(batch.logits, near, *labels),
        _Relaxed.apply(batch.logits, near, *labels),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
        if expected.requires_grad:
            slopes = [torch.autograd.grad(value.sum(), batch.logits)[0] for value in (found, expected)]
            torch.testing.assert_close(*slopes)


@every_name
def test_what_is_made_of_it_says_too_that_order_matters(name):
    """For `check_loss`: of the loss itself, with a schedule, and in a sum."""
    loss = LOSSES.get(name)(3)
    radius = Schedule("linear", SCHEDULES.get("linear"), 3, 1, 0, 10, whole=True)
    moving = Scheduled(partial(LOSSES.get(name), num_classes=3), {"radius": radius})
    added = LOSSES.get("sum")(3, terms=[Term("dice", LOSSES.get("dice")(3)), Term("near", loss)])
    assert (
        loss.unpromised.keys()
        == moving.unpromised.keys()
        == added.unpromised.keys()
        == {"pixel_order", "ties"}
    )
    assert not LOSSES.get("ce")(3).unpromised


def test_the_line_on_the_console():
    run = {"iterations": 10, "pixels_per_batch": 1000}
    assert LOSSES.get("border_relaxed_ce")(3).describe(**run) == "border_relaxed_ce  radius 1"
    line = "spatial_smoothing_ce  sigma 1  radius 2  class_weights [1, 2, 3]"
    loss = LOSSES.get("spatial_smoothing_ce")(3, radius=2, class_weights=[1.0, 2.0, 3.0])
    assert loss.describe(**run) == line
