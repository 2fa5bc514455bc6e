"""The edge cases of the losses, and the failures of widely used implementations: each is a test named after it."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import (
    All,
    CrossEntropy,
    LinearWarmUp,
    Ohem,
    PixelLoss,
    TopShare,
    bootstrapped_cross_entropy,
    cross_entropy,
    ohem_cross_entropy,
    selected_mean,
    weighted_mask_cross_entropy,
)
from tests.losses.cases import CASES, make_batch


def run(case, batch, weight="its own", **options):
    """The loss, its values and the gradient it leaves at the logits."""
    loss, values = case.loss(batch.logits.shape[1], **options)(
        batch.logits, batch.target, batch.weight if weight == "its own" else weight, iteration=case.iteration
    )
    return loss, values, torch.autograd.grad(loss, batch.logits)[0]


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3, 2, 3)], ids=["full size", "low resolution"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_pixels_ignored_gives_0_connected_not_nan_as_hrnet_bisenet_stcn(case, shape):
    batch = make_batch(shape)
    batch.target.fill_(255)
    for options in ({}, {"class_weights": [0.5, 2.0, 1.0]}):
        loss, values, gradient = run(case, batch, **options)
        assert loss.item() == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))
        assert float(values["ignored_fraction"]) == 1
        assert all(values[key].sum() == 0 for key in values if key not in ("ignored_fraction", "keep_share"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_easy_valid_pixel_is_kept_not_nan_as_hrnet_mmseg_bisenet(case):
    batch = make_batch()
    batch.target.fill_(255)
    batch.target[1, 2, 3] = 1
    with torch.no_grad():
        batch.logits[1, :, 2, 3] = torch.tensor([0.0, 9.0, 0.0])
    loss, values, gradient = run(case, batch, weight=torch.ones_like(batch.weight))
    expected = F.cross_entropy(batch.logits, batch.target, ignore_index=255)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, batch.logits)[0])
    assert values["k"].item() == 1 and values["kept_fraction"].item() == 1


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_n_min_not_below_the_valid_pixels_is_their_mean(more):
    batch = make_batch(ignored=True)
    n_min = int((batch.target != 255).sum()) + more
    loss = ohem_cross_entropy(batch.logits, batch.target, thresh=1e-9, n_min=n_min)
    torch.testing.assert_close(loss, F.cross_entropy(batch.logits, batch.target, ignore_index=255))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_saturated_probabilities_select_n_min_not_nothing_as_hrnet_mmseg(dtype):
    """All true-class probabilities are exactly 1: an overfitted batch."""
    target = torch.randint(0, 3, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = (200 * F.one_hot(target, 3).movedim(-1, 1)).to(dtype).requires_grad_()
    for selection, count in ((Ohem(0.7, 5), 5), (Ohem(0.7, "1/16"), 4), (TopShare(0.5), 32)):
        loss, values = PixelLoss(CrossEntropy(3), selection, selected_mean)(logits, target, iteration=0)
        loss.backward()
        assert loss.item() == 0 and values["k"].item() == count
        assert logits.grad.isfinite().all()
        kept = PixelLoss(CrossEntropy(3), selection, selected_mean).pixels(logits, target, iteration=0).kept
        assert kept.sum().item() == pytest.approx(count)
        assert kept.unique().tolist() == [pytest.approx(count / 64)]


def test_ties_in_bf16_select_exactly_k_and_share_the_gradient():
    """Rounded to bf16, most pixels of a confident network have one of a few values."""
    torch.manual_seed(0)
    logits = (torch.randint(0, 3, (2, 3, 8, 8)) * 0.5).to(torch.bfloat16).requires_grad_()
    target = torch.randint(0, 3, (2, 8, 8))
    loss = bootstrapped_cross_entropy(logits, target, share=0.3)
    ce = F.cross_entropy(logits.float(), target, reduction="none")
    torch.testing.assert_close(loss, ce.flatten().topk(int(0.3 * 128)).values.mean())
    report = PixelLoss(CrossEntropy(3), TopShare(0.3), selected_mean).pixels(logits, target, iteration=0)
    assert report.kept.sum().item() == pytest.approx(int(0.3 * 128))
    for value in ce.detach().unique():
        assert len(report.kept[ce == value].unique()) == 1, "pixels that tie are treated alike"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("low_resolution", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_logit_is_never_hidden_behind_a_finite_loss_as_hrnet_mmseg_bisenet(case, low_resolution, bad):
    """Also where the pixel would not be selected, or weighs nothing. (-inf is bad where it is the true class.)"""
    batch = make_batch((2, 3, 2, 3) if low_resolution else (2, 3, 5, 7))
    batch.target[0] = 1
    for weight in (batch.weight, torch.ones_like(batch.weight), torch.zeros_like(batch.weight)):
        for options in ({}, {"class_weights": [1.0, 0.0, 1.0]}, {"class_weights": [1.0, 2.0, 1.0]}):
            batch.logits = batch.logits.detach().clone()
            batch.logits[0, 1, 0, 0] = bad
            batch.logits.requires_grad_()
            loss, _, _ = run(case, batch, weight, **options)
            assert not loss.isfinite(), (options, weight.sum())


def test_a_nan_pixel_is_no_hard_pixel():
    ce = torch.tensor([float("nan"), 3.0, 0.1])
    assert Ohem(0.5, 1)(ce, torch.ones(3, dtype=torch.bool)).count.item() == 1


def test_start_warm_equal_to_end_warm_is_a_step_not_a_zero_division_as_stcn():
    batch = make_batch(ignored=True)
    share = LinearWarmUp(0.2, 10, 10)
    before = bootstrapped_cross_entropy(batch.logits, batch.target, share=share, iteration=9)
    after = bootstrapped_cross_entropy(batch.logits, batch.target, share=share, iteration=10)
    assert before.item() == cross_entropy(batch.logits, batch.target).item()
    assert after.item() == bootstrapped_cross_entropy(batch.logits, batch.target, share=0.2).item()


@pytest.mark.parametrize("ignore_index", [255, -100, -1, 3, 1000])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_class_weights_are_never_indexed_by_the_ignored_label_as_mmseg(ignore_index, dtype):
    batch = make_batch()
    target = batch.target.clone()
    target[0, :3] = ignore_index
    weights = torch.tensor([0.5, 2.0, 1.0])
    expected = F.cross_entropy(batch.logits, target, weight=weights, ignore_index=ignore_index)
    ours = cross_entropy(batch.logits, target.to(dtype), class_weights=weights, ignore_index=ignore_index)
    torch.testing.assert_close(ours, expected)


def test_an_ignored_class_may_be_one_of_the_classes():
    batch = make_batch()
    torch.testing.assert_close(
        cross_entropy(batch.logits, batch.target, ignore_index=0),
        F.cross_entropy(batch.logits, batch.target, ignore_index=0),
    )


def test_k_is_a_share_of_valid_pixels_not_of_all_as_detectron2_nnunet():
    """90 % ignored: k of all pixels would take every valid one, and divide by more than there are."""
    torch.manual_seed(0)
    logits, target = torch.randn(1, 3, 20, 20), torch.full((1, 20, 20), 255)
    target[0, :2] = torch.randint(0, 3, (2, 20))
    ce = F.cross_entropy(logits[:, :, :2], target[:, :2], reduction="none").flatten()
    torch.testing.assert_close(
        bootstrapped_cross_entropy(logits, target, share=0.15), ce.topk(6).values.mean()
    )
    torch.testing.assert_close(
        ohem_cross_entropy(logits, target, thresh=1e-6, n_min="1/8"), ce.topk(5).values.mean()
    )
    _, values = PixelLoss(CrossEntropy(3), TopShare(0.15), selected_mean)(logits, target, iteration=0)
    assert values["k"].item() == 6
    assert values["kept_fraction"].item() == pytest.approx(0.15)
    assert values["ignored_fraction"].item() == pytest.approx(0.9)
    assert values["ce"].item() == pytest.approx(ce.mean().item())


def test_the_mean_is_over_selected_pixels_not_all_as_mmsegs_sampler():
    batch = make_batch()
    _, values = PixelLoss(CrossEntropy(3), Ohem(0.2, 1), selected_mean)(
        batch.logits, batch.target, iteration=0
    )
    ce = F.cross_entropy(batch.logits, batch.target, reduction="none")
    loss = ohem_cross_entropy(batch.logits, batch.target, thresh=0.2, n_min=1)
    assert 0 < values["k"].item() < ce.numel()
    torch.testing.assert_close(loss, ce[ce > -torch.tensor(0.2).log()].mean())


def test_a_map_that_is_0_on_every_valid_pixel_gives_0_connected():
    batch = make_batch(ignored=True)
    weight = (batch.target == 255).float()
    for normalize in ("pixels", "weights"):
        loss = weighted_mask_cross_entropy(batch.logits, batch.target, weight, normalize=normalize)
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(batch.logits.grad, torch.zeros_like(batch.logits))


def test_class_weights_that_are_0_for_every_class_present_give_0():
    batch = make_batch()
    batch.target.fill_(1)
    loss = cross_entropy(batch.logits, batch.target, class_weights=torch.tensor([1.0, 0.0, 1.0]))
    loss.backward()
    assert loss.item() == 0 and batch.logits.grad.abs().sum() == 0


def test_a_class_masked_out_by_minus_infinity_is_no_error():
    logits = torch.tensor([[2.0, 1.0, -torch.inf], [0.0, 1.0, -torch.inf]], requires_grad=True)
    target = torch.tensor([0, 1])
    loss = cross_entropy(logits, target)
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))
    loss.backward()
    assert logits.grad.isfinite().all()


def test_extreme_logits_stay_finite():
    for dtype, size in ((torch.float32, 1e30), (torch.bfloat16, 1e30), (torch.float16, 6e4)):
        logits = torch.tensor([[size, -size, 0.0], [size, -size, 0.0]], dtype=dtype, requires_grad=True)
        target = torch.tensor([0, 1])
        for loss in (
            cross_entropy(logits, target),
            bootstrapped_cross_entropy(logits, target, share=0.5),
            ohem_cross_entropy(logits, target, n_min=1),
        ):
            (gradient,) = torch.autograd.grad(loss, logits)
            assert loss.isfinite() and gradient.isfinite().all()


def test_nothing_makes_the_host_wait_for_the_device():
    """Tensors on the meta device have no values: reading one, or indexing by a mask, raises."""
    logits = torch.randn(2, 3, 4, 4, device="meta", requires_grad=True)
    target = torch.zeros(2, 8, 8, dtype=torch.uint8, device="meta")
    weight = torch.ones(2, 8, 8, device="meta")
    for case in CASES:
        loss, values = case.loss(3, class_weights=[1.0, 2.0, 3.0]).to("meta")(
            logits, target, weight, iteration=case.iteration
        )
        loss.backward()
        assert loss.shape == () and logits.grad.shape == logits.shape
        for name, value in values.items():
            assert isinstance(value, float) or (value.is_meta and value.shape in ((), (3,))), name
    for selection in (All(), TopShare(0.5), Ohem(0.7, "1/16")):
        loss = PixelLoss(CrossEntropy(3, label_smoothing=0.1), selection, selected_mean)
        soft = torch.rand(2, 3, 8, 8, device="meta")
        loss(logits, soft, weight, iteration=0)[0].backward()
        loss.pixels(logits, soft, weight, iteration=0)
