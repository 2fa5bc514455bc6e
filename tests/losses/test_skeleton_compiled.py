"""The compiled soft skeletons and their gradient: bit by bit those of plain PyTorch, whatever the image."""

import functools

import pytest
import torch

from segkit.losses import cldice_loss
from segkit.losses.common import skeleton
from segkit.losses.common.skeleton import soft_skeleton
from segkit.losses.kernels import choice
from segkit.losses.kernels.cpu import call, compiled
from segkit.losses.kernels.cpu import skeleton as kernels
from tests.losses.cases import make_batch

SHAPES = [(2, 3, 7, 6), (1, 2, 1, 9), (1, 2, 9, 1), (1, 1, 2, 2), (1, 1, 1, 1), (2, 2, 41, 19)]


def constant_but_for_one(x):
    x = torch.full_like(x, 0.25)
    x[..., 0, 0] = 0.5
    return x


REGIONS = {
    "any": lambda x: x,
    "ties": lambda x: (3 * x).round() / 3,
    "labels": lambda x: (x > 0.8).float(),
    "one value": lambda x: torch.full_like(x, 0.25),
    "one value but for a pixel": constant_but_for_one,
    "nothing": torch.zeros_like,
    "NaN": lambda x: torch.where(x < 0.05, torch.nan, x),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def always(monkeypatch):
    """Taken for few numbers, too: the names of what was computed, each time that it was."""
    seen = []
    fused = kernels.fused_skeleton
    monkeypatch.setattr(skeleton, "WORTH_COMPILING", 0)
    monkeypatch.setattr(kernels, "fused_skeleton", lambda *args: (seen.append("compiled"), fused(*args))[1])
    return seen


def skeleton_and_gradient(make, region, inside, iterations, towards):
    region = region.detach().clone().requires_grad_()
    found = make(region, inside, iterations)
    return found.detach(), torch.autograd.grad(found, region, towards)[0]


def assert_the_same_bits(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("rows", [None, 1, 5], ids=lambda rows: f"bands of {rows or 'all'} rows")
@pytest.mark.parametrize("region", REGIONS)
def test_any_region_any_pixels_inside_any_iterations(region, rows, monkeypatch):
    if rows is not None:
        monkeypatch.setattr(kernels, "BAND", rows)
        monkeypatch.setattr(kernels, "LARGER", 0)
        monkeypatch.setattr(call, "choose_threads", lambda work: 3)
    for shape in SHAPES:
        values, towards = REGIONS[region](torch.rand(shape)), torch.randn(shape)
        for part in (1.0, 0.85, 0.1, 0.0):
            inside = torch.rand(shape[0], 1, *shape[2:]) < part
            for iterations in (1, 6):
                how = (values, inside, iterations, towards)
                found = skeleton_and_gradient(kernels.fused_skeleton, *how)
                expected = skeleton_and_gradient(soft_skeleton, *how)  # too few numbers for the loops
                for one, other in zip(found, expected, strict=True):
                    assert_the_same_bits(one, other)


def test_a_gradient_that_is_no_number_goes_where_it_went():
    region, inside, towards = (
        torch.rand(1, 2, 12, 11),
        torch.rand(1, 1, 12, 11) < 0.9,
        torch.randn(1, 2, 12, 11),
    )
    towards[..., 4, 5], towards[..., 9, 2] = torch.nan, torch.inf
    found = skeleton_and_gradient(kernels.fused_skeleton, region, inside, 2, towards)
    expected = skeleton_and_gradient(soft_skeleton, region, inside, 2, towards)
    assert expected[1].isnan().any()
    assert_the_same_bits(found[1], expected[1])


@pytest.mark.parametrize("layout", ["planes", "channels_last", "every other column", "bf16"])
def test_the_loss_is_the_same_whatever_the_layout(layout, monkeypatch):
    shape = (2, 3, 20, 22)
    batch = make_batch(
        shape, shape[2:], ignored=True, dtype=torch.bfloat16 if layout == "bf16" else torch.float32
    )
    logits = batch.logits.detach()
    if layout == "channels_last":
        logits = logits.to(memory_format=torch.channels_last)
    if layout == "every other column":
        logits = logits.repeat_interleave(2, dim=-1)[..., ::2]

    def compute():
        leaf = logits.detach().requires_grad_()
        loss = cldice_loss(leaf, batch.target, batch.weight, only=[2, 0])
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    expected = compute()
    seen = []
    fused = kernels.fused_skeleton
    monkeypatch.setattr(kernels, "fused_skeleton", lambda *args: (seen.append(args), fused(*args))[1])
    monkeypatch.setattr(skeleton, "WORTH_COMPILING", 0)
    found = compute()
    assert len(seen) == 2
    torch.testing.assert_close(found[0], expected[0])  # sums may have another order, of another layout
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5 if layout != "bf16" else 1e-2, atol=1e-9)


def test_a_logit_that_is_no_number_reaches_the_loss(always):
    batch = make_batch((1, 3, 9, 9), (9, 9))
    batch.logits.data[0, 1, 4, 4] = torch.nan
    assert cldice_loss(batch.logits, batch.target).isnan()
    assert always


@pytest.mark.parametrize("kind", ["a list of pixels", "a row", "a volume", "double precision"])
def test_what_the_loops_do_not_take_is_computed_without(kind, always):
    shape = {"a list of pixels": (30, 3), "a row": (2, 3, 9), "a volume": (1, 2, 4, 5, 6)}.get(
        kind, (1, 2, 6, 7)
    )
    region = torch.rand(shape, dtype=torch.float64 if kind == "double precision" else torch.float32)
    soft_skeleton(region, torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool), 2)
    assert not always


def test_few_numbers_are_not_worth_it(always, monkeypatch):
    inside = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    monkeypatch.setattr(skeleton, "WORTH_COMPILING", 65)
    soft_skeleton(torch.rand(1, 1, 8, 8), inside, 2)
    assert not always
    monkeypatch.setattr(skeleton, "WORTH_COMPILING", 64)
    soft_skeleton(torch.rand(1, 1, 8, 8), inside, 2)
    assert always


def test_nothing_is_kept_but_the_region():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        region = torch.rand(1, 2, 8, 8, requires_grad=True)
        kernels.fused_skeleton(region, torch.ones(1, 1, 8, 8, dtype=torch.bool), 9)
    assert sorted(kept) == [64, 128]


def test_there_is_no_second_derivative():
    region = torch.rand(1, 1, 8, 8, requires_grad=True)
    found = kernels.fused_skeleton(region, torch.ones(1, 1, 8, 8, dtype=torch.bool), 2)
    with pytest.raises(RuntimeError, match=r"^cldice has no second derivative$"):
        torch.autograd.grad(found.square().sum(), region, create_graph=True)


def test_where_the_loops_do_not_compile(always, monkeypatch):
    """Said once, and the same skeleton is found without."""

    def fail():
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(compiled, "skeleton_kernels", fail)
    monkeypatch.setattr(choice, "_try_numba", functools.cache(choice._try_numba.__wrapped__))
    region, inside = torch.rand(1, 2, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    with pytest.warns(RuntimeWarning) as said:
        found = [soft_skeleton(region, inside, 2) for _ in range(2)]
    assert [str(each.message) for each in said] == [
        "numba does not compile the soft skeletons here (ImportError: Numba needs another NumPy) -> "
        "they are computed in plain PyTorch"
    ]
    monkeypatch.setattr(skeleton, "WORTH_COMPILING", 1000)
    assert torch.equal(found[0], soft_skeleton(region, inside, 2)) and torch.equal(found[0], found[1])
    assert not always
