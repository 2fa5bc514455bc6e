"""What is counted by the size of objects and by the distance to a border, against loops over pixels and scipy."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage

from segkit.commands.error_report.places import DISTANCES, SIZES, PlaceMeter, join_places

CLASSES, IGNORE = 3, 255


def blobs(seed: int, height: int = 70, width: int = 90) -> torch.Tensor:
    """Labels with objects of many sizes, and ignored pixels."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(CLASSES, height, width)), (0, 3, 3))
    label = smooth.argmax(axis=0).astype(np.uint8)
    label[random.random(label.shape) < 0.01] = 2
    label[:8, : width // 2] = IGNORE
    return torch.from_numpy(label)


def spoil(label: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    other = torch.randint(0, CLASSES, label.shape, generator=generator, dtype=torch.uint8)
    return torch.where(
        torch.rand(label.shape, generator=generator) < 0.4, other, label.clamp_max(CLASSES - 1)
    )


def sizes_by_scipy(label, prediction):
    sizes = np.zeros((CLASSES, len(SIZES), 4), dtype=np.int64)
    for each in range(CLASSES):
        objects, count = ndimage.label(label == each, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            inside = objects == number
            pixels, found = inside.sum(), (inside & (prediction == each)).sum()
            place = max(n for n, least in enumerate(SIZES) if pixels >= least)
            sizes[each, place] += (1, found / pixels >= 0.5, pixels, found)
    return sizes


def distances_by_scipy(label, prediction):
    distances = np.zeros((CLASSES, len(DISTANCES) + 1, 2), dtype=np.int64)
    border = np.zeros(label.shape, dtype=bool)
    for each in range(CLASSES):  # pixels of other classes that touch a side of one of this class
        border |= ndimage.binary_dilation(label == each) & (label != each) & (label != IGNORE)
    away = ndimage.distance_transform_edt(~border)
    for row, column in np.argwhere(label != IGNORE):
        place = max(n for n, least in enumerate(DISTANCES) if away[row, column] >= least)
        if not border.any():
            place = len(DISTANCES)
        wrong = prediction[row, column] != label[row, column]
        distances[label[row, column], place] += (1, wrong)
    return distances


def measure(*pairs, ignore_index=IGNORE):
    meter = PlaceMeter(num_classes=CLASSES, ignore_index=ignore_index)
    for label, prediction in pairs:
        meter(label[None], prediction[None])
    return meter.counts()


def test_counts_are_those_of_slow_code():
    plain = torch.full((40, 50), 1, dtype=torch.uint8)  # without a border
    far = torch.zeros(45, 60, dtype=torch.uint8)  # beyond the last distance, and not one object
    far[:, 0] = 1
    pairs = [(label, spoil(label, n)) for n, label in enumerate([blobs(0), blobs(1, 33, 140), plain, far])]
    found = measure(*pairs)
    slow = [(label.numpy(), prediction.numpy()) for label, prediction in pairs]
    assert np.array_equal(found.sizes, sum(sizes_by_scipy(*pair) for pair in slow))
    assert np.array_equal(found.distances, sum(distances_by_scipy(*pair) for pair in slow))
    assert (found.sizes[:, :, 0].sum(axis=0) > 0).sum() >= 5 and (
        found.distances[..., 0].sum(axis=0) > 0
    ).all()
    assert found.shapes == Counter({(70, 90): 1, (33, 140): 1, (40, 50): 1, (45, 60): 1})


def test_every_valid_pixel_is_counted_once():
    label = blobs(3)
    prediction = spoil(label, 3)
    found = measure((label, prediction))
    valid = label != IGNORE
    for counts in (found.sizes[:, :, 2], found.distances[:, :, 0]):
        assert counts.sum(axis=1).tolist() == [int((label == each).sum()) for each in range(CLASSES)]
    assert found.distances[:, :, 1].sum() == int((valid & (label != prediction)).sum())
    assert found.sizes[:, :, 3].sum() == int((valid & (label == prediction)).sum())


@pytest.mark.parametrize("ignore_index", [-1, 300])
def test_any_number_may_be_ignored(ignore_index):
    label = blobs(4)
    wide = torch.where(label == IGNORE, ignore_index, label.long())
    prediction = spoil(label, 4)
    found, other = measure((label, prediction)), measure((wide, prediction), ignore_index=ignore_index)
    assert np.array_equal(found.sizes, other.sizes) and np.array_equal(found.distances, other.distances)


def test_images_where_all_is_ignored_and_several_processes():
    empty = torch.full((5, 6), IGNORE, dtype=torch.uint8)
    nothing = measure((empty, torch.zeros_like(empty)))
    assert nothing.sizes.sum() == nothing.distances.sum() == 0 and nothing.shapes == {(5, 6): 1}
    first, second = [(blobs(n), spoil(blobs(n), n)) for n in (5, 6)]
    joined, both = join_places([measure(first), measure(second)]), measure(first, second)
    assert np.array_equal(joined.sizes, both.sizes) and np.array_equal(joined.distances, both.distances)
    assert joined.shapes == both.shapes
