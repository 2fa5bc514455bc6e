"""The active boundary loss: value and gradient against the loops, who moves and who does not, and its distances."""

import pytest
import torch
from scipy.ndimage import distance_transform_edt

from segkit.losses import active_boundary_loss
from segkit.losses.common.distance import border_distances
from segkit.losses.regions.active_boundary import _direction_cross_entropy
from segkit.registry import LOSSES
from tests.losses import active_boundary_reference
from tests.losses.cases import Batch, make_batch
from tests.losses.differences import central_differences


def active_boundary(num_classes=3, **options):
    return LOSSES.get("active_boundary")(num_classes=num_classes, ignore_index=255, **options)


def make_areas(shape, *, ignored=False, seed=0) -> Batch:
    """Random logits in fp64, and labels of two areas each, so that most pixels are on no border."""
    batch = make_batch(shape, shape[2:], dtype=torch.float64, ignored=ignored, seed=seed)
    rows, columns = torch.meshgrid(*map(torch.arange, shape[2:]), indexing="ij")
    areas = (rows + 2 * columns > shape[2]).long()
    batch.target = torch.where(batch.target == 255, 255, areas)
    return batch


def differentiate(logits, target, weight=None, **options):
    logits = logits.detach().clone().requires_grad_()
    loss = active_boundary_loss(logits, target, weight, **options)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


OPTIONS = {
    "default": {"share": 0.01, "label_smoothing": 0.2, "max_distance": 20.0},
    "much": {"share": 0.4, "label_smoothing": 0.0, "max_distance": 1.5},
}


@pytest.mark.parametrize("with_map", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_value_and_gradient_equal_the_loops(options, ignored, with_map):
    for shape in ((1, 3, 6, 7), (2, 2, 4, 4), (1, 2, 1, 1)):
        batch = make_areas(shape, ignored=ignored)
        weight = batch.weight if with_map else None
        loss, slope = differentiate(batch.logits, batch.target, weight, **options)
        how = {"weight": weight, "fixed": batch.logits.detach(), **options}
        expected = active_boundary_reference.value(batch.logits, batch.target, **how)
        assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)  # distances are fp32
        differences = central_differences(
            lambda z, target=batch.target, how=how: active_boundary_reference.value(z, target, **how),
            batch.logits,
        )
        torch.testing.assert_close(slope, differences, rtol=1e-5, atol=1e-8)
        if shape == (1, 3, 6, 7):
            assert loss > 0 and slope.count_nonzero()
        found, _ = active_boundary(shape[1], **options)(batch.logits, batch.target, weight, iteration=0)
        assert found.item() == loss.item()


def test_distances_to_borders_are_those_of_scipy():
    target = make_areas((2, 2, 20, 30), ignored=True).target
    found = border_distances(target.to(torch.uint8), ignore_index=255)
    for labels, distance in zip(target, found, strict=True):
        valid = {tuple(place) for place in (labels != 255).nonzero().tolist()}
        away = torch.ones(labels.shape, dtype=torch.bool)
        for place in active_boundary_reference.true_border(labels, valid):
            away[place] = False
        torch.testing.assert_close(distance.double(), torch.from_numpy(distance_transform_edt(away.numpy())))


def test_ignored_pixels_are_as_the_outside_of_the_image():
    batch = make_areas((2, 3, 12, 11), seed=3)
    target = batch.target.clone()
    target[:, :4], target[:, :, 9:] = 255, 255
    whole, gradient = differentiate(batch.logits, target, share=0.1)
    alone, slope = differentiate(batch.logits[:, :, 4:, :9], target[:, 4:, :9], share=0.1)
    assert whole > 0 and torch.equal(whole, alone)
    torch.testing.assert_close(gradient[:, :, 4:, :9], slope)
    for filling in (-50.0, float("nan"), float("inf")):
        changed = batch.logits.masked_fill((target == 255).unsqueeze(1), filling)
        found = differentiate(changed, target, share=0.1)
        assert torch.equal(found[0], whole) and torch.equal(found[1], gradient)


def test_only_pixels_near_a_predicted_border_that_are_on_no_true_one_move():
    target = torch.zeros(1, 9, 12, dtype=torch.int64)
    target[:, :, 6:] = 1  # pixels of column 5 are the true border
    logits = torch.zeros(1, 2, 9, 12)
    logits[:, 1, :, 2:] = 4.0  # predicted between columns 1 and 2
    _, gradient = differentiate(logits, target, share=0.1)
    moved = gradient[0].abs().sum(dim=(0, 1)) > 0
    # In the middle of what is predicted as one class all directions are alike.
    assert moved.tolist() == [False, True, True, *[False] * 9]
    # Column 2 ought to be of class 0, as what lies behind it.
    assert (gradient[0, 1, :, 2] > 0).all() and (gradient[0, 0, :, 2] < 0).all()


def test_nothing_to_move_is_0():
    batch = make_areas((2, 3, 6, 6))
    for logits, target in (
        (torch.zeros_like(batch.logits), batch.target),  # nothing is predicted
        (batch.logits, torch.ones_like(batch.target)),  # there is no border
    ):
        loss, gradient = differentiate(logits, target)
        assert loss == 0 and gradient.count_nonzero() == 0


def test_neighbours_that_are_equally_near_share_the_target():
    scores = torch.tensor([0.3, -1.0, 0.7, 0.0, 2.0, 0.1, 0.2, -0.4]).view(8, 1, 1, 1)
    neighbours = torch.ones(8, 1, 1, 1, dtype=torch.bool)
    neighbours[7] = False
    best = torch.zeros_like(neighbours)
    best[[1, 4]] = True
    found = _direction_cross_entropy(scores, neighbours, best, 0.2)
    log_p = scores[:7].log_softmax(0).flatten()
    target = torch.tensor([0.04, 0.4, 0.04, 0.04, 0.4, 0.04, 0.04])
    torch.testing.assert_close(found.flatten()[0], -(target * log_p).sum())


def test_a_transposed_image_has_the_transposed_gradient():
    batch = make_areas((2, 3, 8, 8), ignored=True)
    expected, gradient = differentiate(batch.logits, batch.target, share=0.2)
    loss, slope = differentiate(batch.logits.mT, batch.target.mT, share=0.2)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(slope.mT, gradient)


def test_distances_that_are_given_are_used():
    batch = make_areas((2, 3, 6, 7), ignored=True)
    loss = active_boundary(share=0.2)
    (name,) = loss.label_maps
    maps = {name: torch.stack([loss.label_maps[name](labels) for labels in batch.target])}
    expected, _ = loss(batch.logits, batch.target, iteration=0)
    given, _ = loss(batch.logits, batch.target, iteration=0, maps=maps)
    assert torch.equal(given, expected)
    halved, _ = loss(batch.logits, batch.target, iteration=0, maps={name: maps[name] / 2})
    torch.testing.assert_close(halved, expected / 2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"share": 0.0}, "share must be in (0, 1], got 0.0"),
        ({"share": 1.5}, "share must be in (0, 1], got 1.5"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in [0, 1), got 1.0"),
        ({"max_distance": 0.0}, "max_distance must be a number > 0, got 0.0"),
        ({"max_distance": float("inf")}, "max_distance must be a number > 0, got inf"),
    ],
)
def test_options_out_of_range(options, message):
    batch = make_batch()
    for call in (
        lambda: active_boundary(**options),
        lambda: active_boundary_loss(batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_what_does_not_fit():
    batch = make_batch()
    with pytest.raises(ValueError) as error:
        active_boundary_loss(batch.logits, batch.target, distance=torch.zeros(2, 5, 6))
    assert str(error.value) == "the distances have shape (2, 5, 6) but must have (2, 5, 7)"
    with pytest.raises(ValueError) as error:
        active_boundary_loss(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    assert str(error.value) == "borders are those of images, logits (N, C, h, w), got (4, 3)"


def test_the_line_on_the_console():
    line = "active_boundary  share 0.01  label_smoothing 0.2  max_distance 20"
    assert active_boundary().describe(iterations=10, pixels_per_batch=1000) == line
