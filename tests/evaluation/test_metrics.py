"""Confusion matrix and metrics against explicit loops and cases computed by hand."""

import math

import pytest
import torch

from segkit.evaluation import metrics

IGNORED = 255


def count_by_loop(target, prediction, num_classes, ignore_index):
    """The definition: one pixel at a time."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for label, guess in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if label != ignore_index:
            matrix[label][guess] += 1
    return torch.tensor(matrix)


def score_by_loop(target, prediction, wanted, ignore_index):
    """TP, FP and FN of one class, counted one pixel at a time."""
    tp = fp = fn = 0
    for label, guess in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if label == ignore_index:
            continue
        tp += label == wanted and guess == wanted
        fp += label != wanted and guess == wanted
        fn += label == wanted and guess != wanted
    return tp, fp, fn


def random_case(num_classes, ignore_index, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 5, 7)
    target = torch.randint(0, num_classes, shape, generator=generator).to(dtype)
    target[torch.rand(shape, generator=generator) < 0.2] = ignore_index
    return target, torch.randint(0, num_classes, shape, generator=generator)


def matrix_of(target, prediction, num_classes):
    return metrics.confusion_matrix(
        torch.tensor(target), torch.tensor(prediction), num_classes=num_classes, ignore_index=IGNORED
    )


@pytest.mark.parametrize("num_classes", [1, 2, 5, 19])
@pytest.mark.parametrize(
    ("ignore_index", "dtype"),
    [(255, torch.uint8), (255, torch.int64), (-100, torch.int64), (-1, torch.int32), (0, torch.uint8)],
)
def test_matrix_equals_the_loop(num_classes, ignore_index, dtype):
    target, prediction = random_case(num_classes, ignore_index, dtype, seed=num_classes)
    matrix = metrics.confusion_matrix(target, prediction, num_classes=num_classes, ignore_index=ignore_index)
    assert matrix.dtype == torch.int64
    assert torch.equal(matrix, count_by_loop(target, prediction, num_classes, ignore_index))


def test_each_image_has_a_matrix_of_its_own():
    target, prediction = random_case(5, IGNORED, torch.uint8, seed=3)
    target[1] = IGNORED  # an image without a valid pixel
    matrices = metrics.confusion_matrices(target, prediction, num_classes=5, ignore_index=IGNORED)
    assert matrices.shape == (2, 5, 5) and matrices.dtype == torch.int64
    for n in range(2):
        assert torch.equal(matrices[n], count_by_loop(target[n], prediction[n], 5, IGNORED))
    assert matrices[0].sum() and not matrices[1].sum()


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_the_loop(seed):
    # 7 classes of which labels and predictions use 5, so that some are absent.
    target, prediction = random_case(5, IGNORED, torch.uint8, seed)
    matrix = metrics.confusion_matrix(target, prediction, num_classes=7, ignore_index=IGNORED)
    iou, dice, recall = metrics.iou(matrix), metrics.dice(matrix), metrics.class_accuracy(matrix)
    for wanted in range(7):
        tp, fp, fn = score_by_loop(target, prediction, wanted, IGNORED)
        if wanted >= 5:
            assert math.isnan(iou[wanted]) and math.isnan(dice[wanted]) and math.isnan(recall[wanted])
            continue
        assert iou[wanted] == pytest.approx(tp / (tp + fp + fn), rel=1e-15)
        assert dice[wanted] == pytest.approx(2 * tp / (2 * tp + fp + fn), rel=1e-15)
        assert recall[wanted] == pytest.approx(tp / (tp + fn), rel=1e-15)
    assert metrics.mean_iou(matrix) == pytest.approx(sum(iou[:5]) / 5, rel=1e-15)
    assert metrics.mean_dice(matrix) == pytest.approx(sum(dice[:5]) / 5, rel=1e-15)
    assert metrics.mean_class_accuracy(matrix) == pytest.approx(sum(recall[:5]) / 5, rel=1e-15)


def test_by_hand():
    # label 0: predicted 0, 0, 1   label 1: predicted 1   two pixels ignored
    matrix = matrix_of([0, 0, 0, 1, IGNORED, IGNORED], [0, 0, 1, 1, 0, 1], 2)
    assert matrix.tolist() == [[2, 1], [0, 1]]
    assert metrics.iou(matrix) == pytest.approx([2 / 3, 1 / 2])
    assert metrics.dice(matrix) == pytest.approx([4 / 5, 2 / 3])
    assert metrics.class_accuracy(matrix) == pytest.approx([2 / 3, 1.0])
    assert metrics.mean_iou(matrix) == pytest.approx(7 / 12)
    assert metrics.mean_dice(matrix) == pytest.approx(11 / 15)
    assert metrics.accuracy(matrix) == pytest.approx(3 / 4)
    assert metrics.mean_class_accuracy(matrix) == pytest.approx(5 / 6)
    assert metrics.frequency_weighted_iou(matrix) == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 * 1 / 2)


def test_class_absent_from_label_and_prediction_is_left_out_of_the_means():
    matrix = matrix_of([0, 0, 1, 1], [0, 1, 1, 1], 3)
    assert math.isnan(metrics.iou(matrix)[2])
    assert metrics.mean_iou(matrix) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.frequency_weighted_iou(matrix) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_class_never_predicted_counts_as_zero():
    matrix = matrix_of([0, 0, 1], [0, 0, 0], 2)
    assert metrics.iou(matrix) == pytest.approx([2 / 3, 0.0])
    assert metrics.mean_iou(matrix) == pytest.approx(1 / 3)


def test_class_predicted_without_a_label_counts_as_zero_in_iou_and_not_in_recall():
    matrix = matrix_of([0, 0], [0, 1], 2)
    assert metrics.iou(matrix) == [0.5, 0.0]
    assert math.isnan(metrics.class_accuracy(matrix)[1])
    assert metrics.mean_class_accuracy(matrix) == 0.5
    assert metrics.frequency_weighted_iou(matrix) == 0.5


def test_nothing_valid_is_nan_everywhere():
    matrix = matrix_of([IGNORED, IGNORED], [0, 1], 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]
    for name in ("mean_iou", "mean_dice", "mean_class_accuracy", "accuracy", "frequency_weighted_iou"):
        assert math.isnan(getattr(metrics, name)(matrix)), name
    for name in ("iou", "dice", "class_accuracy"):
        assert all(math.isnan(value) for value in getattr(metrics, name)(matrix)), name


def test_values_are_plain_floats():
    matrix = matrix_of([0, 1, 1], [0, 1, 0], 3)
    for name in ("mean_iou", "mean_dice", "mean_class_accuracy", "accuracy", "frequency_weighted_iou"):
        assert type(getattr(metrics, name)(matrix)) is float, name
    for name in ("iou", "dice", "class_accuracy"):
        assert {type(value) for value in getattr(metrics, name)(matrix)} == {float}, name


def test_large_counts_stay_exact():
    # Beyond float32, whose integers end at 2^24: one pixel of 2^40 is not lost.
    matrix = torch.tensor([[2**40, 1], [0, 2**40]])
    assert metrics.accuracy(matrix) == 2**41 / (2**41 + 1) < 1.0
    assert metrics.iou(matrix)[1] == 2**40 / (2**40 + 1)


def test_matrices_of_parts_add_up():
    target, prediction = random_case(4, IGNORED, torch.uint8, seed=9)
    whole = metrics.confusion_matrix(target, prediction, num_classes=4, ignore_index=IGNORED)
    parts = [
        metrics.confusion_matrix(target[n], prediction[n], num_classes=4, ignore_index=IGNORED)
        for n in range(len(target))
    ]
    assert torch.equal(sum(parts), whole)


@pytest.mark.parametrize("label", [3, 4, 254])
def test_label_beyond_the_classes_fails_instead_of_counting_as_ignored(label):
    target = torch.tensor([0, label], dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="out of bounds"):
        metrics.confusion_matrix(target, torch.zeros(2, dtype=torch.int64), num_classes=3, ignore_index=255)


@pytest.mark.parametrize("label", [2**31, 2**32, 2**32 + 1])
def test_a_label_too_large_for_32_bits_does_not_wrap_around_to_a_class(label):
    target = torch.tensor([0, label])
    with pytest.raises(RuntimeError):
        metrics.confusion_matrix(target, torch.zeros(2, dtype=torch.int64), num_classes=3, ignore_index=255)


def test_counting_without_waiting_finds_the_same():
    """What CUDA uses; it runs on any device."""
    cell = torch.randint(0, 12, (3, 500), generator=torch.Generator().manual_seed(0))
    one, other = metrics._count_with_bincount(cell, 15), metrics._count_without_waiting(cell, 15)
    assert torch.equal(one, other) and (one.sum(dim=1) == 500).all() and not one[:, 12:].any()


def test_different_shapes_are_refused():
    with pytest.raises(ValueError) as error:
        metrics.confusion_matrix(
            torch.zeros(1, 4, 4, dtype=torch.uint8),
            torch.zeros(1, 2, 2, dtype=torch.int64),
            num_classes=2,
            ignore_index=255,
        )
    assert str(error.value) == "target (1, 4, 4) and prediction (1, 2, 2) differ in shape"


def test_empty_images_count_nothing():
    empty = torch.zeros(0, 4, 4, dtype=torch.int64)
    assert metrics.confusion_matrix(empty, empty, num_classes=2, ignore_index=255).sum() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_nothing_waits_for_the_device():
    target, prediction = (tensor.cuda() for tensor in random_case(4, IGNORED, torch.uint8, seed=1))
    try:
        torch.cuda.set_sync_debug_mode("error")
        matrix = metrics.confusion_matrix(target, prediction, num_classes=4, ignore_index=IGNORED)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(matrix.cpu(), count_by_loop(target, prediction, 4, IGNORED))
