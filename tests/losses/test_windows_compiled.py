"""The compiled sums over cells and windows: those of plain PyTorch, whatever the image."""

import functools

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import rmi_loss
from segkit.losses.common import windows
from segkit.losses.kernels import choice
from segkit.losses.kernels.cpu import call, compiled
from segkit.losses.kernels.cpu import windows as kernels
from tests.losses.cases import make_batch

#: Shape, pool and radius: cells that are cut, one window, one row of windows, windows of one cell.
CASES = [
    ((2, 3, 17, 23), 2, 2),
    ((1, 4, 40, 51), 4, 3),
    ((2, 5, 64, 37), 1, 3),
    ((1, 2, 9, 9), 3, 3),
    ((1, 2, 5, 7), 1, 5),
    ((2, 3, 31, 30), 3, 1),
]
#: Of numbers of this size in fp32, whose exp has an error of 1e-7.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def always(monkeypatch):
    """Taken for few numbers, too: what was computed by the loops, each time that it was."""
    seen = []

    def watch(name):
        fused = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *args: (seen.append(name), fused(*args))[1])

    for name in ("fused_pool_labels", "fused_pool_exp", "fused_products"):
        watch(name)
    monkeypatch.setattr(windows, "WORTH_COMPILING", 0)
    return seen


@pytest.fixture(params=[False, True], ids=["as it comes", "row by row on three threads"])
def small_parts(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(kernels, "LAID_OUT", 1)
        monkeypatch.setattr(call, "choose_threads", lambda work: 3)


def make_pixels(shape, pool):
    """log p, ids and masses, with a cell and many pixels without mass."""
    log_p = torch.randn(shape).log_softmax(dim=1)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    mass = torch.rand(target.shape) * (torch.rand(target.shape) < 0.9)
    if shape[-1] > 2 * pool:
        mass[0, :pool, :pool] = 0
    return log_p, target.masked_fill(mass == 0, 255), mass


@pytest.mark.parametrize(("shape", "pool", "radius"), CASES)
@pytest.mark.usefixtures("small_parts")
def test_cells_equal_those_of_plain_pytorch(shape, pool, radius, always, monkeypatch):
    log_p, target, mass = make_pixels(shape, pool)
    log_p[(mass == 0).unsqueeze(1).expand(shape)] = torch.nan  # which nobody looks at
    cells = windows.pool_mass(mass, pool)
    towards = torch.randn(shape[0], shape[1], *cells.shape[1:])

    def compute():
        leaf = log_p.clone().requires_grad_()
        labels = windows.pool_labels(target, mass, cells, shape[1], pool)
        pooled = windows.pool_probabilities(leaf, mass, cells, pool)
        return labels, pooled.detach(), torch.autograd.grad(pooled, leaf, towards)[0]

    found = compute()
    assert always == ["fused_pool_labels", "fused_pool_exp"]
    monkeypatch.setattr(windows, "WORTH_COMPILING", 2**60)
    expected = compute()
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], **CLOSE)
    torch.testing.assert_close(found[2], expected[2], **CLOSE)


@pytest.mark.parametrize(("shape", "pool", "radius"), CASES)
@pytest.mark.usefixtures("small_parts")
def test_covariances_equal_those_of_plain_pytorch(shape, pool, radius, always, monkeypatch):
    y, x, mass = torch.rand(shape), torch.randn(shape), make_pixels(shape, 1)[2]
    mass[-1] = mass[-1] if shape[0] == 1 else 0  # an image without a window
    weight = windows.weigh_windows(mass + 0.1 * (mass > 0), radius)
    towards = [torch.randn(shape[0], shape[1], radius**2, radius**2, dtype=torch.float64) for _ in range(3)]

    def compute():
        leaf = x.clone().requires_grad_()
        covariances = windows.window_covariances(y, leaf, weight, radius)
        assert all(each.dtype == torch.float64 for each in covariances)
        return *(each.detach() for each in covariances), torch.autograd.grad(covariances, leaf, towards)[0]

    found = compute()
    assert always == ["fused_products"]
    monkeypatch.setattr(windows, "WORTH_COMPILING", 2**60)
    for one, other in zip(found, compute(), strict=True):
        double = one.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=1e-12 if double else 1e-6, atol=1e-11 if double else 1e-5)


def test_labels_and_masses_that_are_out_of_range_are_written_nowhere(always):
    """What the loss refuses before; memory is not to be another's whatever comes."""
    target = torch.tensor([[[0, 1, 2, 3], [-1, 255, 2**40, -(2**40)]]])
    pooled = kernels.fused_pool_labels(target, torch.ones(1, 2, 4), 2, 2)
    assert pooled.tolist() == [[[[0.25, 0.0]], [[0.25, 0.0]]]]
    mass = torch.tensor([[[torch.nan, 1.0], [-1.0, 0.0]]])
    assert kernels.fused_pool_labels(torch.zeros(1, 2, 2, dtype=torch.long), mass, 1, 2).item() == 0.25


@pytest.mark.parametrize(
    "layout", ["planes", "channels_last", "every other column", "bf16", "sigmoid", "soft"]
)
def test_the_loss_is_the_same_whatever_the_layout(layout, always, monkeypatch):
    shape = (2, 3, 24, 27)
    dtype = torch.bfloat16 if layout == "bf16" else torch.float32
    batch = make_batch(shape, shape[2:], ignored=True, dtype=dtype)
    logits, target = batch.logits.detach(), batch.target
    if layout == "channels_last":
        logits = logits.to(memory_format=torch.channels_last)
    if layout == "every other column":
        logits = logits.repeat_interleave(2, dim=-1)[..., ::2]
    if layout == "soft":
        target = 0.8 * F.one_hot(target.clamp_max(3), 4)[..., :3].movedim(-1, 1)
    options = {"pool": 2, "radius": 2, "probabilities": "sigmoid" if layout == "sigmoid" else "softmax"}

    def compute():
        leaf = logits.detach().requires_grad_()
        loss = rmi_loss(leaf, target, batch.weight, **options)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    found = compute()
    assert always[-2:] == ["fused_pool_exp", "fused_products"] and len(always) == 3 - (layout == "soft")
    monkeypatch.setattr(windows, "WORTH_COMPILING", 2**60)
    expected = compute()
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], expected[1], rtol=2e-2 if layout == "bf16" else 1e-3, atol=1e-6)


def test_a_logit_that_is_no_number_reaches_the_loss(always):
    batch = make_batch((1, 3, 12, 12), (12, 12))
    batch.logits.data[0, 1, 4, 4] = torch.nan
    assert rmi_loss(batch.logits, batch.target, mix=0.0, pool=2).isnan()
    assert len(always) == 3


def test_double_precision_and_few_numbers_are_computed_without(always, monkeypatch):
    batch = make_batch((1, 3, 12, 12), (12, 12))
    rmi_loss(batch.logits.double(), batch.target, pool=2)
    monkeypatch.setattr(windows, "WORTH_COMPILING", 3 * 12 * 12 + 1)
    rmi_loss(batch.logits, batch.target, pool=4)
    assert not always
    monkeypatch.setattr(windows, "WORTH_COMPILING", 3 * 12 * 12)
    rmi_loss(batch.logits, batch.target, pool=4)
    assert always == ["fused_pool_labels", "fused_pool_exp"]


def test_there_is_no_second_derivative(always):
    batch = make_batch((1, 3, 12, 12), (12, 12))
    cells = torch.ones(1, 6, 6)
    pooled = windows.pool_probabilities(batch.logits, torch.ones(1, 12, 12), cells, 2)
    (yy, ye, ee) = windows.window_covariances(
        torch.rand(1, 3, 12, 12), batch.logits, torch.ones(1, 11, 11), 2
    )
    for value in (pooled, ye + ee):
        with pytest.raises(RuntimeError, match=r"^rmi has no second derivative$"):
            torch.autograd.grad(value.square().sum(), batch.logits, create_graph=True)
    assert not yy.isnan().any() and len(always) == 2


def test_where_the_loops_do_not_compile(always, monkeypatch):
    """Said once, and the same loss is found without."""

    def fail():
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(compiled, "window_kernels", fail)
    monkeypatch.setattr(choice, "_try_numba", functools.cache(choice._try_numba.__wrapped__))
    batch = make_batch((1, 3, 12, 12), (12, 12))
    with pytest.warns(RuntimeWarning) as said:
        found = rmi_loss(batch.logits, batch.target, pool=2)
    assert [str(each.message) for each in said] == [
        "numba does not compile the sums over windows here (ImportError: Numba needs another NumPy) -> "
        "they are computed in plain PyTorch"
    ]
    monkeypatch.setattr(windows, "WORTH_COMPILING", 2**60)
    assert torch.equal(found, rmi_loss(batch.logits, batch.target, pool=2))
    assert not always
