"""Confidence against accuracy: what is counted against its definition as loops in float64, and against torchmetrics."""

import math

import pytest
import torch
from torch.nn import functional as F

from segkit.evaluation import calibration, upsampled_scores
from segkit.evaluation.calibration import CalibrationCounts, count_bins, count_class_bins
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.evaluate import evaluate
from segkit.evaluation.image_counts import ImageCounts, join_counts
from segkit.evaluation.upsampled_scores import score_pixels

IGNORE = 255


def make(*, channels=4, images=3, size=(13, 11), seed=0, scale=2.0):
    """Logits at half of the size and labels that follow them mostly, a fifth ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, channels, *(-(-side // 2) for side in size), generator=generator)
    likely = upsample(logits, size).argmax(dim=1)
    other = torch.randint(0, max(2, channels), likely.shape, generator=generator)
    target = torch.where(torch.rand(likely.shape, generator=generator) < 0.6, likely, other)
    target[torch.rand(target.shape, generator=generator) < 0.2] = IGNORE
    return logits, target


def upsample(logits, size):
    logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def reference(logits, target):
    """Pixels, right ones and confidences of each bin, and the mean Brier score, pixel by pixel in float64."""
    full = upsample(logits.double(), target.shape[-2:])
    bins, brier, pixels = [[0, 0, 0.0] for _ in range(BINS)], 0.0, 0
    for values, labels in zip(full.flatten(2), target.flatten(1), strict=True):
        for pixel, label in enumerate(labels.tolist()):
            if label == IGNORE:
                continue
            z = values[:, pixel].tolist()
            p = [math.exp(one - max(z)) / sum(math.exp(each - max(z)) for each in z) for one in z]
            brier += sum((one - (c == label)) ** 2 for c, one in enumerate(p))
            pixels += 1
            for b in range(BINS):
                if b / BINS < max(p) <= (b + 1) / BINS:
                    bins[b][0] += 1
                    bins[b][1] += p.index(max(p)) == label
                    bins[b][2] += max(p)
    return bins, brier / pixels


def reference_ece(bins):
    pixels = sum(count for count, _, _ in bins)
    return sum(count / pixels * abs(right / count - sure / count) for count, right, sure in bins if count)


def count(logits, target):
    meter = score_pixels(logits, target, ignore_index=IGNORE, calibration=True).calibration
    return CalibrationCounts(meter.bins, meter.brier_sums)


@pytest.fixture(params=[1, 2**19], ids=["a row", "all rows"])
def _band(request, monkeypatch):
    monkeypatch.setattr(upsampled_scores, "CPU_BAND", request.param)


@pytest.mark.usefixtures("_band")
@pytest.mark.parametrize(("channels", "scale"), [(1, 2.0), (2, 0.2), (4, 2.0), (19, 1.0), (5, 30.0)])
def test_counts_and_scores_equal_a_loop_over_all_pixels(channels, scale):
    logits, target = make(channels=channels, scale=scale)
    counts = count(logits, target)
    bins, brier = reference(logits, target)
    found = counts.bins.sum(dim=0).tolist()
    assert [row[:2] for row in found] == [row[:2] for row in bins]
    assert sum(row[0] > 0 for row in bins) > 1, "or the bins would not show"
    rounding = 1e-6 + 3e-7 * scale  # of a confidence, whose logits are in fp32
    for (number, _, units), (_, _, sure) in zip(found, bins, strict=True):
        assert units / UNIT == pytest.approx(sure, abs=rounding * number)
    scores = counts.scores()
    assert scores.ece == pytest.approx(reference_ece(bins), abs=rounding)
    assert scores.brier == pytest.approx(brier, abs=2 * rounding)
    pixels = sum(row[0] for row in bins)
    assert scores.accuracy == sum(row[1] for row in bins) / pixels
    assert scores.confidence == pytest.approx(sum(row[2] for row in bins) / pixels, abs=rounding)
    assert scores.bins[0] == [row[0] for row in bins] and pixels == int((target != IGNORE).sum())


def reference_of_classes(logits, target):
    """Pixels, those with the label and the probabilities of each class and bin, pixel by pixel in float64."""
    full = upsample(logits.double(), target.shape[-2:])
    bins = [[[0, 0, 0.0] for _ in range(BINS)] for _ in range(full.shape[1])]
    for values, labels in zip(full.flatten(2), target.flatten(1), strict=True):
        for pixel, label in enumerate(labels.tolist()):
            if label == IGNORE:
                continue
            shares = values[:, pixel].softmax(dim=0).tolist()
            for c, share in enumerate(shares):
                b = next(b for b in range(BINS) if share <= (b + 1) / BINS)
                bins[c][b][0] += 1
                bins[c][b][1] += c == label
                bins[c][b][2] += share
    return bins


@pytest.mark.usefixtures("_band")
@pytest.mark.parametrize(("channels", "scale"), [(1, 2.0), (2, 0.2), (4, 2.0), (19, 1.0)])
def test_the_probabilities_of_every_class_equal_a_loop_over_all_pixels(channels, scale):
    logits, target = make(channels=channels, scale=scale)
    meter = score_pixels(logits, target, ignore_index=IGNORE, calibration="classwise").calibration
    counts, bins = meter.counts(), reference_of_classes(logits, target)
    alone = count(logits, target)
    assert torch.equal(counts.bins, alone.bins) and torch.equal(counts.brier_sums, alone.brier_sums)
    found = counts.class_bins.sum(dim=0).tolist()
    assert [[row[:2] for row in rows] for rows in found] == [[row[:2] for row in rows] for rows in bins]
    errors = [reference_ece(rows) for rows in bins]
    scores = counts.scores()
    assert scores.class_ece == pytest.approx(errors, abs=2e-6)
    assert scores.classwise_ece == pytest.approx(sum(errors) / len(errors), abs=2e-6)
    assert alone.scores().classwise_ece is None and max(errors) > 0.01


@pytest.mark.parametrize(("channels", "scale"), [(2, 0.5), (5, 3.0), (19, 0.0), (19, 30.0)])
@pytest.mark.parametrize("columns", [1, 7, 2**11])
def test_classes_are_counted_alike_where_nothing_may_wait(channels, scale, columns, monkeypatch):
    """The way of a GPU, on the CPU, to the last unit: also of no pixel, of none that is valid, and of NaN."""
    monkeypatch.setattr(calibration, "COLUMNS", columns)
    logits, target = make(channels=channels, scale=scale, size=(23, 17))
    shares = upsample(logits, target.shape[-2:])[0].softmax(dim=0).transpose(0, 1).contiguous()  # (H, C, W)
    shares[3, :, 5] = math.nan
    shares[4, :, 6] = torch.eye(channels)[0]
    label, ignored = target[0].long(), target[0] == IGNORE
    for few in (ignored, torch.ones_like(ignored), ~ignored):
        labels = label.masked_fill(ignored & ~few, channels - 1)
        units = (shares * UNIT).nan_to_num(nan=0.0).round()
        expected = calibration._count_classes_without_waiting(units, labels, few)
        assert expected[..., 0].sum(dim=1).eq((~few).sum()).all()
        assert torch.equal(count_class_bins(shares.clone(), labels, few), expected)
    nothing = count_class_bins(shares[:0].clone(), label[:0], ignored[:0])
    assert torch.equal(nothing, torch.zeros(channels, BINS, 3, dtype=torch.int64))


def test_pixels_are_counted_alike_where_nothing_may_wait(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(19, 23, generator=generator)
    confidence[2, 2] = math.nan
    right, ignored = (torch.rand(19, 23, generator=generator) < share for share in (0.7, 0.2))
    expected = count_bins(confidence, right, ignored)
    monkeypatch.setattr(calibration, "_add_up", calibration._add_up_without_waiting)
    assert torch.equal(count_bins(confidence, right, ignored), expected)


def test_a_bin_has_its_upper_edge():
    edges = [b / BINS for b in range(1, BINS + 1)]
    just_above = [edge + 2 / UNIT for edge in edges[:-1]]
    for confidences, places in ((edges, range(BINS)), (just_above, range(1, BINS))):
        for confidence, place in zip(confidences, places, strict=True):
            bins = count_bins(
                torch.full((1, 1), confidence), torch.ones(1, 1, dtype=bool), torch.zeros(1, 1, dtype=bool)
            )
            assert bins[:, 0].nonzero().tolist() == [[place]], confidence
            assert bins[place].tolist() == [1, 1, round(confidence * UNIT)]


def test_an_even_network_is_as_sure_as_it_can_least_be():
    """Of C equal logits the confidence is 1 / C and the Brier score 1 - 1 / C, right or wrong."""
    target = torch.tensor([[[0, 1, IGNORE, 3]]])
    scores = count(torch.zeros(1, 4, 1, 4), target).scores()
    assert (scores.confidence, scores.accuracy) == (0.25, 1 / 3)
    assert scores.ece == pytest.approx(1 / 3 - 0.25, abs=1e-15) and scores.brier == pytest.approx(0.75)


@pytest.mark.parametrize("sure", [60.0, 1e30])
def test_a_network_that_is_certain(sure):
    """The probability of 1 is in the last bin, and whoever is certain and wrong has a Brier score of 2."""
    logits = torch.tensor([sure, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    counts = count(logits, torch.tensor([[[0, 0, 0, 1]]]))
    assert counts.bins[0, -1].tolist() == [4, 3, 4 * UNIT] and counts.bins[0, :-1].sum() == 0
    assert counts.scores().ece == 0.25 and counts.scores().brier == pytest.approx(0.5)


def test_a_logit_that_is_no_number_is_no_confidence():
    logits = torch.tensor([[math.nan, 1.0], [0.0, 9.0]]).T.reshape(1, 2, 1, 2)
    counts = count(logits, torch.tensor([[[0, 1]]]))
    assert counts.bins[0, 0].tolist() == [1, 1, 0] and counts.bins[0, -1, :2].tolist() == [1, 1]
    assert math.isnan(counts.scores().brier), "as the cross-entropy is"


def test_without_a_valid_pixel_there_is_no_score():
    scores = count(torch.zeros(1, 3, 2, 2), torch.full((1, 4, 4), IGNORE)).scores()
    assert all(map(math.isnan, (scores.ece, scores.brier, scores.confidence, scores.accuracy)))


def test_what_is_ignored_changes_nothing():
    logits, target = make()
    other = logits.clone()
    target[:, :, :6] = IGNORE
    other[:, :, :, :2] += 5.0  # of columns 0 to 4
    one, two = count(logits, target), count(other, target)
    assert torch.equal(one.bins, two.bins) and torch.equal(one.brier_sums, two.brier_sums)


def run(batches, **options):
    return evaluate(
        lambda image: image.float(), torch.nn.Identity(), batches, num_classes=4, ignore_index=IGNORE,
        device=torch.device("cpu"), **{"calibration": "classwise", **options},
    )  # fmt: skip


def batches(sizes):
    logits, target = make(images=6)
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    return [
        {
            "image": logits[start : start + size],
            "target": target[start : start + size],
            "name": [str(n) for n in range(start, start + size)],
            "index": torch.arange(start, start + size),
        }
        for start, size in zip(starts, sizes, strict=True)
    ]


def test_counts_do_not_depend_on_batches_or_their_order():
    logits, target = make(images=6)
    expected = score_pixels(logits, target, ignore_index=IGNORE, calibration="classwise").calibration
    for each in (batches([6]), batches([1, 2, 3]), batches([2, 2, 2])[::-1]):
        found = run(each).calibration
        assert torch.equal(found.bins, expected.bins) and torch.equal(found.brier_sums, expected.brier_sums)
        assert torch.equal(found.class_bins, expected.class_bins)
    assert len({str(each) for each in expected.bins.tolist()}) == 6, "or the order would not show"


def test_parts_of_several_processes_join_in_the_order_of_the_data_set():
    parts = [run(batches([1] * 6)[rank::2]) for rank in range(2)]
    joined = join_counts([
        ImageCounts(
            part.matrices, part.ce_sums, part.borders, part.calibration, part.objects, part.names, part.places
        )
        for part in parts
    ])  # fmt: skip
    alone = run(batches([6]))
    assert joined.names == alone.names
    assert torch.equal(joined.calibration.bins, alone.calibration.bins)
    assert torch.equal(joined.calibration.brier_sums, alone.calibration.brier_sums)
    assert torch.equal(joined.calibration.class_bins, alone.calibration.class_bins)


def test_bins_agree_with_the_matrix_and_nothing_is_counted_unasked():
    found = run(batches([2, 4]))
    pixels = torch.tensor([[int(matrix.sum()), int(matrix.trace())] for matrix in found.matrices])
    assert torch.equal(found.calibration.bins.sum(dim=1)[:, :2], pixels)
    unasked = evaluate(
        lambda image: image.float(), torch.nn.Identity(), batches([6]), num_classes=4, ignore_index=IGNORE,
        device=torch.device("cpu"),
    )  # fmt: skip
    assert unasked.calibration is None
    assert torch.equal(unasked.ce_sums, found.ce_sums) and unasked.matrices == found.matrices


@pytest.mark.parametrize("channels", [3, 19])
def test_torchmetrics_finds_the_same_calibration_error(channels):
    """It has a bin of its own for the probability of exactly 1, which these logits do not reach."""
    calibration = pytest.importorskip("torchmetrics.functional.classification", reason="needs torchmetrics")
    logits, target = make(channels=channels, images=4, size=(40, 50), scale=1.0)
    expected = calibration.multiclass_calibration_error(
        upsample(logits, target.shape[-2:]), target, num_classes=channels, n_bins=BINS, norm="l1",
        ignore_index=IGNORE,
    )  # fmt: skip
    scores = count(logits, target).scores()
    assert scores.ece == pytest.approx(float(expected), abs=2e-6) and scores.ece > 0.01


def test_the_sum_of_a_row_is_exact():
    """Of more columns than an int32 has room for."""
    shares = torch.ones(2, 2, 5000)
    shares[:, 1] = 0
    nothing = torch.zeros(2, 5000, dtype=torch.bool)
    found = count_class_bins(shares, torch.zeros(2, 5000, dtype=torch.int64), nothing)
    assert found[0, -1].tolist() == [10_000, 10_000, 10_000 * UNIT] and found[1, 0].tolist() == [10_000, 0, 0]
    low = torch.full((1, 2, 70_000), 1 / 16)  # in the lowest bin, whose sum is what is left
    found = count_class_bins(
        low, torch.ones(1, 70_000, dtype=torch.int64), torch.zeros(1, 70_000, dtype=torch.bool)
    )
    assert found[:, 0].tolist() == [[70_000, 0, 70_000 * UNIT // 16], [70_000, 70_000, 70_000 * UNIT // 16]]
