"""Criteria that are a function of cross-entropy (poly, generalized, symmetric), against loops over their formulas."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import (
    cross_entropy,
    generalized_cross_entropy,
    poly_cross_entropy,
    symmetric_cross_entropy,
)
from segkit.losses.criteria.generalized_ce import generalized_of_ce
from segkit.losses.pixel import pixel
from segkit.registry import CRITERIA, LOSSES
from tests.losses import reference
from tests.losses.cases import make_batch

WEIGHTS = [0.5, 2.0, 0.25]


def poly(epsilon):
    """ce + epsilon (1 - p), and its derivative by ce, where dp/dce = -p."""
    return lambda ce: (ce + epsilon * (1 - math.exp(-ce)), 1 + epsilon * math.exp(-ce))


def generalized(q):
    return lambda ce: ((1 - math.exp(-ce) ** q) / q, math.exp(-ce) ** q)


def symmetric(alpha, beta, log_zero):
    """The reverse cross-entropy from its own formula, -sum_c p_c log y_c, with the label's own log 1 = 0."""

    def criterion(ce):
        p = math.exp(-ce)
        rce = -(p * math.log(1.0) + (1 - p) * log_zero)
        return alpha * ce + beta * rce, alpha - beta * log_zero * p

    return criterion


#: name: (loss, options, the same in floats)
FORMS = {
    "poly": ("poly_ce", {"epsilon": 2.0}, poly(2.0)),
    "poly, -1": ("poly_ce", {"epsilon": -1.0}, poly(-1.0)),
    "generalized": ("generalized_ce", {"q": 0.7}, generalized(0.7)),
    "generalized, 1": ("generalized_ce", {"q": 1.0}, generalized(1.0)),
    "symmetric": ("symmetric_ce", {"alpha": 0.1, "beta": 2.0, "log_zero": -6.0}, symmetric(0.1, 2.0, -6.0)),
    "symmetric, no ce": ("symmetric_ce", {"alpha": 0.0}, symmetric(0.0, 1.0, -4.0)),
}
FUNCTIONS = {
    "poly_ce": poly_cross_entropy,
    "generalized_ce": generalized_cross_entropy,
    "symmetric_ce": symmetric_cross_entropy,
}
every_form = pytest.mark.parametrize("form", FORMS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@every_form
def test_value_and_gradient_equal_the_loops(form, dtype):
    name, options, criterion = FORMS[form]
    for size, class_weights, with_map in itertools.product(((4, 5), (7, 9)), (None, WEIGHTS), (False, True)):
        batch = make_batch((2, 3, 4, 5), size, ignored=True, dtype=dtype)
        weight = batch.weight if with_map else None
        rule = reference.ce_rule(class_weights, weight)
        expected, gradient = reference.value_and_gradient(
            batch.logits, batch.target, rule, criterion=criterion
        )
        loss, _ = LOSSES.get(name)(3, class_weights=class_weights, **options)(
            batch.logits, batch.target, weight, iteration=0
        )
        (slope,) = torch.autograd.grad(loss, batch.logits)
        assert loss.item() == pytest.approx(expected, rel=1e-10 if dtype == torch.float64 else 3e-6)
        rtol = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2**-7}[dtype]
        torch.testing.assert_close(slope.double(), gradient, rtol=rtol, atol=1e-7)
        weights = None if class_weights is None else torch.tensor(class_weights)
        function = FUNCTIONS[name](batch.logits, batch.target, weight, class_weights=weights, **options)
        assert function.item() == loss.item()


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize(
    "selection", [{"name": "top_share", "share": 0.3}, {"name": "ohem", "thresh": 0.3, "n_min": 7}], ids=str
)
@every_form
def test_any_selection_ranks_plain_ce(form, selection, scope):
    name, options, criterion = FORMS[form]
    select = reference.SELECTIONS[selection["name"]](**{k: v for k, v in selection.items() if k != "name"})
    batch = make_batch((3, 3, 4, 5), (4, 5), ignored=True)
    loss = pixel(
        3, criterion={"name": name, **options, "class_weights": WEIGHTS}, selection=selection, scope=scope
    )
    rule = reference.composed_rule(
        select, reduction="selected", scope=scope, class_weights=WEIGHTS, weight=batch.weight
    )
    expected, gradient = reference.value_and_gradient(batch.logits, batch.target, rule, criterion=criterion)
    value, report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    value.backward()
    assert value.item() == pytest.approx(expected, rel=3e-6, abs=1e-7)
    torch.testing.assert_close(batch.logits.grad.double(), gradient, rtol=2e-5, atol=1e-7)
    torch.testing.assert_close(report["ce"], cross_entropy(batch.logits, batch.target).detach())


@pytest.mark.parametrize("soft", [False, True])
@every_form
def test_gradcheck(form, soft):
    name, options, _ = FORMS[form]
    batch = make_batch((2, 3, 2, 3), (4, 5), ignored=True, dtype=torch.float64)
    target = batch.target
    if soft:
        target = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        target[:, :, 1] = 0
    loss = LOSSES.get(name)(3, **options)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, target, iteration=0)[0], (batch.logits,), fast_mode=True
    )


@every_form
def test_one_hot_labels_equal_hard_labels(form):
    name, options, _ = FORMS[form]
    batch = make_batch(ignored=True)
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    loss = LOSSES.get(name)(3, class_weights=WEIGHTS, **options)
    hard, hard_report = loss(batch.logits, batch.target, batch.weight, iteration=0)
    soft, soft_report = loss(batch.logits, one_hot, batch.weight, iteration=0)
    torch.testing.assert_close(soft, hard)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in (soft, hard)))
    torch.testing.assert_close(soft_report, hard_report)


@every_form
def test_soft_labels_are_the_mean_over_labels(form):
    """A pixel of which a third says class 0, and two thirds class 2."""
    name, options, _ = FORMS[form]
    logits, soft = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[1 / 3, 0.0, 2 / 3]])
    first, last = (FUNCTIONS[name](logits, torch.tensor([label]), **options) for label in (0, 2))
    torch.testing.assert_close(FUNCTIONS[name](logits, soft, **options), first / 3 + 2 * last / 3)


def test_what_is_cross_entropy_in_the_limit():
    """epsilon 0 and (alpha 1, beta 0) to the bit; a small q up to rounding, with its gradient."""
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    (slope,) = torch.autograd.grad(ce, batch.logits)
    for loss in (
        poly_cross_entropy(batch.logits, batch.target, epsilon=0.0),
        symmetric_cross_entropy(batch.logits, batch.target, alpha=1.0, beta=0.0),
    ):
        assert loss.item() == ce.item()
        assert torch.equal(torch.autograd.grad(loss, batch.logits)[0], slope)
    for q in (1e-8, 1e-20, 1e-45, 5e-324):
        loss = generalized_cross_entropy(batch.logits, batch.target, q=q)
        torch.testing.assert_close(loss, ce)
        torch.testing.assert_close(torch.autograd.grad(loss, batch.logits)[0], slope)


def test_a_q_of_1_is_half_the_mean_absolute_error():
    """sum_c |y_c - p_c| = 2 (1 - p_t)."""
    batch = make_batch()
    p, one_hot = torch.softmax(batch.logits, 1), F.one_hot(batch.target, 3).movedim(-1, 1)
    loss = generalized_cross_entropy(batch.logits, batch.target, q=1.0)
    torch.testing.assert_close(loss, (p - one_hot).abs().sum(1).mean() / 2)


@pytest.mark.parametrize("q", [0.01, 0.7, 1.0])
def test_generalized_keeps_its_precision_and_its_gradient_where_p_is_near_0_or_1(q):
    """1 - p^q of a p near 1 would be 0 in fp32, and the slope of p^q at 0 infinite."""
    z = torch.tensor([[25.0, 0.0], [-90.0, 0.0], [-300.0, 0.0]], requires_grad=True)
    target = torch.tensor([0, 0, 0])
    loss = generalized_cross_entropy(z, target, q=q)
    loss.backward()
    ce = [math.log1p(math.exp(-25)), 90.0, 300.0]
    assert loss.item() == pytest.approx(sum(-math.expm1(-q * c) / q for c in ce) / 3, rel=1e-6)
    assert z.grad.isfinite().all()
    sure = torch.tensor([1e-9, 1e-30])
    torch.testing.assert_close(generalized_of_ce(q)(sure), sure, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("poly_ce", {"epsilon": -1.5}, "epsilon must be a number >= -1, got -1.5"),
        ("poly_ce", {"epsilon": float("nan")}, "epsilon must be a number >= -1, got nan"),
        ("generalized_ce", {"q": 0.0}, "q must be in (0, 1], got 0.0"),
        ("generalized_ce", {"q": 1.5}, "q must be in (0, 1], got 1.5"),
        ("symmetric_ce", {"alpha": -1.0}, "alpha must be a number >= 0, got -1.0"),
        ("symmetric_ce", {"beta": float("inf")}, "beta must be a number >= 0, got inf"),
        (
            "symmetric_ce",
            {"alpha": 0.0, "beta": 0.0},
            "alpha and beta must not both be 0: nothing would be learned",
        ),
        ("symmetric_ce", {"log_zero": 0.0}, "log_zero must be a number < 0, got 0.0"),
    ],
)
def test_options_out_of_range(name, options, message):
    batch = make_batch()
    for call in (
        lambda: LOSSES.get(name)(num_classes=3, **options),
        lambda: CRITERIA.get(name)(num_classes=3, **options),
        lambda: FUNCTIONS[name](batch.logits, batch.target, **options),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_the_line_on_the_console():
    run = {"iterations": 10, "pixels_per_batch": 1000}
    weights = {"class_weights": [1.0, 2.5, 1.0]}
    line = "poly_ce  epsilon 1  class_weights [1, 2.5, 1]"
    assert LOSSES.get("poly_ce")(3, **weights).describe(**run) == line
    assert LOSSES.get("generalized_ce")(3).describe(**run) == "generalized_ce  q 0.7"
    line = "symmetric_ce  alpha 1  beta 1  log_zero -4  scope image"
    assert LOSSES.get("symmetric_ce")(3, scope="image").describe(**run) == line
