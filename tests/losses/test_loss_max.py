"""`loss_max` and `loss_max_pooling` against the paper's problem, solved by trying how many pixels are at the bound."""

import itertools

import pytest
import torch

from segkit.errors import ConfigError
from segkit.losses import LossMax, cross_entropy, max_pooled_cross_entropy
from segkit.losses.pixel import pixel
from segkit.losses.selections.loss_max import weigh_losses
from segkit.registry import LOSSES
from tests.losses import reference
from tests.losses.cases import make_batch


def best_weights(losses: list[float], p: float, ratio: float) -> tuple[list[float], float]:
    """The weights of losses from the paper's set, and the most that one may weigh.

    Some number k of the hardest weigh that; the others a multiple of loss^(q - 1), which is where the gradient of the
    p-norm is that of the sum. The first k at which none of these exceeds the bound is the maximum.
    """
    n, q = len(losses), p / (p - 1)
    m = max(1.0, ratio * n)
    gamma = n ** (-1 / q)
    tau = gamma * m ** (-1 / p)
    order = sorted(range(n), key=lambda i: -losses[i])
    for k in range(n + 1):
        rest = order[k:]
        left = gamma**p - k * tau**p
        total = sum(losses[i] ** q for i in rest)
        scale = (max(0.0, left) / total) ** (1 / p) if total else 0.0
        if all(scale * losses[i] ** (q - 1) <= tau * (1 + 1e-12) for i in rest):
            weights = dict.fromkeys(order[:k], tau) | {i: scale * losses[i] ** (q - 1) for i in rest}
            return [weights[i] for i in range(n)], tau
    raise AssertionError("some k fits")


def pooled_rule(p, ratio, *, scope="batch", class_weights=None, weight=None):
    def rule(pixels):
        images = sorted({place[0] for place in pixels.ce}) if scope == "image" else [None]
        result = {}
        for image in images:
            ce = {place: v for place, v in pixels.ce.items() if image in (None, place[0])}
            weights, _ = best_weights(list(ce.values()), p, ratio)
            factor = dict(zip(ce, weights, strict=True))
            for place, f in reference.weigh(factor, pixels, class_weights, weight).items():
                result[place] = f / len(images)
        return result

    return rule


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("ratio", [0.001, 0.3, 0.9])
@pytest.mark.parametrize("p", [1.05, 1.7, 30.0])
def test_value_and_gradient_equal_the_reference(p, ratio, scope):
    for dtype, size, given in itertools.product(
        (torch.float64, torch.float32, torch.bfloat16), ((4, 5), (7, 6)), ((None, False), ([0.5, 2, 1], True))
    ):
        batch = make_batch((2, 3, 4, 5), size, ignored=True, dtype=dtype)
        class_weights, weight = given[0], batch.weight if given[1] else None
        rule = pooled_rule(p, ratio, scope=scope, class_weights=class_weights, weight=weight)
        expected, gradient = reference.value_and_gradient(batch.logits, batch.target, rule)
        loss, _ = LOSSES.get("loss_max_pooling")(
            3, p=p, ratio=ratio, class_weights=class_weights, scope=scope
        )(batch.logits, batch.target, weight, iteration=0)
        (slope,) = torch.autograd.grad(loss, batch.logits)
        assert loss.item() == pytest.approx(expected, rel=1e-9 if dtype == torch.float64 else 2e-5)
        rtol = {torch.float64: 1e-7, torch.float32: 2e-4, torch.bfloat16: 2**-6}[dtype]
        torch.testing.assert_close(slope.double(), gradient, rtol=rtol, atol=1e-7)


def test_the_function_is_the_loss():
    batch = make_batch(ignored=True)
    weights = torch.tensor([0.5, 2.0, 1.0])
    loss, _ = LOSSES.get("loss_max_pooling")(3, p=1.5, ratio=0.2, class_weights=weights.tolist())(
        batch.logits, batch.target, batch.weight, iteration=0
    )
    function = max_pooled_cross_entropy(
        batch.logits, batch.target, batch.weight, p=1.5, ratio=0.2, class_weights=weights
    )
    assert function.item() == loss.item()


@pytest.mark.parametrize("ratio", [0.05, 0.4])
@pytest.mark.parametrize("p", [1.2, 1.7, 4.0])
def test_no_other_weights_of_the_set_give_more(p, ratio):
    """The set as it is written: a p-norm and a bound, with uniform weights inside."""
    ce = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 3
    share = LossMax(p, ratio)(ce, torch.ones(60, dtype=torch.bool)).share
    gamma = 60 ** (1 / p - 1)
    tau = gamma * max(1.0, 60 * ratio) ** (-1 / p)
    weights = tau * share
    assert weights.max() <= tau and (weights**p).sum() ** (1 / p) == pytest.approx(gamma, rel=1e-9)
    best = (weights * ce).sum()
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        other = weights + 0.1 * tau * torch.randn(60, dtype=torch.float64, generator=generator)
        other = other.clamp(0, tau)
        other = other * min(1.0, gamma / (other**p).sum() ** (1 / p))
        assert (other * ce).sum() <= best + 1e-12
    assert ce.mean() <= best


def test_the_ends_are_top_k_and_the_mean():
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    nearly = max_pooled_cross_entropy(batch.logits, batch.target, p=1e6, ratio=0.3)
    torch.testing.assert_close(nearly, ce, rtol=1e-4, atol=0)
    torch.testing.assert_close(max_pooled_cross_entropy(batch.logits, batch.target, ratio=1.0), ce)
    ce = torch.tensor([5.0, 1e-3, 4.0, 2e-3, 3e-3, 6.0])
    share = LossMax(1.05, 0.5)(ce, torch.ones(6, dtype=torch.bool)).share
    torch.testing.assert_close(share, torch.tensor([1.0, 0, 1, 0, 0, 1]))


def test_losses_of_very_different_size_keep_their_weights():
    """One outlier a million times the others: it weighs 1, and the others share what is left among themselves."""
    ce = torch.full((1000,), 1e-5)
    ce[7] = 90.0
    share = LossMax(1.7, 0.3)(ce, torch.ones(1000, dtype=torch.bool)).share
    assert share[7] == 1
    others = share[torch.arange(1000) != 7]
    torch.testing.assert_close(others, torch.full((999,), (299 / 999) ** (1 / 1.7)))


def test_fewer_pixels_with_a_loss_than_may_weigh_1():
    ce, valid = torch.tensor([0.0, 2.0, 0.0, 0.0, 1.0, 9.0]), torch.tensor([True] * 5 + [False])
    share = LossMax(2.0, 0.8)(ce, valid).share
    expected = (2 / 3) ** 0.5  # 4 pixels may weigh 1, and 2 have a loss
    torch.testing.assert_close(share, torch.tensor([expected, 1, expected, expected, 1, 0]))
    none = LossMax(2.0, 0.8)(torch.zeros(6), valid)
    torch.testing.assert_close(none.share, torch.tensor([0.8**0.5] * 5 + [0.0]))
    assert none.count.item() == pytest.approx(5 * 0.8**0.5)


def test_pixels_that_tie_weigh_the_same_in_any_order():
    ce = torch.tensor([1.0, 3.0, 1.0, 3.0, 3.0, 0.5])
    valid = torch.ones(6, dtype=torch.bool)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    share, moved = LossMax()(ce, valid).share, LossMax()(ce[order], valid).share
    assert torch.equal(moved, share[order]) and share[1] == share[3] == share[4]


def test_a_nan_has_no_weight_and_does_not_spoil_the_others():
    ce, valid = torch.tensor([1.0, float("nan"), 2.0, 0.3]), torch.ones(4, dtype=torch.bool)
    without = torch.tensor([1.0, 2.0, 0.3])
    share = LossMax()(ce, valid).share
    assert share[1] == 0
    torch.testing.assert_close(share[[0, 2, 3]], LossMax()(without, valid[:3]).share)


def test_composed_with_another_reduction():
    batch = make_batch(ignored=True)
    loss = pixel(3, selection={"name": "loss_max", "p": 2.0, "ratio": 0.2}, reduction="selected")
    value, report = loss(batch.logits, batch.target, iteration=0)
    ce = torch.nn.functional.cross_entropy(
        batch.logits, batch.target, reduction="none", ignore_index=255
    ).detach()
    share = weigh_losses(
        ce, batch.target != 255, 0.2 * (batch.target != 255).sum().double().view(1, 1, 1), p=2.0
    )
    torch.testing.assert_close(value, (share * ce).sum() / share.sum())
    torch.testing.assert_close(report["k"], share.sum())


def test_gradcheck():
    batch = make_batch((2, 3, 2, 3), (4, 5), ignored=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: max_pooled_cross_entropy(z, batch.target), (batch.logits,), fast_mode=True
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"p": 1.0}, "p must be a number >= 1.05, got 1.0 -> {name: top_share}, the hardest pixels alone"),
        ({"p": float("inf")}, "p must be a number >= 1.05, got inf"),
        ({"ratio": 0.0}, "ratio must be in (0, 1], got 0.0"),
        ({"ratio": 1.5}, "ratio must be in (0, 1], got 1.5"),
    ],
)
def test_options_out_of_range(options, message):
    batch = make_batch()
    for call in (
        lambda: LossMax(**options),
        lambda: LOSSES.get("loss_max_pooling")(3, **options),
        lambda: max_pooled_cross_entropy(batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_a_ratio_of_1_is_refused_before_a_run():
    run = {"iterations": 10, "pixels_per_batch": 100}
    with pytest.raises(ConfigError) as error:
        LOSSES.get("loss_max_pooling")(3, ratio=1.0).check_run(**run)
    assert str(error.value) == "loss_max_pooling weighs every pixel alike: ratio=1 -> ratio: 0.3"
    LOSSES.get("loss_max_pooling")(3, ratio=1.0, allow_inactive=True).check_run(**run)
    line = LOSSES.get("loss_max_pooling")(3).describe(**run)
    assert line == "loss_max_pooling  p 1.7  ratio 0.3"
