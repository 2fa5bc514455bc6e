"""The boundary loss and its distances: against scipy and the loops, at the rim, and on the way through the loader."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from segkit.config.load import config_from_mapping
from segkit.losses import boundary_loss
from segkit.losses.common import distance
from segkit.losses.common.distance import signed_distances, squared_distances
from segkit.losses.regions import boundary as boundary_module
from segkit.registry import LOSSES
from segkit.training.build import build
from tests.losses import distance_reference
from tests.losses.cases import make_batch
from tests.losses.differences import central_differences
from tests.training.test_build import TINY

SIZES = [(1, 1), (1, 9), (8, 1), (7, 11), (33, 20), (40, 64)]


def boundary(num_classes=3, **options):
    return LOSSES.get("boundary")(num_classes=num_classes, ignore_index=255, **options)


def blobs(size, num_classes=3, seed=0):
    """Labels (H, W) in which neighbours are mostly of one class."""
    noise = torch.randn(1, num_classes, *size, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(noise, 5, 1, 2).argmax(dim=1)[0]


# ----------------------------------------------------------------------------------------------------------- distances


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_squared_distances_are_those_of_scipy_in_either_way(size, share):
    points = torch.rand(size, generator=torch.Generator().manual_seed(size[0])) <= share
    found = squared_distances(points)
    assert torch.equal(found, distance._by_steps(points)) and found.dtype == torch.float32
    if points.any():
        expected = torch.from_numpy(distance_transform_edt(~points.numpy()))
        torch.testing.assert_close(found.double().sqrt(), expected)
    else:
        assert found.isinf().all()


@pytest.mark.parametrize("only", [None, [2], [2, 0]])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_signed_distances_are_those_of_scipy(size, only):
    labels = blobs(size)
    found = signed_distances(labels, num_classes=4, ignore_index=255, only=only)
    for k, class_id in enumerate(range(4) if only is None else only):
        inside = (labels == class_id).numpy()
        expected = torch.zeros(size, dtype=torch.float64)
        if inside.any() and not inside.all():
            signed = distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside
            expected = torch.from_numpy(signed)
        torch.testing.assert_close(found[k].double(), expected)


@pytest.mark.parametrize("ignore_index", [255, 1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_signed_distances_equal_the_loops_where_pixels_are_ignored(dtype, ignore_index):
    for seed in range(3):
        target = make_batch((2, 3, 7, 9), (7, 9), ignored=True, seed=seed).target
        target[target == 255] = ignore_index
        found = signed_distances(target.to(dtype), num_classes=3, ignore_index=ignore_index)
        torch.testing.assert_close(found, distance_reference.distances(target, 3, ignore_index))
        assert found.masked_select((target == ignore_index).unsqueeze(1)).count_nonzero() == 0


def test_a_class_that_is_absent_or_alone_has_no_border():
    found = signed_distances(torch.tensor([[1, 1, 255], [1, 255, 1]]), num_classes=3, ignore_index=255)
    assert found.count_nonzero() == 0


def test_ignored_pixels_are_as_the_outside_of_the_image():
    labels = blobs((12, 14))
    cut = labels.clone()
    cut[:, 9:], cut[:2] = 255, 255
    alone = signed_distances(labels[2:, :9], num_classes=3, ignore_index=255)
    assert torch.equal(signed_distances(cut, num_classes=3, ignore_index=255)[:, 2:, :9], alone)


# ------------------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("with_map", [False, True])
@pytest.mark.parametrize("only", [None, [1, 2], [0]])
def test_value_and_gradient_equal_the_loops(only, with_map):
    for shape in ((2, 3, 4, 5), (1, 3, 6, 3), (1, 3, 1, 1)):
        batch = make_batch(shape, shape[2:], dtype=torch.float64, ignored=True)
        weight = batch.weight if with_map else None
        loss, _ = boundary(only=only)(batch.logits, batch.target, weight, iteration=0)
        how = {"weight": weight, "only": only}
        expected = distance_reference.value(batch.logits, batch.target, **how)
        assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)  # distances are fp32
        (slope,) = torch.autograd.grad(loss, batch.logits)
        differences = central_differences(
            lambda z, target=batch.target, how=how: distance_reference.value(z, target, **how), batch.logits
        )
        torch.testing.assert_close(slope, differences, rtol=1e-5, atol=1e-8)
        assert boundary_loss(batch.logits, batch.target, weight, only=only).item() == loss.item()


def test_gradcheck():
    batch = make_batch((1, 3, 3, 4), (6, 8), dtype=torch.float64, ignored=True)
    assert torch.autograd.gradcheck(lambda z: boundary_loss(z, batch.target, batch.weight), (batch.logits,))


def test_the_gradient_is_that_without_the_constant_of_the_labels():
    """The authors' mean of p d."""
    batch = make_batch(dtype=torch.float64)
    maps = signed_distances(batch.target, num_classes=3, ignore_index=255)
    theirs = (batch.logits.softmax(1) * maps).mean()
    ours = boundary_loss(batch.logits, batch.target)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in (ours, theirs)))


def test_it_is_0_where_all_is_right_and_rises_with_the_distance():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[:, :, 10:] = 1

    def shifted(by):
        return boundary_loss(
            200.0 * F.one_hot(target.roll(-by, 2), 2).movedim(-1, 1)[:, :, :, :18], target[:, :, :18]
        )

    values = [shifted(by).item() for by in range(5)]
    assert values[0] == 0 and values == sorted(set(values))
    assert values[4] - values[3] > values[2] - values[1]  # by area x distance


def test_a_class_that_is_absent_costs_nothing():
    batch = make_batch()
    batch.target[:] = 1
    loss = boundary_loss(batch.logits, batch.target)
    (gradient,) = torch.autograd.grad(loss, batch.logits)
    assert loss == 0 and gradient.count_nonzero() == 0


def test_logits_of_ignored_pixels_change_nothing_to_the_bit():
    batch = make_batch((2, 3, 12, 9), (12, 9), ignored=True)
    ignored = (batch.target == 255).unsqueeze(1)

    def differentiate(logits):
        logits = logits.detach().requires_grad_()
        loss = boundary_loss(logits, batch.target)
        return loss, torch.autograd.grad(loss, logits)[0]

    expected = differentiate(batch.logits)
    for filling in (-50.0, 50.0, float("nan"), float("inf")):
        found = differentiate(batch.logits.masked_fill(ignored, filling))
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_soft_labels_that_are_one_hot_equal_class_ids():
    batch = make_batch(ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    torch.testing.assert_close(
        boundary_loss(batch.logits, one_hot), boundary_loss(batch.logits, batch.target)
    )


def test_what_is_refused():
    batch = make_batch()
    with pytest.raises(ValueError) as error:
        boundary(only=[5])
    assert str(error.value) == "only must be a list of ids of classes (0-2), each once, got [5]"
    with pytest.raises(ValueError) as error:
        boundary_loss(batch.logits, batch.target, distance=torch.zeros(2, 2, 5, 7))
    assert str(error.value) == "the distances have shape (2, 2, 5, 7) but must have (2, 3, 5, 7)"
    with pytest.raises(ValueError) as error:
        boundary_loss(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    assert str(error.value) == "distances are those of images, logits (N, C, h, w), got (4, 3)"


def test_the_line_on_the_console():
    run = {"iterations": 10, "pixels_per_batch": 1000}
    assert boundary().describe(**run) == "boundary"
    assert boundary(only=[1]).describe(**run) == "boundary  only [1]"


# ----------------------------------------------------------------------------------------------- made while data loads

#: The region loss gives way to the boundary loss, as its authors have it.
REBALANCED = {
    "name": "sum",
    "terms": [
        {"name": "dice", "weight": {"name": "linear", "from": 1.0, "to": 0.01}},
        {"name": "boundary", "only": [1, 2], "weight": {"name": "linear", "from": 0.0, "to": 0.99}},
    ],
}


def experiment(loss, **train):
    return build(
        config_from_mapping({**TINY, "loss": loss, "train": {**TINY["train"], **train}}, origin="test")
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_the_distances_come_with_the_augmented_labels(workers):
    built = experiment({"name": "boundary"}, workers=workers)
    for batch in built.train_batches(0, num_batches=2):
        assert torch.equal(
            batch["distance"], signed_distances(batch["target"], num_classes=5, ignore_index=255)
        )
    assert "distance" not in next(iter(built.val_batches()))
    assert "distance" not in next(iter(experiment({"name": "dice"}).train_batches(0)))


def test_what_is_made_of_the_labels_goes_to_other_processes():
    maps = boundary(only=[1]).label_maps
    assert list(maps) == ["distance_1"]
    labels = blobs((9, 9))
    again = pickle.loads(pickle.dumps(maps["distance_1"]))
    assert torch.equal(again(labels), maps["distance_1"](labels))


def test_the_term_that_rises_gets_its_distances(monkeypatch):
    """And computes none of its own: the region loss falls from 1 to 0.01 meanwhile."""
    built = experiment(REBALANCED, iterations=4)
    trainer = built.trainer(recorder=None, save=lambda *found: None)
    batch = next(iter(built.train_batches(0)))
    logits = make_batch((4, 5, 32, 32), (32, 32)).logits
    terms = LOSSES.get("dice")(num_classes=5), boundary(5, only=[1, 2])
    parts = [loss(logits, batch["target"], iteration=0)[0] for loss in terms]
    monkeypatch.setattr(boundary_module, "signed_distances", None)
    for iteration, (first, second) in enumerate([(1.0, 0.0), (0.7525, 0.2475), (0.505, 0.495)]):
        trainer.iteration = iteration
        value, metrics = trainer.call_loss(logits, batch)
        torch.testing.assert_close(value, first * parts[0] + second * parts[1])
        assert metrics["schedule_boundary.weight"] == pytest.approx(second)


def test_distances_that_are_given_are_used():
    batch = make_batch()
    maps = {"distance": signed_distances(batch.target, num_classes=3, ignore_index=255)}
    expected, _ = boundary()(batch.logits, batch.target, iteration=0)
    given, _ = boundary()(batch.logits, batch.target, iteration=0, maps=maps)
    assert torch.equal(given, expected)
    halved, _ = boundary()(batch.logits, batch.target, iteration=0, maps={"distance": maps["distance"] / 2})
    torch.testing.assert_close(halved, expected / 2)
