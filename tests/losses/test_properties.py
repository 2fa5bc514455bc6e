"""What must hold for any input."""

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
    valid_mean,
    weighted_mask_cross_entropy,
    weighted_mean,
)
from tests.losses import reference
from tests.losses.cases import CASES, CLASS_WEIGHTS, make_batch

FUNCTIONS = {
    "ce": lambda z, t, m: cross_entropy(z, t, m),
    "smoothed ce": lambda z, t, m: cross_entropy(z, t, m, label_smoothing=0.1),
    "weighted pixels": lambda z, t, m: weighted_mask_cross_entropy(z, t, m),
    "weighted weights": lambda z, t, m: weighted_mask_cross_entropy(z, t, m, normalize="weights"),
    "bootstrapped": lambda z, t, m: bootstrapped_cross_entropy(z, t, m, share=0.3),
    "ohem": lambda z, t, m: ohem_cross_entropy(z, t, m, thresh=0.3, n_min=5),
}


def gradient(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize(
    "class_weights", [None, torch.tensor(CLASS_WEIGHTS[:3])], ids=["plain", "class weights"]
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_ce_is_torchs_cross_entropy(class_weights, label_smoothing, soft):
    torch.manual_seed(0)
    batch = make_batch(ignored=not soft)
    target = torch.softmax(torch.randn(2, 3, 5, 7), dim=1) if soft else batch.target
    ours = cross_entropy(batch.logits, target, class_weights=class_weights, label_smoothing=label_smoothing)
    torchs = F.cross_entropy(
        batch.logits,
        target,
        weight=class_weights,
        label_smoothing=label_smoothing,
        reduction="mean",
        **({} if soft else {"ignore_index": 255}),
    )
    if (
        soft and class_weights is not None
    ):  # torch divides by the number of pixels there, even for one-hot labels
        weights = torch.einsum("nchw,c->nhw", target, class_weights)
        torchs = torchs * weights.numel() / weights.sum()
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(gradient(ours, batch.logits), gradient(torchs, batch.logits))


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 9), (2, 4, 3, 5), (2, 4, 3, 2, 5)], ids=str)
def test_any_number_of_trailing_dimensions(shape):
    torch.manual_seed(0)
    logits = torch.randn(shape, requires_grad=True)
    target = torch.randint(0, 4, (shape[0], *shape[2:]))
    target.view(-1)[1] = 255
    ours, torchs = cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=255)
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(gradient(ours, logits), gradient(torchs, logits))
    torch.testing.assert_close(
        bootstrapped_cross_entropy(logits, target, share=0.4), reference.topk_mean(logits, target, 0.4)
    )
    torch.testing.assert_close(
        ohem_cross_entropy(logits, target, thresh=0.2, n_min=2),
        reference.full_sort_ohem(logits, target, 0.2, 2),
    )


def test_a_share_of_1_is_ce_to_the_bit():
    batch = make_batch(ignored=True)
    ce, all_of_them = (
        cross_entropy(batch.logits, batch.target),
        bootstrapped_cross_entropy(batch.logits, batch.target, share=1.0),
    )
    assert ce.item() == all_of_them.item()
    assert torch.equal(gradient(ce, batch.logits), gradient(all_of_them, batch.logits))


@pytest.mark.parametrize("share", [0.01, 0.15, 0.5, 0.999])
def test_bootstrapped_is_the_mean_of_topk(share):
    batch = make_batch(ignored=True)
    ours = bootstrapped_cross_entropy(batch.logits, batch.target, share=share)
    topk = reference.topk_mean(batch.logits, batch.target, share)
    torch.testing.assert_close(ours, topk)
    torch.testing.assert_close(gradient(ours, batch.logits), gradient(topk, batch.logits))


@pytest.mark.parametrize("thresh", [0.01, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("n_min", [1, 10, 40, 10_000])
def test_ohem_is_the_full_sort_form(thresh, n_min):
    batch = make_batch(ignored=True)
    ours = ohem_cross_entropy(batch.logits, batch.target, thresh=thresh, n_min=n_min)
    full_sort = reference.full_sort_ohem(batch.logits, batch.target, thresh, n_min)
    torch.testing.assert_close(ours, full_sort)
    torch.testing.assert_close(gradient(ours, batch.logits), gradient(full_sort, batch.logits))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ignored_pixels_have_exactly_zero_gradient(name):
    batch = make_batch(ignored=True)
    slope = gradient(FUNCTIONS[name](batch.logits, batch.target, batch.weight), batch.logits)
    ignored = (batch.target == 255).unsqueeze(1).expand_as(slope)
    assert ignored.any() and slope[~ignored].abs().sum() > 0
    assert (slope[ignored] == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_logits_of_ignored_pixels_do_not_matter(name, bad):
    batch = make_batch(ignored=True)
    expected = FUNCTIONS[name](batch.logits, batch.target, batch.weight)
    ignored = (batch.target == 255).unsqueeze(1).expand_as(batch.logits)
    spoilt = batch.logits.detach().masked_fill(ignored, bad).requires_grad_()
    weight = batch.weight.masked_fill(batch.target == 255, bad)
    loss = FUNCTIONS[name](spoilt, batch.target, weight)
    assert loss.item() == expected.item()
    assert torch.equal(gradient(loss, spoilt), gradient(expected, batch.logits))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_permuting_pixels_changes_nothing(name):
    batch = make_batch(ignored=True)
    logits = torch.round(batch.logits.detach()).requires_grad_()  # whole numbers, so that many pixels tie
    weight = torch.ones_like(batch.weight)
    slope = gradient(FUNCTIONS[name](logits, batch.target, weight), logits)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))

    def permute(x):
        return x.flatten(-2)[..., order].view(x.shape)

    moved = permute(logits.detach()).requires_grad_()
    loss = FUNCTIONS[name](moved, permute(batch.target), weight)
    torch.testing.assert_close(loss, FUNCTIONS[name](logits, batch.target, weight))
    torch.testing.assert_close(gradient(loss, moved), permute(slope))


def test_a_map_of_a_tenth_is_a_tenth_of_ce():
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    weight = torch.full_like(batch.weight, 0.1)
    tenth = weighted_mask_cross_entropy(batch.logits, batch.target, weight)
    torch.testing.assert_close(tenth, 0.1 * ce, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient(tenth, batch.logits), 0.1 * gradient(ce, batch.logits))
    by_weights = weighted_mask_cross_entropy(batch.logits, batch.target, weight, normalize="weights")
    torch.testing.assert_close(by_weights, ce, rtol=1e-6, atol=0)


def test_the_source_articles_number():
    # One pixel whose ce is 1.1255 (three classes, true probability e^-1.1255).
    p = torch.exp(torch.tensor(-1.1255))
    logits = torch.log(torch.stack([p, (1 - p) / 2, (1 - p) / 2])).view(1, 3, 1, 1)
    target = torch.zeros(1, 1, 1, dtype=torch.long)
    assert cross_entropy(logits, target).item() == pytest.approx(1.1255, abs=1e-5)
    tenth = weighted_mask_cross_entropy(logits, target, torch.full((1, 1, 1), 0.1))
    assert tenth.item() == pytest.approx(0.1126, abs=6e-5)


def selections():
    return [All(), TopShare(0.3), TopShare(LinearWarmUp(0.2, 0, 10)), Ohem(0.6, 4), Ohem(0.05, "1/4")]


@pytest.mark.parametrize("reduction", [valid_mean, selected_mean, weighted_mean], ids=lambda r: r.__name__)
@pytest.mark.parametrize("selection", selections(), ids=str)
def test_one_hot_soft_labels_equal_hard_labels_in_any_composition(selection, reduction):
    batch = make_batch(ignored=True)
    loss = PixelLoss(
        CrossEntropy(3, class_weights=[0.5, 2.0, 1.0], label_smoothing=0.1), selection, reduction
    )
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()  # ignored: all zero
    hard, hard_values = loss(batch.logits, batch.target, batch.weight, iteration=5)
    soft, soft_values = loss(batch.logits, one_hot, batch.weight, iteration=5)
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(gradient(soft, batch.logits), gradient(hard, batch.logits))
    assert soft_values.keys() == hard_values.keys()
    for key in hard_values:
        torch.testing.assert_close(soft_values[key], hard_values[key])


def test_one_hot_equals_hard_where_a_class_is_masked_out_by_minus_infinity():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]], requires_grad=True)
    hard, soft = (
        cross_entropy(logits, torch.tensor([1])),
        cross_entropy(logits, torch.tensor([[0.0, 1.0, 0.0]])),
    )
    assert hard.item() == soft.item() == pytest.approx(0.31326, abs=1e-5)
    assert torch.equal(gradient(soft, logits), gradient(hard, logits))


@pytest.mark.parametrize("selection", selections(), ids=str)
def test_weights_multiply_after_a_selection_made_by_plain_ce(selection):
    """A map with OHEM, soft labels with top-k, class weights with either: what is kept never depends on weights."""
    batch = make_batch(ignored=True)
    plain = PixelLoss(CrossEntropy(3), selection, selected_mean)
    weighted = PixelLoss(
        CrossEntropy(3, class_weights=[100.0, 0.0, 1.0], label_smoothing=0.2), selection, selected_mean
    )
    kept = plain.pixels(batch.logits, batch.target, iteration=5).kept
    assert torch.equal(weighted.pixels(batch.logits, batch.target, batch.weight, iteration=5).kept, kept)

    mapped, values = plain(batch.logits, batch.target, batch.weight, iteration=5)
    _, weighted_values = weighted(batch.logits, batch.target, batch.weight, iteration=5)
    assert values.keys() == weighted_values.keys()
    for key in values:
        assert torch.equal(torch.as_tensor(values[key]), torch.as_tensor(weighted_values[key])), key
    ce = F.cross_entropy(batch.logits, batch.target, reduction="none", ignore_index=255)
    torch.testing.assert_close(mapped, (kept * batch.weight * ce).sum() / kept.sum())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_value_in_train_and_eval_and_every_time(case):
    batch = make_batch(ignored=True)
    loss = case.loss(3)
    values = []
    for training in (True, False, True):
        loss.train(training)
        values += [
            loss(batch.logits, batch.target, batch.weight, iteration=case.iteration)[0].item()
            for _ in range(3)
        ]
        loss(batch.logits, batch.target, batch.weight, iteration=case.iteration + 7)
    assert len(set(values)) == 1


def test_class_weights_of_one_and_a_map_of_one_change_nothing():
    batch = make_batch(ignored=True)
    for case in CASES:
        ones = torch.ones_like(batch.weight)
        weight = ones if case.name == "weighted_mask_ce" else None
        plain, _ = case.loss(3)(batch.logits, batch.target, weight, iteration=case.iteration)
        weighted, _ = case.loss(3, class_weights=[1.0, 1.0, 1.0])(
            batch.logits, batch.target, ones, iteration=case.iteration
        )
        torch.testing.assert_close(weighted, plain, msg=str(case))
