"""`logit_adjusted_ce` against loops over its formula, and what is logged beside it."""

import math

import pytest
import torch
import torch.nn.functional as F

from segkit.config.load import config_from_mapping
from segkit.data.class_weights import ClassCounts, count_classes, weigh_classes
from segkit.errors import ConfigError
from segkit.losses import (
    cross_entropy,
    logit_adjusted_cross_entropy,
    ohem_cross_entropy,
    pixel_cross_entropy,
    pixel_logit_adjusted,
)
from segkit.losses.pixel import pixel
from segkit.registry import LOSSES
from segkit.training.build import build
from segkit.training.build_component import build_component
from tests.losses import reference
from tests.losses.cases import make_batch

PRIORS = [0.9, 0.09, 0.01]


def loops(logits, target, priors, tau, class_weights=None, weight=None):
    """The value, of logits at the target's size: per pixel by softmax over adjusted floats."""
    total = mass = 0.0
    for i, y, x in (target != 255).nonzero().tolist():
        true = int(target[i, y, x])
        z = [v + tau * math.log(p) for v, p in zip(logits[i, :, y, x].tolist(), priors, strict=True)]
        share = (1.0 if class_weights is None else class_weights[true]) * (
            1.0 if weight is None else float(weight[i, y, x])
        )
        total += share * -math.log(reference.softmax(z)[true])
        mass += share
    return total / mass


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("size", [(4, 5), (7, 9)])
def test_value_equals_the_loops(size, tau):
    for class_weights, with_map in ((None, False), ([0.5, 2.0, 0.25], True)):
        batch = make_batch((2, 3, 4, 5), size, ignored=True, dtype=torch.float64)
        weight = batch.weight if with_map else None
        loss, _ = LOSSES.get("logit_adjusted_ce")(3, priors=PRIORS, tau=tau, class_weights=class_weights)(
            batch.logits, batch.target, weight, iteration=0
        )
        resized = F.interpolate(batch.logits, size, mode="bilinear", align_corners=False)
        expected = loops(resized, batch.target, PRIORS, tau, class_weights, weight)
        assert loss.item() == pytest.approx(expected, rel=1e-7)  # priors are fp32
        assert torch.autograd.gradcheck(
            lambda z, target=batch.target, weight=weight: logit_adjusted_cross_entropy(
                z, target, weight, priors=torch.tensor(PRIORS), tau=tau
            ),
            (batch.logits,),
            fast_mode=True,
        )


def test_the_gradient_is_that_of_cross_entropy_of_the_adjusted_logits():
    batch = make_batch((2, 3, 4, 5), (7, 9), ignored=True)
    loss = logit_adjusted_cross_entropy(batch.logits, batch.target, priors=torch.tensor(PRIORS), tau=2.0)
    (slope,) = torch.autograd.grad(loss, batch.logits)
    adjusted = batch.logits + 2.0 * torch.tensor(PRIORS).log().view(3, 1, 1)
    _, expected = reference.value_and_gradient(adjusted, batch.target, reference.ce_rule())
    torch.testing.assert_close(slope.double(), expected, rtol=2e-5, atol=1e-7)


def test_a_tau_of_0_and_equal_priors_are_cross_entropy():
    batch = make_batch(ignored=True)
    ce = cross_entropy(batch.logits, batch.target)
    none = logit_adjusted_cross_entropy(batch.logits, batch.target, priors=torch.tensor(PRIORS), tau=0.0)
    equal = logit_adjusted_cross_entropy(batch.logits, batch.target, priors=torch.full((3,), 7.0))
    assert none.item() == ce.item()
    torch.testing.assert_close(equal, ce)


def test_only_the_ratios_of_priors_matter():
    batch = make_batch(ignored=True)
    shares = logit_adjusted_cross_entropy(batch.logits, batch.target, priors=torch.tensor(PRIORS))
    pixels = logit_adjusted_cross_entropy(batch.logits, batch.target, priors=1e9 * torch.tensor(PRIORS))
    torch.testing.assert_close(shares, pixels)


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_logged_and_ranked_is_of_the_logits_as_they_are(soft):
    batch = make_batch(ignored=True)
    target = batch.target
    if soft:
        target = F.one_hot(target.clamp_max(3), 4)[..., :3].movedim(-1, 1).float()
    plain = pixel_cross_entropy(batch.logits, target)
    values = pixel_logit_adjusted(batch.logits, target, priors=torch.tensor([1e-4, 1.0, 1e4]))
    for name in ("ce", "valid", "label", "wrong", "class_weight"):
        assert torch.equal(getattr(values, name), getattr(plain, name)), name
    assert not values.ce.requires_grad and values.value.requires_grad
    assert not torch.allclose(values.value, plain.value)


def test_with_ohem_the_pixels_are_those_of_plain_ohem():
    batch = make_batch(ignored=True)
    loss = pixel(
        3,
        criterion={"name": "logit_adjusted_ce", "priors": [1.0, 1.0, 1.0], "tau": 1.0},
        selection={"name": "ohem", "thresh": 0.3, "n_min": 5},
    )
    value, _ = loss(batch.logits, batch.target, iteration=0)
    torch.testing.assert_close(value, ohem_cross_entropy(batch.logits, batch.target, thresh=0.3, n_min=5))


@pytest.mark.parametrize("backend", ["direct", "banded", "numba"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_backends_agree(backend, dtype):
    batch = make_batch((2, 3, 4, 5), (16, 15), ignored=True, dtype=dtype)
    results = []
    for name in ("reference", backend):
        loss = LOSSES.get("logit_adjusted_ce")(3, priors=PRIORS, backend=name, class_weights=[1.0, 2.0, 3.0])
        value, report = loss(batch.logits, batch.target, batch.weight, iteration=0)
        results.append((value, torch.autograd.grad(value, batch.logits)[0], report))
    torch.testing.assert_close(results[1], results[0])


def test_the_rounding_of_bf16_is_not_in_the_sum():
    """A log prior of -9.2 is rounded to -9.1875 in bf16, and added to a logit of 100 it is lost."""
    logits, target = torch.tensor([[100.0, 95.0]], dtype=torch.bfloat16), torch.tensor([1])
    loss = logit_adjusted_cross_entropy(logits, target, priors=torch.tensor([1e-4, 1.0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(5.0 - math.log(1e4))), rel=1e-5)


CONFIG = {
    "data": {"name": "shapes", "size": 32, "train_size": 6, "val_size": 2},
    "model": {"name": "unet", "width": 4, "depth": 1},
    "train": {"iterations": 2, "batch_size": 2, "workers": 0},
}


@pytest.mark.parametrize(
    "loss",
    [{"name": "logit_adjusted_ce"}, {"name": "pixel", "criterion": {"name": "logit_adjusted_ce"}}],
    ids=["named loss", "criterion"],
)
def test_priors_are_the_shares_of_the_training_labels(loss):
    experiment = build(config_from_mapping({**CONFIG, "loss": loss}, origin="test"))
    expected = weigh_classes(count_classes(experiment.data.train), "frequency")
    assert sum(expected) >= 1 - 1e-9
    assert experiment.loss.criterion.priors.tolist() == pytest.approx(expected, rel=1e-3)


def test_a_class_without_a_pixel_has_the_prior_of_the_rarest_with_one():
    counts = ClassCounts([60, 30, 10, 0], [100, 100, 50, 0])
    assert weigh_classes(counts, "frequency") == [0.6, 0.3, 0.1, 0.1]
    assert weigh_classes(ClassCounts([0, 0], [0, 0]), "frequency") == [1.0, 1.0]


def test_without_training_labels_numbers_are_asked_for():
    config = config_from_mapping({**CONFIG, "loss": {"name": "logit_adjusted_ce"}}, origin="test")
    with pytest.raises(ConfigError) as error:
        build_component(LOSSES, config.loss, "loss", total=10, num_classes=3, ignore_index=255)
    assert str(error.value) == (
        "loss.priors=frequency is computed from training labels, and there are none here: give numbers"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "priors must be a list of 3 numbers, one per class, got 'frequency'"),
        ({"priors": [1.0, 2.0]}, "priors has 2 values but there are 3 classes"),
        (
            {"priors": [1.0, 2.0, 0.0]},
            "priors must be finite numbers > 0, got [1.0, 2.0, 0.0]; a class that never occurs has the prior of the "
            "rarest that does",
        ),
        ({"priors": PRIORS, "tau": -1.0}, "tau must be a number >= 0, got -1.0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError) as error:
        LOSSES.get("logit_adjusted_ce")(3, **options)
    assert str(error.value) == message


def test_the_line_on_the_console():
    line = "logit_adjusted_ce  tau 1  priors [0.9, 0.09, 0.01]  class_weights [1, 2, 3]"
    loss = LOSSES.get("logit_adjusted_ce")(3, priors=[90.0, 9.0, 1.0], class_weights=[1.0, 2.0, 3.0])
    assert loss.describe(iterations=10, pixels_per_batch=1000) == line
