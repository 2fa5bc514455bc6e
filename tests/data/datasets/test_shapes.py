"""The generated data set: reproducible, and with what makes losses differ."""

import numpy as np
import pytest
import torch

from segkit.data.datasets.shapes import (
    CIRCLE,
    IGNORE_INDEX,
    LINE,
    STAR,
    Shape,
    Shapes,
    label_shapes,
    thin_line,
)

pytestmark = pytest.mark.usefixtures("shapes_drawn_anew")


def same(a, b):
    return torch.equal(a.image, b.image) and torch.equal(a.target, b.target)


def counts(dataset, number):
    """Pixels per class id, (number, 256)."""
    return np.stack([np.bincount(dataset[n].target.flatten(), minlength=256) for n in range(number)])


def test_is_a_pure_function_of_seed_split_and_index():
    train = Shapes("train", size=64)
    first = train[3]
    np.random.seed(1)
    torch.manual_seed(1)
    train[5]
    assert same(first, train[3])
    assert same(first, Shapes("train", size=64, train_size=10)[3])
    for other in (train[4], Shapes("val", size=64)[3], Shapes("train", size=64, seed=1)[3]):
        assert not torch.equal(first.image, other.image)


def test_leaves_global_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Shapes("train", size=32)[0]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "shape"), [(40, (40, 40)), ([32, 90], (32, 90))])
def test_types_and_sizes(channels, size, shape):
    dataset = Shapes("val", size=size, channels=channels, val_size=3)
    assert (len(dataset), dataset.channels) == (3, channels)
    for sample in dataset:
        assert sample.image.shape == (channels, *shape)
        assert sample.target.shape == shape
        assert (sample.image.dtype, sample.target.dtype) == (torch.uint8, torch.uint8)
        assert set(sample.target.unique().tolist()) <= {0, 1, 2, 3, 4, IGNORE_INDEX}
    assert sample.name == "val_00002"
    with pytest.raises(IndexError):
        dataset[3]


def test_too_small():
    with pytest.raises(ValueError, match="size must be at least 32, got 16"):
        Shapes("train", size=16)


def test_has_a_rare_class_thin_lines_and_ignored_regions():
    number = 80
    pixels = counts(Shapes("train"), number)
    share = pixels.sum(axis=0) / pixels.sum()
    images = (pixels > 0).sum(axis=0) / number
    assert 0.7 < share[0] < 0.9
    assert 0.04 < share[1] < 0.15
    assert 0.04 < share[2] < 0.15
    assert 0.01 < share[LINE] < 0.04
    assert 0.002 < share[STAR] < 0.01
    assert 0.4 < images[STAR] < 0.65
    assert images[1:4].min() > 0.9
    assert 0.005 < share[IGNORE_INDEX] < 0.05
    assert pixels[:, 5:IGNORE_INDEX].sum() == 0


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0])
def test_lines_are_thin_and_unbroken(width):
    y, x = np.mgrid[0:128, 0:128].astype(np.float32)
    for seed in range(5):
        line = thin_line(np.random.default_rng(seed), x, y, width=width) < 0
        window = int(width) + 3
        blocks = np.lib.stride_tricks.sliding_window_view(line, (window, window))
        assert not blocks.all(axis=(2, 3)).any()
        for row, column in np.argwhere(line):
            around = line[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            assert around.sum() > 1


def test_label_noise_changes_training_labels_only():
    clean, noisy = Shapes("train", size=64), Shapes("train", size=64, label_noise=0.5)
    changed = 0
    for n in range(12):
        assert torch.equal(clean[n].image, noisy[n].image)
        changed += not torch.equal(clean[n].target, noisy[n].target)
    assert changed >= 10
    assert same(Shapes("val", size=64)[0], Shapes("val", size=64, label_noise=0.5)[0])


def test_every_label_is_wrong_at_noise_1():
    shape = Shape(CIRCLE, np.full((4, 4), -1.0, dtype=np.float32), 1.0)
    found = {int(label_shapes([shape], 4, 4, noise=1.0, key=[0, 0, n])[0, 0]) for n in range(60)}
    assert found == {0, 2, 3, 4}


def test_some_borders_are_soft():
    fades = {shape.fade for n in range(5) for shape in _shapes(n)}
    assert 1.0 in fades
    assert max(fades) > 3


def _shapes(seed):
    from segkit.data.datasets.shapes import draw_shapes

    return draw_shapes(np.random.default_rng(seed), 128, 128)
