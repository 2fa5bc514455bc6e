"""What every registered loss must do, whoever wrote it; a new loss is covered by being registered."""

import inspect

import pytest
import torch

from segkit.registry import LOSSES
from tests.losses.cases import NAMES, PLACED, accepts, build, classes_of, make_batch_for

#: Losses that keep every valid pixel, or some of them, as one selection.
SELECTING = [name for name in NAMES if name != "sum"]


def test_the_named_losses_are_there():
    pixel = {"ce", "weighted_mask_ce", "bootstrapped_ce", "ohem_ce", "bce", "focal", "pixel"}
    pixel |= {
        "poly_ce",
        "generalized_ce",
        "symmetric_ce",
        "logit_adjusted_ce",
        "recall_ce",
        "loss_max_pooling",
        "border_relaxed_ce",
        "margin_smoothing_ce",
        "spatial_smoothing_ce",
    }
    assert pixel | {"dice", "jaccard", "lovasz", "tversky", "sum"} <= set(NAMES)
    assert {"active_boundary", "boundary", "cldice"} <= set(PLACED)


@pytest.mark.parametrize("name", NAMES)
def test_constructor_is_a_schema(name):
    constructor = LOSSES.get(name)
    assert constructor.__doc__ and constructor.__doc__.splitlines()[0].endswith(".")
    for parameter in inspect.signature(constructor).parameters.values():
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        assert parameter.annotation is not parameter.empty, parameter.name
        if parameter.name not in LOSSES.given:
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name
            bare = parameter.default is not parameter.empty
            assert bare or (name, parameter.name) == ("sum", "terms"), (
                f"{parameter.name}: a bare name must be a valid block"
            )


@pytest.mark.parametrize("name", NAMES)
def test_iteration_is_keyword_only_without_default(name):
    loss, batch = build(name), make_batch_for(name)
    with pytest.raises(TypeError, match="iteration"):
        loss(batch.logits, batch.target, batch.weight)
    with pytest.raises(TypeError):
        loss(batch.logits, batch.target, batch.weight, 0)
    with pytest.raises(TypeError, match="iteration"):
        loss(batch.logits, batch.target, batch.weight, iteration=None)


@pytest.mark.parametrize("iteration", [0, 30_000, 10**6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 3, 2, 3)], ids=["full size", "low resolution"])
@pytest.mark.parametrize("name", NAMES)
def test_value_metrics_and_gradient(name, shape, dtype, iteration):
    loss, batch = build(name), make_batch_for(name, shape, dtype=dtype, ignored=True)
    value, metrics = loss(batch.logits, batch.target, batch.weight, iteration=iteration)
    value.backward()
    assert value.shape == () and value.dtype == torch.float32 and value.isfinite()
    assert batch.logits.grad.dtype == dtype and batch.logits.grad.isfinite().all()
    assert "ce" in metrics
    for key, metric in metrics.items():
        if isinstance(metric, torch.Tensor):
            assert metric.shape in ((), (classes_of(name),)) and not metric.requires_grad, key
            assert metric.isfinite().all(), key
        else:
            assert isinstance(metric, float), key
            assert metric == metric, key


@pytest.mark.parametrize("name", SELECTING)
def test_what_every_loss_reports(name):
    batch = make_batch_for(name, ignored=True)
    _, metrics = build(name)(batch.logits, batch.target, batch.weight, iteration=40_000)
    scalars = {"ce", "k", "kept_fraction", "threshold", "kept_wrong", "ignored_fraction"}
    assert scalars | {"kept_class"} <= metrics.keys()
    assert metrics["kept_class"].shape == (classes_of(name),)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_arguments_give_the_same_value_whatever_happened_between(name):
    loss, batch = build(name), make_batch_for(name, ignored=True)
    other = make_batch_for(name, seed=1)

    def value(iteration):
        return loss(batch.logits, batch.target, batch.weight, iteration=iteration)[0].item()

    first = [value(iteration) for iteration in (0, 25_000, 80_000)]
    for iteration in range(5):
        loss(other.logits, other.target, other.weight, iteration=iteration)
    loss.eval()
    loss.pixels(other.logits, other.target, other.weight, iteration=0)
    assert [value(iteration) for iteration in (80_000, 25_000, 0)] == first[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_loss_is_saved_or_trained(name):
    weights = {"class_weights": [1.0, 2.0, 3.0][: classes_of(name)]} if accepts(name, "class_weights") else {}
    loss = build(name, **weights)
    assert loss.state_dict() == {}
    assert not list(loss.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone(name):
    batch = make_batch_for(name, ignored=True)
    before = [tensor.clone() for tensor in (batch.logits, batch.target, batch.weight)]
    build(name)(batch.logits, batch.target, batch.weight, iteration=30_000)[0].backward()
    for tensor, copy in zip((batch.logits, batch.target, batch.weight), before, strict=True):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("name", SELECTING)
def test_pixels_report_agrees_with_the_metrics(name):
    loss, batch = build(name), make_batch_for(name, (2, 3, 2, 3), (5, 7), ignored=True)
    _, metrics = loss(batch.logits, batch.target, batch.weight, iteration=40_000)
    report = loss.pixels(batch.logits, batch.target, iteration=40_000)
    assert report.loss.shape == report.kept.shape == report.valid.shape == batch.target.shape
    assert report.loss.dtype == report.kept.dtype == torch.float32 and report.valid.dtype == torch.bool
    assert not report.loss.requires_grad and not report.kept.requires_grad
    assert torch.equal(report.valid, batch.target != 255)
    assert (report.loss[~report.valid] == 0).all() and (report.kept[~report.valid] == 0).all()
    n_valid = report.valid.sum()
    torch.testing.assert_close(report.loss.sum() / n_valid, metrics["ce"])
    torch.testing.assert_close(report.kept.sum(), metrics["k"].float())
    torch.testing.assert_close(report.kept.sum() / n_valid, metrics["kept_fraction"])
    torch.testing.assert_close(torch.exp(-report.loss[report.kept > 0].min()), metrics["threshold"])


@pytest.mark.parametrize("name", NAMES)
def test_describe_is_one_line_that_begins_with_the_name(name):
    line = build(name).describe(iterations=100_000, pixels_per_batch=262_144)
    assert line.startswith(name) and "\n" not in line


@pytest.mark.parametrize("name", ["border_relaxed_ce", "cldice", "rmi"])
def test_a_gradient_in_closed_form_says_that_it_has_none_of_its_own(name):
    batch = make_batch_for(name, (1, 3, 24, 24), (24, 24), dtype=torch.float64)
    loss, _ = build(name)(batch.logits, batch.target, iteration=0)
    with pytest.raises(RuntimeError, match=rf"^{name} has no second derivative$"):
        torch.autograd.grad(loss, batch.logits, create_graph=True)
