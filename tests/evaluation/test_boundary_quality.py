"""The scores of borders against their definitions as explicit loops, and what they must not depend on."""

import math

import numpy as np
import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.evaluation.boundary_quality import BorderCounts, BoundaryMeter, within
from segkit.evaluation.evaluate import evaluate
from segkit.evaluation.scores import boundary_as_json, boundary_table
from segkit.evaluation.upsampled_scores import predict_pixels
from segkit.training.build import build

IGNORE = 255


def measure(*pairs, classes=3, tolerance=2.0):
    meter = BoundaryMeter(num_classes=classes, ignore_index=IGNORE, tolerance=tolerance)
    counts = [meter.count(target[None], prediction[None]) for target, prediction in pairs]
    return BorderCounts(torch.cat(counts), tolerance).scores()


def reference_counts(target, prediction, *, classes, tolerance):
    """The six counts of each class of one image, pixel by pixel."""
    places = [(y, x) for y in range(target.shape[0]) for x in range(target.shape[1])]
    valid = [place for place in places if target[place] != IGNORE]
    counts = []
    for c in range(classes):
        label = {place for place in valid if target[place] == c}
        answer = {place for place in valid if prediction[place] == c}
        parts = []
        for inside in (label, answer):
            outside = set(valid) - inside
            band = {place for place in inside if near(place, outside, tolerance)}
            parts += [band, {place for place in inside if near(place, outside, 1)}]
        label_band, label_border, answer_band, answer_border = parts
        counts.append(
            [
                len(label_band & answer_band),
                len(label_band | answer_band),
                sum(near(place, label_border, tolerance) for place in answer_border),
                len(answer_border),
                sum(near(place, answer_border, tolerance) for place in label_border),
                len(label_border),
            ]
        )
    return counts


def reference(pairs, *, classes, tolerance):
    """Boundary IoU and F1 of each class over all images."""
    totals = [[0] * 6 for _ in range(classes)]
    for pair in pairs:
        for total, found in zip(
            totals, reference_counts(*pair, classes=classes, tolerance=tolerance), strict=True
        ):
            total[:] = [a + b for a, b in zip(total, found, strict=True)]
    iou, f1 = [], []
    for hit, union, good_answer, answer, good_label, label in totals:
        iou.append(hit / union if union else math.nan)
        precision = good_answer / answer if answer else 0.0
        recall = good_label / label if label else 0.0
        both = precision + recall
        f1.append(2 * precision * recall / both if both else 0.0 if answer + label else math.nan)
    return iou, f1


def near(place, others, distance):
    return any((place[0] - y) ** 2 + (place[1] - x) ** 2 <= distance**2 for y, x in others)


def blobs(seed, *, size=(11, 13), classes=3, ignored=0.1):
    """Random labels in patches of 3 pixels, some ignored, and a prediction that is wrong here and there."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (5, 5), generator=generator)
    target = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)[: size[0], : size[1]].clone()
    prediction = target.roll(1, 1)
    wrong = torch.rand(size, generator=generator) < 0.1
    prediction[wrong] = torch.randint(classes, size, generator=generator)[wrong]
    target[torch.rand(size, generator=generator) < ignored] = IGNORE
    return target, prediction


@pytest.mark.parametrize("tolerance", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_scores_are_those_of_the_definition(tolerance, ignored):
    pairs = [blobs(seed, ignored=ignored) for seed in range(3)]
    scores = measure(*pairs, tolerance=tolerance)
    iou, f1 = reference(pairs, classes=3, tolerance=tolerance)
    assert scores.iou == pytest.approx(iou, nan_ok=True)
    assert scores.f1 == pytest.approx(f1, nan_ok=True)
    assert 0 < scores.mean_iou < 1


@pytest.mark.parametrize("tolerance", [1.0, 2.5])
def test_every_image_has_counts_of_its_own(tolerance):
    pairs = [blobs(seed, classes=3 + seed % 2) for seed in range(3)]
    meter = BoundaryMeter(num_classes=4, ignore_index=IGNORE, tolerance=tolerance)
    targets, predictions = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    counts = meter.count(targets, predictions)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [reference_counts(*pair, classes=4, tolerance=tolerance) for pair in pairs]


@pytest.mark.parametrize("classes", [6, 7, 8, 15, 16, 17, 31, 32, 70])
def test_counts_are_right_of_any_number_of_classes(classes):
    """They are looked at together, a bit for each, 31 at a time."""
    generator = torch.Generator().manual_seed(classes)
    target = (
        torch.randint(classes, (5, 8), generator=generator).repeat_interleave(3, 0).repeat_interleave(2, 1)
    )
    prediction = target.roll(1, 1)
    prediction[4:9, 3:7] = target.roll(5, 0)[4:9, 3:7]
    target[torch.rand(target.shape, generator=generator) < 0.1] = IGNORE
    meter = BoundaryMeter(num_classes=classes, ignore_index=IGNORE, tolerance=2.0)
    expected = reference_counts(target, prediction, classes=classes, tolerance=2.0)
    for dtype in (torch.uint8, torch.int64):
        assert meter.count(target[None].to(dtype), prediction[None])[0].tolist() == expected
    assert sum(counts[0] for counts in expected) > 20 and sum(counts[2] for counts in expected) > 20


def test_perfect_and_hopeless_predictions():
    target, _ = blobs(0, ignored=0)
    perfect = measure((target, target))
    assert perfect.iou == perfect.f1 == [1.0, 1.0, 1.0]
    hopeless = measure((target, torch.zeros_like(target)))
    assert hopeless.iou == [0.0, 0.0, 0.0]
    assert hopeless.f1 == [0.0, 0.0, 0.0]


def test_border_moved_by_two_pixels_is_right_within_two_and_wrong_within_one():
    target = torch.zeros(8, 20, dtype=torch.long)
    target[:, 10:] = 1
    moved = target.roll(2, 1)
    moved[:, :2] = 0
    assert measure((target, moved), classes=2, tolerance=1.0).f1 == [0.0, 0.0]
    assert measure((target, moved), classes=2, tolerance=2.0).f1 == [1.0, 1.0]
    # Each band is 4 columns wide, and they share 2.
    assert measure((target, moved), classes=2, tolerance=4.0).iou == [pytest.approx(2 / 6)] * 2


def test_what_is_predicted_where_the_label_is_ignored_changes_nothing():
    target, prediction = blobs(3, ignored=0.3)
    other = prediction.clone()
    other[target == IGNORE] = 2
    assert measure((target, prediction)) == measure((target, other))


def test_class_without_border_is_not_defined():
    target = torch.zeros(6, 6, dtype=torch.long)
    scores = measure((target, target), classes=2)
    assert all(math.isnan(value) for value in [*scores.iou, *scores.f1, scores.mean_iou])
    assert boundary_as_json(scores, ["a", "b"])["iou"] == {"a": None, "b": None}


def test_evaluation_counts_the_borders_of_what_it_scores():
    mapping = {
        "name": "tiny",
        "device": "cpu",
        "data": {"name": "shapes", "size": 32, "train_size": 2, "val_size": 3},
        "model": {"name": "unet", "width": 4, "depth": 2},
        "loss": {"name": "ce"},
        "train": {"iterations": 2, "batch_size": 2, "workers": 0},
    }
    experiment = build(config_from_mapping(mapping, origin="test"))
    batches = list(experiment.val_batches())

    def forward(image):
        return experiment.model(experiment.preprocess(image))

    known = {"num_classes": 5, "ignore_index": 255}
    result = evaluate(forward, experiment.model, batches, **known, device=experiment.device, boundary=2.5)
    experiment.model.eval()
    meter = BoundaryMeter(**known, tolerance=2.5)
    counts = [
        meter.count(batch["target"], predict_pixels(forward(batch["image"]), batch["target"].shape[-2:]))
        for batch in batches
    ]
    assert [len(count) for count in counts] == [2, 1]
    assert torch.equal(result.borders.counts, torch.cat(counts)) and result.borders.counts.any()
    assert result.borders.tolerance == 2.5


def test_table():
    target, _ = blobs(0, ignored=0)
    assert boundary_table(measure((target, target)), ["sky", "road", "car"]).splitlines() == [
        "class  boundary IoU  boundary F1",
        "sky           100.0        100.0",
        "road          100.0        100.0",
        "car           100.0        100.0",
        "mean          100.0        100.0",
    ]


def test_a_distance_beyond_the_image_reaches_all_of_it_at_once():
    """Each pixel of it was gone through, by numbers that have an end."""
    points = np.zeros((3, 4), dtype=bool)
    points[2, 0] = True
    assert within(points, 1e200).all()


@pytest.mark.parametrize("distance", [0.5, 1, 1.5, 2, 2.5, 5, 7.3, 40])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (17, 23)])
def test_pixels_within_a_distance_are_those_of_all_pairs(distance, size):
    random = np.random.default_rng(0)
    for share in (0.0, 0.03, 0.3):
        points = random.random(size) < share
        rows, columns = np.indices(size)
        expected = np.zeros(size, dtype=bool)
        for row, column in np.argwhere(points):
            expected |= (rows - row) ** 2 + (columns - column) ** 2 <= distance**2
        before = points.copy()
        assert np.array_equal(within(points, distance), expected) and np.array_equal(points, before)
