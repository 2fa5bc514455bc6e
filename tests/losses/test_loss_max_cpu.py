"""The compiled weights of `loss_max` beside those that are found by halving over all pixels, in fp64."""

import math

import pytest
import torch

from segkit.losses import LossMax
from segkit.losses.kernels.cpu import call
from segkit.losses.scope import BATCH, Image
from segkit.losses.selections import loss_max_cpu
from segkit.losses.selections.loss_max import pooled_pixels, weigh_losses
from segkit.losses.selections.loss_max_cpu import solve_threshold, weigh_compiled
from tests.losses.test_hardest_cpu import SPREADS, VALID


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed")
    monkeypatch.setattr(loss_max_cpu, "MANY", 0)


def weigh_in_fp64(ce, valid, *, p, ratio, scope):
    """The weights of `weigh_losses`."""
    ranked = valid & (ce == ce)
    budget = pooled_pixels(scope.sum(ranked), ratio)
    return weigh_losses(torch.where(ranked, ce.double(), 0.0), ranked, budget, p=p, scope=scope)


@pytest.mark.parametrize("p", [1.05, 1.7, 30.0])
@pytest.mark.parametrize("spread", SPREADS)
def test_weights_equal_those_of_every_device(spread, p):
    torch.manual_seed(1)
    ce = SPREADS[spread]().float().abs()
    taken = 0
    for valid_name, make in VALID.items():
        if ce.ndim != 3 and valid_name == "not the first image":
            continue
        for ratio in (1e-6, 0.02, 0.3, 0.95, 1.0):
            for scope in (BATCH, Image()):
                valid = make(ce.shape).contiguous()
                how = {"p": p, "ratio": ratio, "scope": scope}
                found = weigh_compiled(ce, valid, **how)
                if found is None:
                    continue
                taken += 1
                expected = weigh_in_fp64(ce, valid, **how)
                torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=1e-7)
    assert taken or spread in ("infinite", "NaN and more", "subnormal", "no pixel")


def test_it_is_what_the_selection_takes_and_all_threads_give_the_same(monkeypatch):
    torch.manual_seed(2)
    ce = torch.randn(2, 300, 200).abs()
    valid = torch.rand(ce.shape) < 0.9
    shares = []
    for threads in (1, 3):
        monkeypatch.setattr(call, "choose_threads", lambda work, threads=threads: threads)
        shares.append(LossMax(1.7, 0.3)(ce, valid))
    assert torch.equal(shares[0].share, shares[1].share)
    monkeypatch.setattr(loss_max_cpu, "MANY", math.inf)
    plain = LossMax(1.7, 0.3)(ce, valid)
    assert not torch.equal(plain.share, shares[0].share)  # another way to round: it was taken
    torch.testing.assert_close(plain.share, shares[0].share, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(plain.count, shares[0].count)


@pytest.mark.parametrize("what", ["few losses", "infinite", "fp64", "of many processes"])
def test_what_the_loops_do_not_know_is_left_to_the_other_way(what, monkeypatch):
    ce, valid = torch.rand(3, 40, 50), torch.ones(3, 40, 50, dtype=torch.bool)
    scope = BATCH
    if what == "few losses":
        ce = torch.where(torch.rand(ce.shape) < 0.1, ce, 0.0)
    if what == "infinite":
        ce[0, 0, 0] = math.inf
    if what == "fp64":
        ce = ce.double()
    if what == "of many processes":
        monkeypatch.setattr(type(scope), "processes", lambda self: 2)
    assert weigh_compiled(ce, valid, p=1.7, ratio=0.3, scope=scope) is None


def test_the_threshold_is_where_the_powers_add_up_to_the_budget():
    """By numbers: the sum of min(1, loss / t)^2 over 1, 2, 3, 4 and 100 is 2.5 at t = sqrt(30 / 1.5)."""
    import numpy as np

    between = np.array([4.0, 2.0, 3.0], dtype=np.float32)
    found = solve_threshold(1.0, between, 1, 2.5, low=1.0, q=2.0)
    assert found == pytest.approx(math.sqrt((1 + 4 + 9 + 16) / 1.5))
    losses = torch.tensor([1.0, 2, 3, 4, 100])
    assert ((losses / found).clamp_max(1) ** 2).sum().item() == pytest.approx(2.5)
