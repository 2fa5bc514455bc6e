"""Which images are shown as the best and the worst."""

import pytest
import torch

from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.scores import rank_images


def evaluation(**matrices) -> Evaluation:
    found = ImageMatrices.from_dense(torch.tensor(list(matrices.values())))
    return Evaluation(found.sum(), 0.5, len(found), found, tuple(matrices))


RESULT = evaluation(
    half=[[2, 0, 0], [2, 2, 0], [0, 0, 0]],  # IoU 1/2 and 1/2; the third class does not occur
    blank=[[0, 0, 0]] * 3,
    perfect=[[4, 0, 0], [0, 0, 0], [0, 0, 0]],  # one class, found entirely
    wrong=[[0, 4, 0], [0, 0, 0], [0, 0, 0]],  # a class that is only predicted counts with 0
    also=[[0, 0, 0], [0, 0, 0], [0, 0, 4]],
)


def test_score_is_the_mean_over_the_classes_of_that_image():
    best, _ = rank_images(RESULT, 8)
    assert {image.name: image.score for image in best} == {
        "half": 0.5, "perfect": 1.0, "wrong": 0.0, "also": 1.0,
    }  # fmt: skip


def test_best_come_first_in_one_list_and_worst_in_the_other_and_names_break_ties():
    best, worst = rank_images(RESULT, 8)
    assert [image.name for image in best] == ["also", "perfect", "half", "wrong"]
    assert [image.name for image in worst] == ["wrong", "half", "also", "perfect"]


def test_place_is_that_in_the_validation_set():
    best, _ = rank_images(RESULT, 8)
    assert [RESULT.names[image.place] for image in best] == [image.name for image in best]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_more_than_asked_for(count):
    best, worst = rank_images(RESULT, count)
    assert (len(best), len(worst)) == (count, count)
    assert [image.name for image in worst] == ["wrong", "half", "also"][:count]
