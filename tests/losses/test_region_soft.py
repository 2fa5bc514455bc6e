"""Dice and Jaccard of soft labels: the metric form is smallest at p = y, and that of hard labels is the product's."""

import pytest
import torch

from segkit.losses import dice_loss, jaccard_loss
from segkit.losses.common.region import Regions
from segkit.losses.common.soft_counts import count_regions
from segkit.losses.regions.dice import class_dice
from segkit.losses.regions.jaccard import class_jaccard
from segkit.registry import LOSSES
from tests.losses.cases import make_batch

FUNCTIONS = {"dice": dice_loss, "jaccard": jaccard_loss}
CLASS_FORMS = {"dice": class_dice, "jaccard": class_jaccard}
every_loss = pytest.mark.parametrize("name", FUNCTIONS)


def make_soft(seed=3, shape=(2, 3, 5, 7)):
    """Soft labels (N, C, H, W), a few pixels ignored."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randn(shape, generator=generator, dtype=torch.float64).softmax(1)
    hidden = torch.rand(shape[0], 1, *shape[2:], generator=generator) < 0.2
    return labels.masked_fill(hidden, 0.0)


def reference(name, logits, labels, weight, smooth):
    """By loops, from the definition: a pixel lies in both regions as far as it lies in the smaller of the two."""
    n, c, height, width = logits.shape
    losses = []
    for k in range(c):
        both = predicted = true = 0.0
        for i in range(n):
            for row in range(height):
                for column in range(width):
                    y = float(labels[i, k, row, column])
                    if not labels[i, :, row, column].any():
                        continue
                    p = float(logits[i, :, row, column].softmax(0)[k])
                    m = float(weight[i, row, column])
                    both, predicted, true = both + m * min(p, y), predicted + m * p, true + m * y
        if name == "dice":
            losses.append(1 - (2 * both + smooth) / (predicted + true + smooth))
        else:
            losses.append(1 - (both + smooth) / (predicted + true - both + smooth))
    return sum(losses) / len(losses)


@every_loss
def test_the_metric_form_equals_the_loops(name):
    batch, labels = make_batch(dtype=torch.float64), make_soft()
    logits = batch.logits.detach()
    how = {"smooth": 0.5, "form": "metric", "classes": "all"}
    loss, _ = LOSSES.get(name)(3, **how)(batch.logits, labels, batch.weight, iteration=0)
    assert loss.item() == pytest.approx(reference(name, logits, labels, batch.weight, 0.5), abs=1e-12)
    assert loss.item() == FUNCTIONS[name](batch.logits, labels, batch.weight, **how).item()
    assert torch.autograd.gradcheck(
        lambda z: FUNCTIONS[name](z, labels, batch.weight, **how), (batch.logits,), fast_mode=True
    )


@every_loss
def test_both_forms_are_the_same_for_hard_labels(name):
    batch = make_batch(dtype=torch.float64, ignored=True)
    losses = [
        FUNCTIONS[name](batch.logits, batch.target, batch.weight, form=f) for f in ("product", "metric")
    ]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, batch.logits)[0] for loss in losses))


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@every_loss
def test_the_metric_form_is_0_exactly_at_the_soft_labels_and_nowhere_below(name, smooth):
    labels = make_soft()
    weight = torch.ones(2, 1, 5, 7, dtype=torch.float64)
    at = CLASS_FORMS[name](count_regions(Regions(labels, labels, weight), "metric"), smooth=smooth)
    assert torch.equal(at, torch.zeros_like(at))
    logits = labels.clamp_min(1e-12).log().requires_grad_()
    loss = FUNCTIONS[name](logits, labels, smooth=smooth, form="metric")
    assert loss.item() == pytest.approx(0, abs=1e-12)
    generator = torch.Generator().manual_seed(0)
    for size in (1e-3, 0.1, 1.0):
        moved = logits + size * torch.randn(logits.shape, generator=generator, dtype=torch.float64)
        assert FUNCTIONS[name](moved, labels, smooth=smooth, form="metric") > 1e-5


@every_loss
def test_the_product_form_is_not_smallest_at_the_soft_labels(name):
    """Which is why there is another: it prefers predictions that are surer than the labels."""
    labels = make_soft()
    logits = labels.clamp_min(1e-12).log()
    assert FUNCTIONS[name](3 * logits, labels) < FUNCTIONS[name](logits, labels) - 0.01


def test_the_form_is_one_of_two_and_stands_on_the_console():
    batch, message = make_batch(), "form must be one of product, metric, got 'min'"
    for name, function in FUNCTIONS.items():
        for call in (
            lambda name=name: LOSSES.get(name)(num_classes=3, form="min"),
            lambda function=function: function(batch.logits, batch.target, form="min"),
        ):
            with pytest.raises(ValueError) as error:
                call()
            assert str(error.value) == message
        line = LOSSES.get(name)(3, form="metric").describe(iterations=10, pixels_per_batch=10)
        assert line == f"{name}  smooth 1  form metric  classes present"
