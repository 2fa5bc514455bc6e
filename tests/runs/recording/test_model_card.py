"""The card of a run folder: what it says, of finished runs and others."""

from dataclasses import replace

import pytest
import torch

from segkit.evaluation.calibration import CalibrationCounts
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.evaluate import Evaluation
from segkit.runs.recording.arrays import DEFINITION
from segkit.runs.recording.model_card import CardFacts, model_card, rows_as_table
from segkit.system.run_files import RunFiles

RESULT = Evaluation(torch.tensor([[6000, 2000, 0], [0, 4000, 0], [0, 0, 0]]), 0.5, 1234)
NOTHING = {"mean_iou": -1.0, "iteration": 0}
FACTS = CardFacts(
    name="ohem",
    folder=RunFiles("runs/ohem/1"),
    model=[("model", "unet (width 8)")],
    loss=[("loss", "ohem_ce  thresh 0.7")],
    data=[("data set", "shapes"), ("fingerprint", "0123456789abcdef")],
    training=[("seed", "3")],
    environment=[("torch", "2.11.0")],
    class_names=["road", "car|van", "bird"],
    iteration=2000,
    total=2000,
    seconds=3723.4,
    best={"mean_iou": 0.75, "iteration": 1400},
    kept={"mean_iou": 0.75, "iteration": 1400},
    last=(2000, RESULT),
)


def test_card_says_what_was_trained_on_what_and_how():
    card = model_card(FACTS)
    assert card.startswith("# ohem\n\nA finished training run of segkit: 2,000 iterations in 1:02:03.\n")
    for row in ("| model | unet (width 8) |", "| loss | ohem_ce  thresh 0.7 |", "| data set | shapes |",
                "| fingerprint | 0123456789abcdef |", "| seed | 3 |", "| torch | 2.11.0 |"):  # fmt: skip
        assert row in card


def test_card_has_the_scores_of_every_class_and_what_they_mean():
    card = model_card(FACTS)
    assert (
        "At iteration 2,000, on 1,234 validation images: **mIoU 70.8**, pixel accuracy 83.3, cross-entropy 0.5000."
        in card
    )
    assert (
        "| road | 75.0 | 85.7 | 75.0 | 8,000 |\n"
        "| car\\|van | 66.7 | 80.0 | 100.0 | 4,000 |\n"
        "| bird | - | - | - | 0 |\n"
        "| **mean** | **70.8** | **82.9** | **87.5** | 12,000 |\n"
    ) in card
    assert "The best mIoU was 75.0 at iteration 1,400; `best.pt` has those weights." in card
    assert "chosen by the score on the same validation images" in card
    assert DEFINITION in card
    assert "on 1,234 validation images, resized to 8 x 9: **mIoU" in model_card(
        replace(FACTS, size="resized to 8 x 9")
    )


def test_card_does_not_call_unmeasured_what_was_measured():
    """Half of 200 pixels are right, and the network is 90 % sure of each."""
    bins = torch.zeros(1, BINS, 3, dtype=torch.int64)
    bins[0, 13] = torch.tensor([200, 100, 180 * UNIT])
    counts = CalibrationCounts(bins, torch.tensor([90.0], dtype=torch.float64))
    card = model_card(replace(FACTS, last=(2000, replace(RESULT, calibration=counts))))
    assert "cross-entropy 0.5000. Expected calibration error 40.00 %, Brier score 0.4500.\n" in card
    assert "\n- How exact the borders of objects are.\n" in card and "calibrated" not in card
    assert "\n- How well the probabilities are calibrated, and how exact" in model_card(FACTS)
    assert "calibration" not in model_card(FACTS)


def test_card_says_how_to_use_and_repeat_it():
    card = model_card(FACTS)
    assert "python scripts/evaluate.py --weights runs/ohem/1\n" in card
    assert "python scripts/predict.py --weights runs/ohem/1 --source IMAGE_OR_FOLDER\n" in card
    assert "python train.py --config runs/ohem/1 " in card
    assert "The first two take `best.pt`." in card


def test_card_of_a_stopped_run_says_so():
    card = model_card(replace(FACTS, iteration=900))
    assert "**Unfinished**: stopped after 900 of 2,000 iterations" in card
    assert "To continue: `python train.py --resume runs/ohem/1`" in card
    assert "A finished training run" not in card
    assert "- The model after the whole training, which was stopped early." in card


def test_card_of_an_overfit_run_claims_no_validation():
    card = model_card(replace(FACTS, overfit=True, size="resized to 8 x 9"))
    assert (
        "At iteration 2,000, on the 1,234 training images that it learnt (`--overfit`), not on validation images, "
        "resized to 8 x 9: **mIoU 70.8**"
    ) in card
    assert "- Any image that it did not learn: all scores are on the images that it was trained on." in card
    assert "chosen by the score on the same images" in card and "the same training once more" not in card
    assert card.count("validation image") == 1 and "validation set" not in card


def test_time_of_a_resumed_run_is_that_since_the_resume():
    assert "in 1:02:03, since it was resumed last." in model_card(replace(FACTS, resumed=True))


def test_run_that_was_never_evaluated_claims_no_score():
    card = model_card(replace(FACTS, last=None, best=NOTHING, kept=NOTHING))
    assert "Nothing was evaluated." in card
    assert "best mIoU" not in card and "mIoU:" not in card
    assert "The first two take the newest checkpoint." in card


@pytest.mark.parametrize(
    ("iteration", "shown"), [(2000, ["results.png", "worst8.jpg"]), (900, ["results.png"])]
)
def test_pictures_that_are_there_and_of_this_run_are_linked(tmp_path, iteration, shown):
    """best8 and worst8 in the folder of an unfinished run are of a shorter run that is continued."""
    for name in ("worst8.jpg", "results.png", "other.jpg"):
        (tmp_path / name).touch()
    card = model_card(replace(FACTS, folder=RunFiles(tmp_path), iteration=iteration))
    assert [
        line.partition("](")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")
    ] == shown
    assert "None were drawn." in model_card(FACTS)


def test_cells_of_a_table_hold_any_text():
    assert rows_as_table([("a|b", "two\nlines")]).splitlines()[-1] == "| a\\|b | two lines |"


def test_weights_that_are_no_longer_there_are_not_named():
    """The best moment is what was scored; best.pt may be of another, or not there."""
    card = model_card(replace(FACTS, kept={"mean_iou": 0.7, "iteration": 900}))
    assert (
        "The best mIoU was 75.0 at iteration 1,400, whose weights are no longer there; `best.pt` has those of "
        "iteration 900, the best that are: mIoU 70.0."
    ) in card
    card = model_card(replace(FACTS, kept=NOTHING))
    assert "at iteration 1,400, whose weights are no longer there." in card
    assert "The first two take the newest checkpoint." in card
