"""What a loss reports of an update, against counting by hand."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import CrossEntropy, Ohem, PixelLoss, TopK, TopShare, selected_mean
from segkit.losses.common.measure import sum_lines
from segkit.losses.pixel import pixel
from tests.losses.cases import make_batch


def report_of(selection, logits, target, **options):
    return PixelLoss(CrossEntropy(logits.shape[1]), selection, selected_mean, **options)(
        logits, target, iteration=0
    )[1]


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("selection", [TopShare(0.8), TopK(33), Ohem(0.8, 4)], ids=str)
def test_kept_pixels_by_hand(selection, scope):
    batch = make_batch(ignored=True, seed=4)
    loss = PixelLoss(CrossEntropy(3), selection, selected_mean, scope=scope)
    _, report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    kept = loss.pixels(batch.logits, batch.target, iteration=0).kept == 1
    ce = F.cross_entropy(batch.logits, batch.target, reduction="none", ignore_index=255)
    valid = batch.target != 255
    assert report["k"].item() == kept.sum()
    assert report["ce"].item() == pytest.approx(ce[valid].mean().item())
    assert report["kept_fraction"].item() == pytest.approx((kept.sum() / valid.sum()).item())
    assert report["ignored_fraction"].item() == pytest.approx(1 - valid.float().mean().item())
    assert report["threshold"].item() == pytest.approx(ce[kept].min().neg().exp().item())
    wrong = (batch.logits.argmax(1) != batch.target)[kept]
    assert 0 < wrong.float().mean() < 1
    assert report["kept_wrong"].item() == pytest.approx(wrong.float().mean().item())
    per_class = torch.bincount(batch.target[kept], minlength=3) / kept.sum()
    torch.testing.assert_close(report["kept_class"], per_class)


def test_pixels_that_tie_count_by_their_share():
    """Of four equally hard pixels two are kept: half of each. The fifth is right and easy."""
    logits = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 0, 9.0]])
    target = torch.tensor([1, 1, 0, 2, 2])
    report = report_of(TopK(2), logits, target)
    assert report["kept_class"].tolist() == [0.25, 0.5, 0.25]
    assert report["kept_wrong"].item() == 1


def test_equally_probable_classes_are_not_wrong():
    report = report_of(TopK(2), torch.zeros(3, 3), torch.tensor([0, 1, 2]))
    assert report["kept_wrong"].item() == 0


def test_one_logit_reports_two_classes():
    logits, target = torch.tensor([[3.0], [-1.0], [2.0]]), torch.tensor([0, 1, 1])
    _, report = pixel(2, criterion={"name": "bce"}, selection={"name": "top_k", "k": 2})(
        logits, target, iteration=0
    )
    assert report["kept_class"].tolist() == [0.5, 0.5]
    assert report["kept_wrong"].item() == 1
    ce = F.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    torch.testing.assert_close(report["ce"], ce)


def test_of_soft_labels_the_largest_is_the_class():
    soft = torch.tensor([[0.6, 0.4, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 0.0]])
    logits = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0]])
    _, report = pixel(3)(logits, soft, iteration=0)
    assert report["kept_class"].tolist() == [0.5, 0, 0.5]
    assert report["kept_wrong"].item() == 0.5
    assert report["ignored_fraction"].item() == pytest.approx(1 / 3)


def test_per_class_shares_are_the_same_whatever_the_order():
    """They are summed as integers, so no order of additions, on any device, can change a digit."""
    torch.manual_seed(0)
    logits, target = torch.randint(0, 3, (1000, 5)).float(), torch.randint(0, 5, (1000,))
    order = torch.randperm(1000)
    first, second = (report_of(TopShare(0.37), logits[i], target[i]) for i in (slice(None), order))
    assert torch.equal(first["kept_class"], second["kept_class"])
    assert first["kept_class"].sum().item() == pytest.approx(1)


def test_shares_are_summed_by_row_and_by_column():
    """By column is for a GPU."""
    label, units = torch.tensor([[0, 2, 2], [2, 0, 2]]), torch.tensor([[1, 2, 4], [8, 16, 32]])
    assert sum_lines(units, label, 3, by_column=False).tolist() == [[1, 16], [0, 0], [6, 40]]
    assert sum_lines(units, label, 3, by_column=True).tolist() == [[1, 16, 0], [0, 0, 0], [8, 2, 36]]
