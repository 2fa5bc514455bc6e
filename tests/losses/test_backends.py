"""The option `backend` of the losses: the same loss by each of them, and clear words where one cannot."""

import pytest
import torch

from segkit.losses import (
    binary_cross_entropy,
    bootstrapped_cross_entropy,
    cross_entropy,
    focal_loss,
    ohem_cross_entropy,
    pixel_cross_entropy,
    pixel_focal,
    weighted_mask_cross_entropy,
)
from segkit.losses.kernels import cross_entropy as kernel
from tests.losses.cases import CLASS_WEIGHTS, NAMES, accepts, build, make_batch, make_batch_for

#: What is not made of operations over all pixels and classes.
FUSED = ["banded", "numba"]
WITH_BACKEND = [name for name in NAMES if accepts(name, "backend")]


def test_which_losses_have_the_option():
    named = {"ce", "weighted_mask_ce", "bootstrapped_ce", "ohem_ce", "focal", "bce"}
    assert named <= set(WITH_BACKEND)


def run(loss, batch, iteration: int = 0):
    logits = batch.logits.detach().clone().requires_grad_()
    value, report = loss(logits, batch.target, batch.weight, iteration=iteration)
    value.backward()
    return value.detach(), logits.grad, report


@pytest.mark.parametrize("size", [(5, 7), (16, 15)])
@pytest.mark.parametrize("name", [*WITH_BACKEND, "pixel"])
@pytest.mark.parametrize("backend", FUSED)
def test_it_is_the_same_loss(backend, name, size):
    """Value, gradient, and everything that is logged and drawn."""
    batch = make_batch_for(name, size=size, ignored=True)

    def build_with(backend):
        if name == "pixel":
            parts = {"selection": {"name": "ohem", "thresh": 0.5}, "scope": "image", "reduction": "weights"}
            return build(name, criterion={"name": "ce", "backend": backend}, **parts)
        weights = CLASS_WEIGHTS[: 2 if name == "bce" else 3]
        given = {"alpha" if name == "focal" else "class_weights": weights}
        return build(name, backend=backend, **given)

    reference, fused = build_with("reference"), build_with(backend)
    expected, actual = (run(loss, batch, iteration=50_000) for loss in (reference, fused))
    torch.testing.assert_close(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1], rtol=1e-5, atol=1e-7)
    assert list(actual[2]) == list(expected[2])
    for key, value in expected[2].items():
        torch.testing.assert_close(actual[2][key], value, msg=lambda text, key=key: f"{key}: {text}")
    ours, theirs = (
        loss.pixels(batch.logits, batch.target, batch.weight, iteration=50_000) for loss in (fused, reference)
    )
    torch.testing.assert_close(ours.loss, theirs.loss)
    assert torch.equal(ours.kept > 0, theirs.kept > 0) and torch.equal(ours.valid, theirs.valid)


FUNCTIONS = {
    "ce": cross_entropy,
    "weighted_mask": weighted_mask_cross_entropy,
    "bootstrapped": lambda *given, **options: bootstrapped_cross_entropy(*given, share=0.3, **options),
    "ohem": ohem_cross_entropy,
    "focal": focal_loss,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_it_too(name):
    batch = make_batch(size=(16, 15), ignored=True)
    given = (batch.logits, batch.target, batch.weight)
    expected = FUNCTIONS[name](*given, backend="reference")
    for backend in FUSED:
        torch.testing.assert_close(FUNCTIONS[name](*given, backend=backend), expected)
    assert torch.equal(FUNCTIONS[name](*given), FUNCTIONS[name](*given, backend="banded"))
    with pytest.raises(
        ValueError,
        match=r"^backend must be one of auto, reference, direct, banded, numba, triton, got 'fast'$",
    ):
        FUNCTIONS[name](*given, backend="fast")


def test_one_logit_for_two_classes():
    batch = make_batch_for("bce", size=(16, 15), ignored=True)
    expected = binary_cross_entropy(batch.logits, batch.target, backend="reference")
    for backend in FUSED:
        torch.testing.assert_close(
            binary_cross_entropy(batch.logits, batch.target, backend=backend), expected
        )


@pytest.mark.parametrize("name", WITH_BACKEND)
def test_the_backend_asked_for_computes(name, monkeypatch):
    calls = []
    compute = kernel.banded_cross_entropy
    monkeypatch.setattr(
        kernel, "banded_cross_entropy", lambda *given, **more: calls.append(1) or compute(*given, **more)
    )
    passes = 2 if name == "logit_adjusted_ce" else 1  # what is logged is of the logits as they are
    for backend, expected in {"reference": 0, "banded": 1, "numba": 0, "auto": 1}.items():
        run(build(name, backend=backend), make_batch_for(name, size=(16, 15)))
        assert len(calls) == passes * expected, backend
        calls.clear()


SOFT = torch.full((2, 3, 5, 7), 1 / 3)


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("form", [pixel_cross_entropy, pixel_focal])
def test_soft_labels_take_the_reference(form, backend):
    batch = make_batch()
    assert torch.equal(form(batch.logits, SOFT).value, form(batch.logits, SOFT, backend="reference").value)
    with pytest.raises(ValueError) as error:
        form(batch.logits, SOFT, backend=backend)
    assert str(error.value) == f"backend: {backend}, but it takes no soft labels -> backend: auto"


@pytest.mark.parametrize("name", ["ce", "bce"])
def test_label_smoothing_takes_the_reference(name):
    batch = make_batch_for(name)
    expected = run(build(name, label_smoothing=0.1, backend="reference"), batch)
    assert torch.equal(run(build(name, label_smoothing=0.1), batch)[0], expected[0])
    with pytest.raises(ValueError) as error:
        build(name, label_smoothing=0.1, backend="triton")
    assert str(error.value) == "backend: triton, but it takes no label_smoothing -> backend: auto"


def test_other_numbers_of_dimensions_take_the_reference():
    batch = make_batch((4, 3), (), ignored=False)
    cross_entropy(batch.logits, batch.target)
    with pytest.raises(ValueError) as error:
        cross_entropy(batch.logits, batch.target, backend="banded")
    assert (
        str(error.value) == "backend: banded, but it takes logits (N, C, h, w), got (4, 3) -> backend: auto"
    )
