"""`sum`: value and gradient of the terms added, what is logged of each, and terms that do not fit together."""

import pytest
import torch
from torch import nn

from segkit.errors import ConfigError
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.sum import SumLoss, Term
from segkit.registry import LOSSES
from tests.losses.cases import make_batch


def build(name, **options):
    return LOSSES.get(name)(num_classes=3, **options)


def add(*terms):
    """A sum of (name, weight, options) for three classes."""
    return SumLoss([Term(name, build(name, **options), weight) for name, weight, options in terms], 3)


class Silent(nn.Module):
    """A loss with nothing but a value."""

    def forward(self, logits, target, weight=None, *, iteration):
        return logits.square().mean() * iteration, {}


def test_value_and_gradient_are_the_weighted_sum():
    terms = [
        ("ohem_ce", 1.0, {"thresh": 0.5, "n_min": 5}),
        ("dice", 0.25, {}),
        ("ce", 3, {"class_weights": [1, 2, 0.5]}),
    ]
    one, two = make_batch(ignored=True), make_batch(ignored=True)
    value, metrics = add(*terms)(one.logits, one.target, one.weight, iteration=3)
    value.backward()
    expected = 0.0
    for name, weight, options in terms:
        part, measured = build(name, **options)(two.logits, two.target, two.weight, iteration=3)
        expected = expected + weight * part
        assert (
            torch.equal(metrics[f"{name}/value"], part.detach())
            and not metrics[f"{name}/value"].requires_grad
        )
        for key, number in measured.items():
            torch.testing.assert_close(metrics[f"{name}/{key}"], number)
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(one.logits.grad, two.logits.grad)


def test_plain_ce_is_that_of_the_first_term_that_reports_it():
    batch = make_batch(ignored=True)
    loss = SumLoss(
        [
            Term("silent", Silent()),
            Term("dice", build("dice")),
            Term("ce", build("ce", class_weights=[1, 2, 9])),
        ],
        3,
    )
    _, metrics = loss(batch.logits, batch.target, iteration=1)
    _, plain = build("ce")(batch.logits, batch.target, iteration=1)
    torch.testing.assert_close(metrics["ce"], plain["ce"])
    assert list(metrics)[:2] == ["ce", "silent/value"]
    assert "ce" not in SumLoss([Term("silent", Silent())], 3)(batch.logits, batch.target, iteration=1)[1]


def test_plain_ce_is_not_overwritten_by_later_terms():
    class Telling(Silent):
        def forward(self, logits, target, weight=None, *, iteration):
            return logits.mean(), {"ce": 7.0}

    batch = make_batch()
    loss = SumLoss([Term("silent", Silent()), Term("telling", Telling()), Term("ce", build("ce"))], 3)
    assert loss(batch.logits, batch.target, iteration=1)[1]["ce"] == 7.0


def test_the_iteration_reaches_every_term_and_is_needed():
    batch = make_batch()
    loss = SumLoss([Term("silent", Silent(), 2.0)], 3)
    at = [loss(batch.logits, batch.target, iteration=i)[0].item() for i in (0, 1, 2)]
    assert at[0] == 0 and at[2] == pytest.approx(2 * at[1])
    with pytest.raises(TypeError):
        loss(batch.logits, batch.target)
    with pytest.raises(TypeError, match=r"^sum needs the iteration, got None$"):
        loss(batch.logits, batch.target, iteration=None)


def test_one_term_of_weight_one_is_the_term():
    batch = make_batch(ignored=True)
    assert torch.equal(
        add(("ohem_ce", 1.0, {}))(batch.logits, batch.target, iteration=0)[0],
        build("ohem_ce")(batch.logits, batch.target, iteration=0)[0],
    )


def test_sums_of_sums():
    batch = make_batch()
    inner = add(("ce", 2.0, {}), ("dice", 1.0, {}))
    value, metrics = SumLoss([Term("sum", inner, 3.0)], 3)(batch.logits, batch.target, iteration=0)
    torch.testing.assert_close(value, 3 * inner(batch.logits, batch.target, iteration=0)[0])
    assert {"sum/value", "sum/ce/value", "sum/ce", "ce"} <= metrics.keys()


def test_a_weight_of_zero_hides_no_nan():
    batch = make_batch()
    logits = batch.logits.detach().clone()
    logits[0, 0, 0, 0] = torch.nan
    loss = add(("ce", 0.0, {}), ("dice", 0.0, {}))
    assert loss(logits, batch.target, iteration=0)[0].isnan()
    assert loss(batch.logits, batch.target, iteration=0)[0] == 0


def test_nothing_valid_is_zero_and_connected():
    batch = make_batch()
    target = torch.full_like(batch.target, 255)
    value, _ = add(("ohem_ce", 1.0, {}), ("dice", 1.0, {}), ("ce", 1.0, {}))(
        batch.logits, target, iteration=0
    )
    value.backward()
    assert value == 0 and (batch.logits.grad == 0).all()


def test_pixels_are_those_of_the_first_term_that_can_tell():
    batch = make_batch()
    ohem = build("ohem_ce", thresh=0.3, n_min=1)
    loss = SumLoss([Term("silent", Silent()), Term("ohem_ce", ohem), Term("ce", build("ce"))], 3)
    report = loss.pixels(batch.logits, batch.target, iteration=0)
    expected = ohem.pixels(batch.logits, batch.target, iteration=0)
    assert torch.equal(report.kept, expected.kept) and (report.kept == 0).any()
    assert not hasattr(SumLoss([Term("silent", Silent())], 3), "pixels")


def test_a_weight_map_is_needed_if_a_term_needs_it():
    assert add(("ce", 1.0, {}), ("weighted_mask_ce", 1.0, {})).needs_weight
    assert not add(("ce", 1.0, {}), ("dice", 1.0, {})).needs_weight


def test_a_term_that_would_do_nothing_is_refused():
    loss = add(("ce", 1.0, {}), ("ohem_ce", 1.0, {"n_min": 500}))
    loss.check_run(iterations=10, pixels_per_batch=501)
    with pytest.raises(ConfigError, match="ohem_ce keeps every pixel"):
        loss.check_run(iterations=10, pixels_per_batch=500)


def test_the_line_on_the_console():
    loss = SumLoss([Term("ohem_ce", build("ohem_ce")), Term("silent", Silent(), 0.5)], 3)
    line = loss.describe(iterations=10, pixels_per_batch=1600)
    assert line == "sum  1 x (ohem_ce  thresh 0.7  n_min 1/16 (= 100 of 1,600 pixels)) + 0.5 x (silent)"


def test_terms_that_need_different_logits_are_refused():
    one = [Term("bce", LOSSES.get("bce")(2)), Term("bce_2", LOSSES.get("bce")(2))]
    assert SumLoss(one, 2).logits_channels == 1
    assert add(("ce", 1.0, {}), ("dice", 1.0, {})).logits_channels == 3
    with pytest.raises(
        ValueError, match=r"^the terms need different numbers of logits per pixel: bce 1, ce 3$"
    ):
        SumLoss([one[0], Term("ce", build("ce"))], 3)


@pytest.mark.parametrize("names", [[], ["ce", "ce"]])
def test_names_must_differ(names):
    with pytest.raises(ValueError, match="the terms of a sum need different names"):
        SumLoss([Term(name, build("ce")) for name in names], 3)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_are_numbers_from_zero(weight):
    with pytest.raises(ValueError, match="the weight of ce must be a number >= 0, got"):
        Term("ce", build("ce"), weight)


def test_nothing_is_saved_and_the_terms_follow_the_device():
    loss = add(("ce", 1.0, {"class_weights": [1, 2, 3]}))
    assert loss.state_dict() == {}
    assert loss.to("meta").losses[0].criterion.class_weights.device.type == "meta"


def balanced(*terms, classes=3):
    parts = [
        Term(name, LOSSES.get(name)(num_classes=classes, **options), weight)
        for name, weight, options in terms
    ]
    return SumLoss(parts, classes, balance="gradient")


def slope_of(loss, logits, target, weight=None):
    leaf = logits.detach().clone().requires_grad_()
    value, metrics = loss(leaf, target, weight, iteration=0)
    value.backward()
    return value.detach(), leaf.grad, metrics


@pytest.mark.parametrize("size", [(5, 7), (9, 13)])
def test_balanced_terms_pull_by_their_weights_alone(size):
    batch = make_batch(size=size, ignored=True, dtype=torch.float64)
    terms = [("ce", 1.0, {}), ("dice", 3.0, {}), ("ohem_ce", 0.5, {"n_min": 4})]
    alone = [slope_of(build(name, **options), batch.logits, batch.target) for name, _, options in terms]
    norms = [slope.norm() for _, slope, _ in alone]
    strength = sum(weight * norm for (_, weight, _), norm in zip(terms, norms, strict=True)) / 4.5
    expected = sum(
        weight * strength * slope / norm
        for (_, weight, _), (_, slope, _), norm in zip(terms, alone, norms, strict=True)
    )
    value, slope, metrics = slope_of(balanced(*terms), batch.logits, batch.target)
    torch.testing.assert_close(slope, expected)
    parts = 0.0
    for (name, weight, _), (part, _, _), norm in zip(terms, alone, norms, strict=True):
        torch.testing.assert_close(metrics[f"{name}/factor"], strength / norm)
        torch.testing.assert_close(metrics[f"{name}/value"], part)
        parts += weight * strength / norm * part
    torch.testing.assert_close(value, parts)


def test_the_scale_of_a_term_does_not_matter_to_a_balanced_sum():
    batch = make_batch(ignored=True)
    one = [Term("silent", Silent()), Term("ce", build("ce"))]

    class Loud(Silent):
        def forward(self, *arguments, **options):
            value, metrics = super().forward(*arguments, **options)
            return 1000 * value, metrics

    def direction(terms):
        leaf = batch.logits.detach().clone().requires_grad_()
        SumLoss(terms, 3, balance="gradient")(leaf, batch.target, iteration=1)[0].backward()
        return leaf.grad / leaf.grad.norm()

    loud = [Term("loud", Loud()), one[1]]
    torch.testing.assert_close(direction(one), direction(loud))


def test_one_balanced_term_is_the_term():
    batch = make_batch(ignored=True)
    value, slope, _ = slope_of(balanced(("dice", 1.0, {})), batch.logits, batch.target)
    alone, expected, _ = slope_of(build("dice"), batch.logits, batch.target)
    torch.testing.assert_close((value, slope), (alone, expected))


def test_balance_at_the_edges():
    batch = make_batch()
    loss = balanced(("ce", 1.0, {}), ("dice", 1.0, {}))
    nothing = torch.full_like(batch.target, 255)
    value, slope, _ = slope_of(loss, batch.logits, nothing)
    assert value == 0 and (slope == 0).all()
    broken = batch.logits.detach().clone()
    broken[0, 0, 0, 0] = torch.nan
    assert slope_of(loss, broken, batch.target)[0].isnan()
    value, slope, _ = slope_of(balanced(("ce", 0.0, {}), ("dice", 0.0, {})), batch.logits, batch.target)
    assert value == 0 and (slope == 0).all()
    with pytest.raises(RuntimeError, match=r"no second derivative -> balance: none$"):
        torch.autograd.grad(loss(batch.logits, batch.target, iteration=0)[0], batch.logits, create_graph=True)
    with torch.no_grad():  # a value alone
        quiet, _ = loss(batch.logits, batch.target, iteration=0)
    torch.testing.assert_close(quiet, slope_of(loss, batch.logits, batch.target)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_balance_in_half_precision_is_computed_in_fp32(dtype):
    batch = make_batch(dtype=dtype, ignored=True)
    loss = balanced(("ce", 1.0, {}), ("dice", 1.0, {}))
    value, slope, _ = slope_of(loss, batch.logits, batch.target)
    expected, exact, _ = slope_of(loss, batch.logits.float(), batch.target)
    assert value.dtype == torch.float32 and slope.dtype == dtype
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, exact.to(dtype))


def test_a_sum_without_any_weight_is_refused():
    run = {"iterations": 10, "pixels_per_batch": 100}
    nothing = add(("ce", 0.0, {}), ("dice", 0.0, {}))
    with pytest.raises(ConfigError, match=r"^sum: the weights of all terms are 0: nothing would be learned$"):
        nothing.check_run(**run)
    add(("ce", 0.0, {}), ("dice", 0.1, {})).check_run(**run)
    rises = Schedule("linear", lambda p: 1 - p, before=0.0, after=1.0, start=0, end=9)
    Scheduled(lambda weight: add(("ce", weight, {})), {"weight": rises}).check_run(**run)


def test_balance_is_refused_where_it_would_be_of_parts_of_a_batch():
    loss = balanced(("ce", 1.0, {}), ("dice", 1.0, {}))
    loss.check_run(iterations=10, pixels_per_batch=100)
    with pytest.raises(ConfigError, match=r"train\.accumulate=2 would compare .*\n   -> train\.accumulate=1"):
        loss.check_run(iterations=10, pixels_per_batch=100, accumulate=2)
    with pytest.raises(ValueError, match=r"^balance must be one of none, gradient, got 'norm'$"):
        SumLoss([Term("ce", build("ce"))], 3, balance="norm")
    assert loss.describe(iterations=10, pixels_per_batch=100).endswith("  balanced by gradient norms")


@pytest.mark.parametrize("balance", ["none", "gradient"])
def test_bce_of_one_logit_with_a_loss_of_two(balance):
    batch = make_batch((2, 2, 5, 7), ignored=True, dtype=torch.float64)
    one = (batch.logits[:, 1:] - batch.logits[:, :1]).detach()  # z
    two = torch.cat([torch.zeros_like(one), one], dim=1)  # (0, z)
    kinds = {"bce": 1.0, "dice": 0.5}
    loss = SumLoss(
        [Term(name, LOSSES.get(name)(num_classes=2), kinds[name]) for name in kinds], 2, balance=balance
    )
    assert loss.logits_channels == 1
    as_two = {"ce": 1.0, "dice": 0.5}
    soft = SumLoss([Term(name, LOSSES.get(name)(num_classes=2), as_two[name]) for name in as_two], 2)
    value, slope, metrics = slope_of(loss, one, batch.target)
    expected, of_two, _ = slope_of(soft, two, batch.target)
    assert loss.pixels(one, batch.target, iteration=0).kept.shape == batch.target.shape
    if balance == "none":
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(slope, of_two[:, 1:])
    else:
        assert metrics["bce/factor"] != 1
