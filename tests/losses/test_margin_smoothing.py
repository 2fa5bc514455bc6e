"""`margin_smoothing_ce` against loops over its formula."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import cross_entropy, margin_smoothing_cross_entropy
from segkit.losses.pixel import pixel
from segkit.registry import CRITERIA, LOSSES
from tests.losses import reference
from tests.losses.cases import make_batch

WEIGHTS = [0.5, 2.0, 0.25]


def loops(logits, target, margin, strength, class_weights=None, weight=None):
    """The mean by weights, and its gradient, of logits at the target's size."""
    z = logits.detach().double()
    total = mass = 0.0
    gradient = torch.zeros_like(z)
    for i, y, x in (target != 255).nonzero().tolist():
        scores, true = z[i, :, y, x].tolist(), int(target[i, y, x])
        p, largest = reference.softmax(scores), max(scores)
        value = reference.log_sum_exp(scores) - scores[true]
        slope = [p[c] - (c == true) for c in range(len(p))]
        for c, score in enumerate(scores):
            if largest - score > margin:
                value += strength * (largest - score - margin)
                slope[c] -= strength
                slope[scores.index(largest)] += strength
        share = (1.0 if class_weights is None else class_weights[true]) * (
            1.0 if weight is None else float(weight[i, y, x])
        )
        total, mass = total + share * value, mass + share
        gradient[i, :, y, x] = share * torch.tensor(slope, dtype=torch.float64)
    return total / mass, gradient / mass


@pytest.mark.parametrize("margin, strength", [(0.0, 0.5), (1.5, 0.1), (3.0, 2.0), (50.0, 1.0)])
def test_value_and_gradient_equal_the_loops(margin, strength):
    for dtype, given in itertools.product(
        (torch.float64, torch.float32, torch.bfloat16), ((None, False), (WEIGHTS, True))
    ):
        class_weights, with_map = given
        batch = make_batch(ignored=True, dtype=dtype)
        weight = batch.weight if with_map else None
        expected, gradient = loops(batch.logits, batch.target, margin, strength, class_weights, weight)
        loss, report = LOSSES.get("margin_smoothing_ce")(
            3, margin=margin, strength=strength, class_weights=class_weights
        )(batch.logits, batch.target, weight, iteration=0)
        (slope,) = torch.autograd.grad(loss, batch.logits)
        assert loss.item() == pytest.approx(expected, rel=1e-10 if dtype == torch.float64 else 3e-6)
        rtol = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2**-7}[dtype]
        torch.testing.assert_close(slope.double(), gradient, rtol=rtol, atol=1e-7)
        torch.testing.assert_close(report["ce"], cross_entropy(batch.logits, batch.target).detach())
        function = margin_smoothing_cross_entropy(
            batch.logits,
            batch.target,
            weight,
            margin=margin,
            strength=strength,
            class_weights=None if class_weights is None else torch.tensor(class_weights),
        )
        assert function.item() == loss.item()


@pytest.mark.parametrize("soft", [False, True])
def test_gradcheck_and_a_stride(soft):
    batch = make_batch((2, 3, 2, 3), (4, 5), ignored=True, dtype=torch.float64)
    target = batch.target
    if soft:
        target = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        target[:, :, 1] = 0
    loss = LOSSES.get("margin_smoothing_ce")(3, margin=0.5, class_weights=WEIGHTS)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, target, iteration=0)[0], (batch.logits,), fast_mode=True
    )
    resized = F.interpolate(batch.logits, (4, 5), mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        loss(batch.logits, target, iteration=0)[0], loss(resized, target, iteration=0)[0]
    )


def test_one_hot_labels_equal_hard_labels():
    batch = make_batch(ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    loss = pixel(3, criterion={"name": "margin_smoothing_ce", "margin": 1.0, "class_weights": WEIGHTS})
    hard, soft = (loss(batch.logits, target, iteration=0)[0] for target in (batch.target, one_hot))
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in (soft, hard)))


def test_a_strength_of_0_and_logits_within_the_margin_are_cross_entropy():
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    torch.testing.assert_close(margin_smoothing_cross_entropy(batch.logits, batch.target, strength=0.0), ce)
    within = batch.logits.detach().amax() - batch.logits.detach().amin()
    loose = margin_smoothing_cross_entropy(batch.logits, batch.target, margin=within.item() + 1, strength=9.0)
    torch.testing.assert_close(loose, ce)


def test_the_mean_over_classes_of_public_code_is_a_strength_divided_by_the_classes():
    batch = make_batch()
    distance = batch.logits.amax(1, keepdim=True) - batch.logits
    theirs = F.cross_entropy(batch.logits, batch.target) + 0.1 * F.relu(distance - 2.0).mean()
    ours = margin_smoothing_cross_entropy(batch.logits, batch.target, margin=2.0, strength=0.1 / 3)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"margin": -1.0}, "margin must be a number >= 0, got -1.0"),
        ({"strength": float("inf")}, "strength must be a number >= 0, got inf"),
    ],
)
def test_options_out_of_range(options, message):
    batch = make_batch()
    for call in (
        lambda: LOSSES.get("margin_smoothing_ce")(num_classes=3, **options),
        lambda: CRITERIA.get("margin_smoothing_ce")(num_classes=3, **options),
        lambda: margin_smoothing_cross_entropy(batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_the_line_on_the_console():
    line = "margin_smoothing_ce  margin 10  strength 0.1"
    loss = LOSSES.get("margin_smoothing_ce")(3)
    assert loss.describe(iterations=10, pixels_per_batch=1000) == line
