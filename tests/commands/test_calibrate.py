"""The temperature that is fitted: against a search over all pixels in float64, and what it is drawn from."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from segkit.commands.calibrate import (
    LogitSample,
    _scores_of,
    fit_temperature,
    say_temperature,
    upsampled_at,
)
from segkit.errors import DataError
from segkit.evaluation.calibration import CalibrationCounts
from segkit.evaluation.confidence_bins import BINS
from segkit.evaluation.evaluate import Evaluation

IGNORE = 255


def make(temperature, *, images=3, classes=4, pixels=4000, seed=0):
    """Logits whose labels are drawn with the probabilities of the logits divided by `temperature`."""
    generator = torch.Generator().manual_seed(seed)
    logits = [3 * torch.randn(pixels, classes, generator=generator) for _ in range(images)]
    labels = [
        torch.multinomial((z / temperature).softmax(dim=1), 1, generator=generator)[:, 0] for z in logits
    ]
    return logits, labels


def test_it_is_where_the_cross_entropy_is_smallest():
    """Of images that stand for different numbers of pixels."""
    logits, labels = make(2.0)
    logits[1] = 5 * logits[1]
    valid = [100, 5000, 900]
    found = fit_temperature(logits, labels, valid)

    def cross_entropy(temperature):
        each = [
            n * F.cross_entropy(z.double() / temperature, y)
            for z, y, n in zip(logits, labels, valid, strict=True)
        ]
        return float(sum(each)) / sum(valid)

    around = [cross_entropy(found * factor) for factor in (0.99, 0.9999, 1.0, 1.0001, 1.01)]
    assert min(around) == around[2], "a search in small steps finds none that is better"
    assert abs(found - fit_temperature(logits, labels, [1, 1, 1])) > 0.1, "or the pixels would not count"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    assert fit_temperature(*make(temperature), [1, 1, 1]) == pytest.approx(temperature, rel=0.05)


def test_where_there_is_none():
    z = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    for labels in ([0, 1], [1, 0]):
        with pytest.raises(
            DataError, match=r"^--calibrate: no temperature between 0.01 and 100 has the smallest"
        ):
            fit_temperature([z], [torch.tensor(labels)], [2])
    with pytest.raises(DataError, match="have no valid pixel"):
        fit_temperature([], [], [])


@pytest.mark.parametrize(("shape", "size"), [((3, 4, 6), (16, 24)), ((1, 5, 3), (7, 4)), ((2, 3, 4), (3, 4))])
def test_single_pixels_are_those_of_the_upsampled_logits(shape, size):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    full = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    full = torch.cat([torch.zeros_like(full), full]) if shape[0] == 1 else full
    found = upsampled_at(logits, torch.arange(size[0] * size[1]), size)
    torch.testing.assert_close(found, full.flatten(1).T, rtol=1e-5, atol=1e-5)


def test_the_sample_is_of_valid_pixels_and_does_not_depend_on_batches():
    logits = torch.arange(2 * 3 * 4 * 5).float().view(2, 3, 4, 5)
    target = torch.arange(20).view(1, 4, 5).repeat(2, 1, 1) % 3
    target[:, :2] = IGNORE
    whole, single = (LogitSample(pixels=9, ignore_index=IGNORE) for _ in range(2))
    whole.add(logits, target, [3, 7])
    single.add(logits[1:], target[1:], [7])
    assert torch.equal(whole.logits[7], single.logits[7]) and torch.equal(whole.labels[7], single.labels[7])
    assert whole.valid == {3: 10, 7: 10}
    first = whole.logits[3][:, 0].long()  # the number of the pixel
    assert set(first.tolist()) <= set(range(10, 20)) and len(set(first.tolist())) > 4
    assert torch.equal(whole.labels[3], first % 3)
    assert not torch.equal(whole.labels[3], whole.labels[7]), "each image has its own"
    single.add(logits[:1], torch.full((1, 4, 5), IGNORE), [9])
    assert 9 not in single.valid


def test_of_few_pixels_all_are_taken_once():
    """Some were drawn several times and others never, as if the image had been another."""
    target = torch.tensor([[[0, 1, IGNORE, 1], [1, 0, 1, IGNORE]]])
    sample = LogitSample(pixels=6, ignore_index=IGNORE)
    logits = torch.arange(16.0).view(1, 2, 2, 4)
    sample.add(logits, target, [4])
    valid = (target.flatten() != IGNORE).nonzero()[:, 0]
    assert torch.equal(sample.logits[4], logits.flatten(2)[0].T[valid])
    assert torch.equal(sample.labels[4], target.flatten()[valid]) and sample.valid == {4: 6}


SCORES = {"ece": 0.0933, "brier": 0.1, "ce": 0.2}


@pytest.mark.parametrize(("ce", "carries_over"), [(0.1999, True), (0.2, True), (0.2001, False)])
def test_a_temperature_that_makes_the_other_half_worse_is_said_to(ce, carries_over):
    found = {
        "temperature": 0.5,
        "fitted_on": 5,
        "scored_on": 4,
        "before": SCORES,
        "after": SCORES | {"ce": ce},
    }
    lines = say_temperature(found, split="val", file=Path("run/temperature.json"))
    assert lines[:2] == [
        "temperature 0.5000, fitted on 5 images of val; on the other 4:",
        "  before  ECE 9.33  Brier 0.1000  ce 0.2000",
    ]
    caution = "caution: on those, the cross-entropy is larger with it"
    assert len(lines) == (3 if carries_over else 4) and lines[-1].startswith(caution) != carries_over
    assert carries_over or "or remove run/temperature.json" in lines[-1]


def test_scores_that_are_no_numbers_are_an_error():
    """Which the half that was fitted on need not show; it was a traceback."""
    calibration = CalibrationCounts(torch.ones(2, BINS, 3, dtype=torch.int64), torch.ones(2).double())
    ce_sums = torch.tensor([3.0, float("inf")], dtype=torch.float64)
    result = Evaluation(torch.ones(2, 2), 0.1, 2, calibration=calibration, ce_sums=ce_sums)
    assert _scores_of(result, torch.tensor([0]))["ce"] == 0.2
    with pytest.raises(DataError, match="of the images to score is infinite, or no number"):
        _scores_of(result, torch.tensor([1]))
