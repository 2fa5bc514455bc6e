"""`recall_ce` and the reduction `recall`, against counting by hand."""

from dataclasses import replace

import pytest
import torch

from segkit.losses import pixel_cross_entropy, recall_cross_entropy
from segkit.losses.common.reduction import miss_rates
from segkit.losses.pixel import pixel
from segkit.losses.scope import choose_scope
from segkit.registry import LOSSES
from tests.losses import reference
from tests.losses.cases import make_batch

WEIGHTS = [0.5, 2.0, 0.25]


def recall_rule(logits, *, select=None, scope="batch", class_weights=None, weight=None):
    """share x m x a x (1 - recall of the class) / sum of shares, of logits at the target's size."""
    prediction = logits.argmax(dim=1)

    def rule(pixels):
        images = sorted({p[0] for p in pixels.ce}) if scope == "image" else [None]
        result = {}
        for image in images:
            ce = {p: v for p, v in pixels.ce.items() if image in (None, p[0])}
            share = dict.fromkeys(ce, 1.0) if select is None else select(ce)
            missed = {}
            for c in range(pixels.num_classes):
                own = [p for p in ce if pixels.target[p] == c]
                missed[c] = sum(int(prediction[p]) != c for p in own) / len(own) if own else None
            factor = reference.weigh(share, pixels, class_weights, weight)
            for p, f in factor.items():
                result[p] = f * missed[pixels.target[p]] / sum(share.values()) / len(images)
        return result

    return rule


def require(backend):
    if backend == "numba":
        pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")


@pytest.mark.parametrize("backend", ["auto", "numba"])
@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("given", [(None, False), (WEIGHTS, True)], ids=str)
def test_value_and_gradient_equal_the_loops(given, absent, scope, backend):
    require(backend)
    class_weights, with_map = given
    batch = make_batch((3, 3, 4, 5), (4, 5), ignored=True)
    if absent:
        batch.target[batch.target == 1] = 0
        batch.target[1] = 255
    weight = batch.weight if with_map else None
    rule = recall_rule(batch.logits, scope=scope, class_weights=class_weights, weight=weight)
    expected, gradient = reference.value_and_gradient(batch.logits, batch.target, rule)
    loss, _ = LOSSES.get("recall_ce")(3, class_weights=class_weights, scope=scope, backend=backend)(
        batch.logits, batch.target, weight, iteration=0
    )
    (slope,) = torch.autograd.grad(loss, batch.logits)
    assert loss.item() == pytest.approx(expected, rel=3e-6)
    torch.testing.assert_close(slope.double(), gradient, rtol=2e-5, atol=1e-7)
    weights = None if class_weights is None else torch.tensor(class_weights)
    function = recall_cross_entropy(
        batch.logits, batch.target, weight, class_weights=weights, scope=scope, backend=backend
    )
    assert function.item() == loss.item()


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_what_is_compiled_is_the_same_to_the_bit(dtype, scope):
    """Of several blocks of pixels, in areas of one class and out of them."""
    require("numba")
    batch = make_batch((2, 5, 70, 90), (70, 90), ignored=True)
    batch.target[:, 20:, :40] = 3
    batch.target[:, 50:, 20:] = 255
    values = pixel_cross_entropy(batch.logits, batch.target.to(dtype), backend="numba")
    plain = replace(pixel_cross_entropy(batch.logits, batch.target, backend="reference"), wrong=values.wrong)
    found, expected = (miss_rates(each, choose_scope(scope)) for each in (values, plain))
    assert found.any() and torch.equal(found, expected)


@pytest.mark.parametrize("scope", ["batch", "image"])
def test_recall_is_of_all_valid_pixels_whatever_is_selected(scope):
    batch = make_batch((3, 3, 4, 5), (4, 5), ignored=True)
    select = reference.SELECTIONS["top_share"](share=0.3)
    rule = recall_rule(batch.logits, select=select, scope=scope)
    expected, gradient = reference.value_and_gradient(
        batch.logits, batch.target, rule, criterion=reference.focal_criterion(2.0)
    )
    loss = pixel(
        3,
        criterion={"name": "focal"},
        selection={"name": "top_share", "share": 0.3},
        reduction="recall",
        scope=scope,
    )
    value, _ = loss(batch.logits, batch.target, iteration=0)
    (slope,) = torch.autograd.grad(value, batch.logits)
    assert value.item() == pytest.approx(expected, rel=3e-6)
    torch.testing.assert_close(slope.double(), gradient, rtol=2e-5, atol=1e-7)


def test_gradcheck():
    """Away from where a prediction turns, the recall is a constant."""
    batch = make_batch((2, 3, 2, 3), (4, 5), ignored=True, dtype=torch.float64)
    loss = LOSSES.get("recall_ce")(3)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, batch.target, iteration=0)[0], (batch.logits,), fast_mode=True
    )


def test_a_class_found_entirely_adds_nothing_and_a_tie_is_found():
    logits = torch.tensor([[3.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 2.0, 0.0], [9.0, 0.0, 1.0]])
    logits.requires_grad_()
    target = torch.tensor([0, 0, 1, 2])
    loss = recall_cross_entropy(logits, target)
    ce = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(loss, ce[3] / 4)
    loss.backward()
    assert torch.equal(logits.grad[:3], torch.zeros(3, 3)) and logits.grad[3].abs().sum() > 0
