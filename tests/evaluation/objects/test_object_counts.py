"""What is counted of objects, against the definitions as explicit loops and scikit-image, and what must not matter."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.weight_maps.instances import label_instances
from segkit.errors import ConfigError
from segkit.evaluation.objects import scores
from segkit.evaluation.objects.counts import ObjectCounts, object_table
from segkit.evaluation.objects.meter import ObjectMeter
from segkit.evaluation.objects.overlaps import Overlaps, compare_overlaps
from segkit.evaluation.objects.report import object_table_text, objects_as_json
from segkit.evaluation.objects.request import ObjectRequest
from segkit.evaluation.objects.runs import find_objects, overlap_runs
from tests.paths import REAL_DATA

IGNORE = 255
THRESHOLDS = [Fraction(50 + 5 * step, 100) for step in range(10)]


def count(*pairs, classes=(1,), min_size=0):
    meter = ObjectMeter(classes, ignore_index=IGNORE, min_size=min_size)
    return ObjectCounts.join([meter.count(target[None], prediction[None]) for target, prediction in pairs])


def score(*pairs, k=0, **options):
    """The scores of one class over all images, by name."""
    sums = count(*pairs, **options).table().sum(axis=0)
    names = ("f1", "precision", "recall", "rand_error", "vi", "vi_split", "vi_merge")
    return {name: float(getattr(scores, name)(sums)[k]) for name in names}


# The reference: sets of pixels, flooded one by one, and loops over pixels and pairs of pixels.


def flood(inside):
    """The sets of pixels of `inside` that are connected across their sides."""
    left, parts = set(inside), []
    while left:
        part, waiting = set(), [min(left)]
        while waiting:
            y, x = waiting.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        parts.append(part)
    return parts


def reference(target, prediction, *, class_id, min_size=0):
    """The columns of counts, and the entropies, of one class of one image."""
    places = [place for place in itertools.product(*map(range, target.shape)) if target[place] != IGNORE]
    true, predicted = (
        [
            part
            for part in flood({place for place in places if ids[place] == class_id})
            if len(part) >= min_size
        ]
        for ids in (target, prediction)
    )
    found = [
        sum(Fraction(len(a & b), len(a | b)) > threshold for a in true for b in predicted)
        for threshold in THRESHOLDS
    ]
    label_of, answer_of = (
        {place: next((n for n, part in enumerate(parts) if place in part), None) for place in places}
        for parts in (true, predicted)
    )
    inside = [place for place in places if label_of[place] is not None]
    both = in_true = in_predicted = 0
    for a, b in itertools.permutations(inside, 2):
        same_true, same_predicted = label_of[a] == label_of[b], answer_of[a] == answer_of[b]
        both += same_true and same_predicted
        in_true += same_true
        in_predicted += same_predicted
    split = merge = 0.0
    for place in inside:
        with_true = [other for other in inside if label_of[other] == label_of[place]]
        with_answer = [other for other in inside if answer_of[other] == answer_of[place]]
        shared = len(set(with_true) & set(with_answer))
        split -= math.log2(shared / len(with_true)) / len(inside)
        merge -= math.log2(shared / len(with_answer)) / len(inside)
    return [len(true), len(predicted), *found, both, in_true, in_predicted], (split, merge)


def blobs(seed, *, size=(9, 12), classes=3, ignored=0.05):
    """Random labels in patches of 3 pixels, some ignored, and a prediction that is wrong here and there."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (4, 5), generator=generator)
    target = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)[: size[0], : size[1]].clone()
    prediction = target.roll(seed % 2, 1)
    wrong = torch.rand(size, generator=generator) < 0.04
    prediction[wrong] = torch.randint(classes, size, generator=generator)[wrong]
    target[torch.rand(size, generator=generator) < ignored] = IGNORE
    return target.to(torch.uint8), prediction


# The same pixel by pixel: the numbers of objects in images, which are slower than their runs and equal to the bit.


def number_objects(inside: np.ndarray, *, min_size: int = 0) -> np.ndarray:
    """The connected pixels of `inside` (H, W), numbered from 1 on, int32; 0 outside, and where they are fewer than
    `min_size`."""
    objects = label_instances(inside, inside, diagonal=False)
    if min_size <= 1:
        return objects
    large = np.bincount(objects.ravel()) >= min_size
    large[0] = False
    return np.where(large, np.cumsum(large, dtype=np.int32), np.int32(0))[objects]


def find_overlaps(true: np.ndarray, predicted: np.ndarray) -> Overlaps:
    """All pairs of objects, or of an object and none, that share a pixel, sorted."""
    columns = int(predicted.max(initial=0)) + 1
    pair = (true.astype(np.int64) * columns + predicted).ravel()  # (H W)
    # Few pixels differ from the one before, and runs of equal ones are faster to sort than pixels.
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    lengths = np.diff(starts, append=len(pair))
    pairs, place = np.unique(pair[starts], return_inverse=True)
    pixels = np.zeros(len(pairs), dtype=np.int64)
    np.add.at(pixels, place, lengths)
    return Overlaps(*np.divmod(pairs, columns), pixels)


def compare_objects(true, predicted):
    """The columns of `ObjectCounts.counts` and of its `entropies`, from the numbers of objects (H, W), 0 for none."""
    overlaps = find_overlaps(true, predicted)
    return compare_overlaps(overlaps, int(true.max(initial=0)), int(predicted.max(initial=0)))


def paint(objects, shape):
    """The numbers of objects in an image."""
    painted = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    for start, end, number in zip(*objects, strict=True):
        painted.reshape(-1)[start:end] = number
    assert not painted[:, -1].any(), "what goes on into the next row"
    return painted[:, :-1]


@pytest.mark.parametrize("min_size", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (23, 31)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_runs_are_the_objects_that_pixels_are(size, share, min_size):
    random = np.random.default_rng(0)
    images = [random.random(size) < share, random.random(size) < 0.6]
    runs = [find_objects(each, min_size=min_size) for each in images]
    dense = [number_objects(each, min_size=min_size) for each in images]
    for objects, numbers in zip(runs, dense, strict=True):
        assert np.array_equal(paint(objects, size), numbers)
        assert objects.sizes().tolist() == [0, *np.bincount(numbers.ravel(), minlength=1)[1:].tolist()]
    for one, other in ((0, 1), (1, 0), (1, 1)):
        found, expected = overlap_runs(runs[one], runs[other]), find_overlaps(dense[one], dense[other])
        rows, expected_rows = (
            set(zip(*(v.tolist() for v in each), strict=True)) for each in (found, expected)
        )
        assert rows == {row for row in expected_rows if row[:2] != (0, 0)}
        counts = [runs[each].total for each in (one, other)]
        assert compare_overlaps(found, *counts) == compare_objects(dense[one], dense[other])


@pytest.mark.parametrize("min_size", [0, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_definition(seed, min_size):
    target, prediction = blobs(seed, ignored=0.1 * (seed % 2))
    found = count((target, prediction), classes=(2, 0), min_size=min_size)
    assert found.counts.dtype == np.int64 and found.counts.shape == (1, 2, 15)
    assert found.classes == (2, 0) and found.min_size == min_size
    for k, class_id in enumerate((2, 0)):
        counts, entropies = reference(target, prediction, class_id=class_id, min_size=min_size)
        assert found.counts[0, k].tolist() == counts
        assert found.entropies[0, k].tolist() == pytest.approx(entropies, abs=1e-12)
    assert found.counts[0, :, 2].any() and found.entropies.any(), "or nothing is compared"


def numbered(seed, *, background):
    """Two images of objects with any numbers, `background` of the pixels in none."""
    random = np.random.default_rng(seed)
    true = np.kron(random.integers(0, 5, (8, 8)), np.ones((4, 4), int)).astype(np.int32)
    predicted = np.where(random.random(true.shape) < 0.2, random.integers(0, 9, true.shape), true)
    true[random.random(true.shape) < background] = 0
    return true, predicted.astype(np.int32)


@pytest.mark.parametrize("background", [0.0, 0.3])
def test_scores_are_those_of_scikit_image(background):
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the oracle here")
    for seed in range(3):
        true, predicted = numbered(seed, background=background)
        counts, entropies = compare_objects(true, predicted)
        sums = object_table(np.array([[counts]]), np.array([[entropies]])).sum(axis=0)
        error, _, _ = metrics.adapted_rand_error(true, predicted)
        split, merge = metrics.variation_of_information(true, predicted, ignore_labels=(0,))
        assert scores.rand_error(sums)[0] == pytest.approx(error, abs=1e-12)
        assert scores.vi_split(sums)[0] == pytest.approx(split, abs=1e-12)
        assert scores.vi_merge(sums)[0] == pytest.approx(merge, abs=1e-12)
        assert 0.05 < error < 0.95 and min(split, merge) > 0.05


def test_objects_are_those_of_scikit_image():
    measure = pytest.importorskip("skimage.measure", reason="scikit-image is the oracle here")
    inside = np.random.default_rng(0).random((60, 70)) < 0.6
    objects = paint(find_objects(inside), inside.shape)
    np.testing.assert_array_equal(objects, measure.label(inside, connectivity=1))


def test_small_objects_are_none():
    inside = np.random.default_rng(0).random((60, 70)) < 0.6
    objects, large = (paint(find_objects(inside, min_size=size), inside.shape) for size in (0, 7))
    sizes = np.bincount(objects.ravel())
    expected = [n for n in range(1, len(sizes)) if sizes[n] >= 7]
    assert 1 < len(expected) < len(sizes) - 1
    for number, n in enumerate(expected, start=1):
        np.testing.assert_array_equal(large == number, objects == n)
    assert large.max() == len(expected) and large.dtype == np.int32


# What is known without a reference.

#: Two cells, a wall between them, and a pixel of another class in a corner.
TWO_CELLS = torch.tensor(
    [
        [1, 1, 1, 0, 1, 1, 1],
        [1, 1, 1, 0, 1, 1, 1],
        [1, 1, 1, 0, 1, 1, 2],
    ]
)
PERFECT = dict.fromkeys(("f1", "precision", "recall"), 1.0)
PERFECT |= dict.fromkeys(("rand_error", "vi", "vi_split", "vi_merge"), 0.0)


@pytest.mark.parametrize("min_size", [0, 1, 9])
def test_a_perfect_prediction(min_size):
    assert score((TWO_CELLS, TWO_CELLS), min_size=min_size) == PERFECT
    target, _ = blobs(1)
    assert score((target, target), classes=(2,), min_size=min_size) == PERFECT


def test_a_hole_in_the_wall_joins_and_splits_nothing():
    joined = TWO_CELLS.clone()
    joined[1, 3] = 1
    found = score((TWO_CELLS, joined))
    # One object of 18 pixels: with the cell of 9 an IoU of a half, which is not above it.
    assert (found["f1"], found["vi_split"]) == (0.0, 0.0)
    assert found["vi_merge"] == pytest.approx(-(9 * math.log2(9 / 17) + 8 * math.log2(8 / 17)) / 17)
    pairs = 9 * 8 + 8 * 7
    assert found["rand_error"] == pytest.approx(1 - 2 * pairs / (pairs + 17 * 16))
    other_wall = torch.where(TWO_CELLS == 0, 1, TWO_CELLS)
    assert score((TWO_CELLS, other_wall))["rand_error"] == found["rand_error"], (
        "the wall is in no true object"
    )


def test_a_wall_too_many_splits_and_joins_nothing():
    cut = TWO_CELLS.clone()
    cut[:, 1] = 0
    found = score((TWO_CELLS, cut))
    assert found["vi_merge"] == 0.0 and found["vi_split"] == pytest.approx(9 / 17 * math.log2(3))
    # The cell of 8 is found at all thresholds, of the three parts of the other none: 2 true, 3 predicted.
    assert (found["precision"], found["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert found["f1"] == pytest.approx(2 / 5)


def test_touching_objects_of_a_class_are_one_and_corners_do_not_touch():
    target = torch.tensor([[1, 2, 2, 0], [1, 2, 0, 1], [0, 0, 1, 0]])
    found = count((target, target), classes=(1, 2))
    assert found.counts[0, :, 0].tolist() == [3, 1]


def test_an_iou_of_exactly_the_threshold_is_not_above_it():
    target = torch.zeros(1, 50, dtype=torch.long)
    target[0, :20] = 1
    for pixels, thresholds in ((10, 0), (11, 1), (12, 2), (19, 9), (20, 10)):
        prediction = torch.zeros_like(target)
        prediction[0, :pixels] = 1  # an IoU of pixels / 20
        assert count((target, prediction)).counts[0, 0, 2:12].sum() == thresholds


def test_what_is_predicted_where_the_label_is_ignored_changes_nothing():
    target, prediction = blobs(3, ignored=0.3)
    expected = count((target, prediction), classes=(0, 1, 2))
    for class_id in range(3):
        other = prediction.clone()
        other[target == IGNORE] = class_id
        found = count((target, other), classes=(0, 1, 2))
        np.testing.assert_array_equal(found.counts, expected.counts)
        np.testing.assert_array_equal(found.entropies, expected.entropies)


def test_what_is_predicted_outside_of_true_objects_costs_found_objects_alone():
    extra = TWO_CELLS.clone()
    extra[2, 6] = 1  # beside the second cell, of which it becomes a part
    outside = torch.zeros(3, 10, dtype=torch.long)
    outside[:, :7], target = TWO_CELLS, outside.clone()
    target[:, :7] = TWO_CELLS
    outside[0, 9] = 1
    found = score((target, outside))
    assert (found["rand_error"], found["vi"]) == (0.0, 0.0)
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert score((target, outside), min_size=2) == PERFECT
    assert score((TWO_CELLS, extra))["f1"] == pytest.approx((8 + 2 * 0.5) / 10)  # 8 of 9 is above 0.85


def test_an_image_without_true_objects_counts_for_what_is_predicted_there():
    empty, filled = torch.zeros(3, 7, dtype=torch.long), TWO_CELLS
    both, alone = score((TWO_CELLS, TWO_CELLS), (empty, filled)), score((empty, filled))
    assert (both["rand_error"], both["vi"]) == (0.0, 0.0), "means over images that have an object"
    assert (both["precision"], both["recall"]) == (0.5, 1.0) and both["f1"] == pytest.approx(4 / 6)
    assert all(math.isnan(value) for value in alone.values())


def test_nothing_predicted():
    found = score((TWO_CELLS, torch.zeros_like(TWO_CELLS)))
    assert (found["f1"], found["precision"], found["recall"], found["vi_split"]) == (0.0, 0.0, 0.0, 0.0)
    assert found["vi_merge"] > 0.9, "all that is missed is one segment"


def test_objects_of_single_pixels_have_no_pair_that_could_be_wrong():
    target = torch.tensor([[1, 0, 1]])
    assert score((target, target)) == PERFECT
    assert score((target, 1 - target))["rand_error"] == 1.0


def test_found_objects_are_counted_over_images_and_the_rest_averaged():
    pairs = [blobs(seed) for seed in range(3)]
    alone = [score(pair) for pair in pairs]
    together = score(*pairs)
    for name in ("rand_error", "vi", "vi_split", "vi_merge"):
        assert together[name] == pytest.approx(sum(one[name] for one in alone) / 3)
    counts = count(*pairs).counts[:, 0].sum(axis=0)
    expected = sum(2 * found / (counts[0] + counts[1]) for found in counts[2:12]) / 10
    assert together["f1"] == pytest.approx(expected)


def test_images_in_another_order():
    found = count(*(blobs(seed) for seed in range(3)), min_size=2)
    other = found.reorder([2, 0, 1])
    assert np.array_equal(other.counts, found.counts[[2, 0, 1]]) and other.min_size == 2
    assert np.array_equal(other.entropies, found.entropies[[2, 0, 1]]) and other.classes == (1,)


def test_the_table():
    assert object_table_text(count((TWO_CELLS, TWO_CELLS)), ["wall", "cell", "other"]).splitlines() == [
        "class  objects  predicted     F1  at 0.5  at 0.75  precision  recall  Rand error     VI  split  merge",
        "cell         2          2  100.0   100.0    100.0      100.0   100.0         0.0  0.000  0.000  0.000",
    ]
    cut = TWO_CELLS.clone()
    cut[:, 1] = 0
    rows = object_table_text(count((TWO_CELLS, cut), classes=(1, 2, 3)), ["wall", "cell", "other", "none"])
    assert [row.split()[:5] for row in rows.splitlines()[1:]] == [
        ["cell", "2", "3", "40.0", "40.0"],
        ["other", "1", "1", "100.0", "100.0"],
        ["none", "0", "0", "-", "-"],
        ["mean", "70.0", "70.0", "70.0", "66.7"],
    ]


def test_plain_values():
    cut = TWO_CELLS.clone()
    cut[:, 1] = 0
    found = objects_as_json(count((TWO_CELLS, cut), classes=(1, 3)), ["wall", "cell", "other", "none"])
    assert found["iou_thresholds"] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    cell, none = found["classes"]["cell"], found["classes"]["none"]
    assert (cell["objects"], cell["predicted"], cell["images"], cell["found_at"]) == (2, 3, 1, [1] * 10)
    assert cell["f1_at"] == pytest.approx([0.4] * 10) and cell["recall_at"] == [0.5] * 10
    assert none["f1"] is None and none["f1_at"] == [None] * 10 and none["objects"] == 0
    assert found["mean"]["f1"] == pytest.approx(0.4) and found["min_size_pixels"] == 0


def test_classes_are_asked_for_by_name():
    request = ObjectRequest(("cell", "wall", "cell"), 3)
    assert request.find_ids(["other", "wall", "cell"]) == [2, 1]
    with pytest.raises(ConfigError) as caught:
        request.find_ids(["other", "walls", "cell"])
    assert str(caught.value) == (
        "--objects wall: there is no such class, did you mean 'walls'? -> one of other, walls, cell"
    )
    with pytest.raises(ConfigError, match=r"^--min-size is a number of pixels, got -1 -> --min-size 20$"):
        ObjectRequest(("cell",), -1)


def test_neurons():
    """A real label as its own prediction, and with one cell joined to the next through the membrane."""
    path = REAL_DATA / "membrane/labels/val"
    if not path.is_dir():
        pytest.skip(f"the real data set is not there: {path}")
    with Image.open(sorted(path.iterdir())[0]) as image:
        target = torch.from_numpy(np.asarray(image) // 255).long()
    assert score((target, target)) == score((target, target), min_size=30) == PERFECT
    objects = paint(find_objects(target.numpy() == 1), target.shape)
    row = objects[256]
    ends = np.flatnonzero((row[:-1] > 0) & (row[1:] == 0))  # the last pixels before membrane
    gap = next((end, start) for end in ends for start in np.flatnonzero(row > 0) if start > end)
    joined = target.clone()
    joined[256, gap[0] : gap[1]] = 1
    cells = sorted({row[gap[0]], row[gap[1]]})
    assert len(cells) == 2, "or nothing is joined"
    sizes = [int((objects == cell).sum()) for cell in cells]
    counts, found = count((target, joined)).counts[0, 0], score((target, joined))
    assert counts[1] == counts[0] - 1 and found["vi_split"] == 0.0
    lost = -sum(size * math.log2(size / sum(sizes)) for size in sizes) / (objects > 0).sum()
    assert found["vi_merge"] == pytest.approx(lost)
