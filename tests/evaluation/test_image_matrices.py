"""Confusion matrices without their zeros against the dense ones."""

import numpy as np
import pytest
import torch

from segkit.evaluation.image_matrices import ImageMatrices


def random_counts(seed=0, *, images=5, classes=4, dtype=torch.int64):
    """Counts (N, C, C), most of them 0, and those of one image all."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 9, (images, classes, classes), generator=generator)
    counts[torch.rand(counts.shape, generator=generator) < 0.7] = 0
    counts[1:2] = 0
    return counts.to(dtype)


def entries_by_loop(counts):
    """image, label, prediction, pixels of every cell that is not 0."""
    images, classes, _ = counts.shape
    return [
        (n, label, prediction, int(counts[n, label, prediction]))
        for n in range(images)
        for label in range(classes)
        for prediction in range(classes)
        if counts[n, label, prediction]
    ]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_entries_are_the_cells_that_are_not_zero_in_order(dtype):
    counts = random_counts(dtype=dtype)
    made = ImageMatrices.from_dense(counts)
    arrays = (made.image, made.label, made.prediction, made.pixels)
    assert list(zip(*(array.tolist() for array in arrays), strict=True)) == entries_by_loop(counts)
    assert [array.dtype for array in arrays] == [np.int32, np.int32, np.int32, np.int64]
    assert (made.count, made.num_classes) == (5, 4)


def test_nothing_of_the_dense_counts_is_kept():
    counts = random_counts()
    made, before = ImageMatrices.from_dense(counts), random_counts()
    counts.fill_(7)
    assert torch.equal(made.dense(), before)


def test_matrices_one_by_one_and_all_together():
    counts = random_counts()
    made = ImageMatrices.from_dense(counts)
    assert len(made) == 5
    assert all(torch.equal(made[n], counts[n]) and made[n].dtype == torch.int64 for n in range(5))
    assert all(torch.equal(one, other) for one, other in zip(made, counts, strict=True))
    assert torch.equal(made.dense(), counts) and made.dense().dtype == torch.int64
    assert torch.equal(made.sum(), counts.sum(dim=0)) and made.sum().dtype == torch.int64


def test_sum_is_exact_beyond_what_a_float_counts():
    counts = torch.zeros(3, 2, 2, dtype=torch.int64)
    counts[:, 0, 1] = torch.tensor([2**60, 2**54 + 1, 1])
    assert ImageMatrices.from_dense(counts).sum().tolist() == [[0, 2**60 + 2**54 + 2], [0, 0]]


@pytest.mark.parametrize("number", [-1, 5])
def test_an_image_that_is_not_there(number):
    with pytest.raises(IndexError) as caught:
        ImageMatrices.from_dense(random_counts())[number]
    assert str(caught.value) == f"there is no image {number}, only 0 to 4"


def test_join_puts_one_part_after_the_other():
    parts = [random_counts(0), random_counts(0, images=0), random_counts(1, images=2), random_counts(2)]
    made = ImageMatrices.join([ImageMatrices.from_dense(part) for part in parts])
    assert made == ImageMatrices.from_dense(torch.cat(parts))
    assert made.image.dtype == np.int32


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_reorder(order):
    counts = random_counts()
    made = ImageMatrices.from_dense(counts).reorder(order)
    assert made == ImageMatrices.from_dense(counts[order])
    assert made.image.dtype == np.int32


def test_no_image_at_all():
    nothing = ImageMatrices.from_dense(random_counts(images=0))
    assert len(nothing) == 0 and [*nothing] == []
    assert nothing.dense().shape == (0, 4, 4) and nothing.dense().dtype == torch.int64
    assert torch.equal(nothing.sum(), torch.zeros(4, 4, dtype=torch.int64))
    assert nothing.reorder([]) == nothing == ImageMatrices.join([nothing, nothing])


def test_equality_is_that_of_the_matrices():
    counts = random_counts()
    made = ImageMatrices.from_dense(counts)
    assert made == ImageMatrices.from_dense(counts.int())
    assert made != ImageMatrices.from_dense(counts[:4])
    assert made != ImageMatrices.from_dense(counts[[0, 1, 2, 4, 3]])
    more = counts.clone()
    more[1, 0, 0] += 1
    assert made != ImageMatrices.from_dense(more)
    blank = torch.zeros(2, 3, 3, dtype=torch.int64)
    assert ImageMatrices.from_dense(blank) != ImageMatrices.from_dense(blank[:1])
    assert ImageMatrices.from_dense(blank) != ImageMatrices.from_dense(blank[:, :2, :2])
    assert made != "another thing"
