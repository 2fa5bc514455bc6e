"""Value and gradient of every loss against the loops: dtypes x weights x ignored regions x sizes and strides."""

import pytest
import torch

from tests.losses import reference
from tests.losses.cases import CASES, CLASS_WEIGHTS, GEOMETRIES, make_batch

#: Relative and absolute tolerance of value and gradient. The value is fp32 whatever the logits are, so it is
#: held to fp32's; the gradient is rounded once, to the dtype of the logits.
TOLERANCE = {
    torch.float64: (1e-12, 1e-14, 1e-10, 1e-13),
    torch.float32: (2e-6, 1e-7, 2e-5, 1e-7),
    torch.bfloat16: (2e-6, 1e-7, 2**-8, 1e-6),
    torch.float16: (2e-6, 1e-7, 2**-10, 1e-6),
}


def even_among_twins(batch) -> torch.Tensor:
    """A weight map that is a function of image and class. Beyond the outermost logits resizing repeats them, so
    pixels of one class tie there up to rounding, and which of them is harder is nothing to compare."""
    images = torch.arange(len(batch.target)).view(-1, 1, 1)
    return (1 + (3 * images + 5 * batch.target) % 7) / 8


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("weighting", ["plain", "class weights", "map", "both"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradient_equal_the_loops(case, weighting, dtype):
    for seed, (geometry, (shape, size)) in enumerate(GEOMETRIES.items()):
        for ignored in (False, True):
            batch = make_batch(shape, size, dtype=dtype, ignored=ignored, seed=seed)
            if shape[2:] != size:
                batch.weight = even_among_twins(batch)
            needs_map = weighting in ("map", "both") or case.name == "weighted_mask_ce"
            weight = batch.weight if needs_map else None
            weights = CLASS_WEIGHTS[: shape[1]] if weighting in ("class weights", "both") else None
            expected, gradient = reference.value_and_gradient(
                batch.logits, batch.target, case.rule(weights, weight)
            )

            loss, _ = case.loss(shape[1], class_weights=weights)(
                batch.logits, batch.target, weight, iteration=case.iteration
            )
            loss.backward()

            rtol, atol, gradient_rtol, gradient_atol = TOLERANCE[dtype]
            where = f"{geometry}, ignored={ignored}"
            assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32), where
            assert loss.item() == pytest.approx(expected, rel=rtol, abs=atol), where
            assert batch.logits.grad.dtype == dtype
            torch.testing.assert_close(
                batch.logits.grad.double(),
                gradient,
                rtol=gradient_rtol,
                atol=gradient_atol,
                msg=lambda text, where=where: f"{where}: {text}",
            )


@pytest.mark.parametrize("case", [c for c in CASES if c.name != "weighted_mask_ce"], ids=str)
def test_gradcheck(case):
    batch = make_batch((1, 3, 2, 3), (4, 5), dtype=torch.float64, ignored=True)
    loss = case.loss(3, class_weights=[0.5, 2.0, 1.0])
    assert torch.autograd.gradcheck(
        lambda z: loss(z, batch.target, batch.weight, iteration=case.iteration)[0], (batch.logits,)
    )


@pytest.mark.parametrize("normalize", ["pixels", "weights"])
def test_gradcheck_with_respect_to_the_weight_map(normalize):
    case = next(c for c in CASES if c.options.get("normalize", "pixels") == normalize)
    batch = make_batch((1, 3, 4, 5), (4, 5), dtype=torch.float64, ignored=True)
    weight = (batch.weight.double() + 0.1).requires_grad_()
    loss = case.loss(3)
    assert torch.autograd.gradcheck(
        lambda z, m: loss(z, batch.target, m, iteration=0)[0], (batch.logits, weight)
    )
