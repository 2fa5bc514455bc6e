"""The hardest pixels as they are found on a CPU: bit by bit what the way finds that suits every device."""

import math
import threading

import pytest
import torch

from segkit.losses import Ohem, TopK, TopShare
from segkit.losses.kernels.cpu import call
from segkit.losses.kernels.cpu import hardest as kernels
from segkit.losses.scope import BATCH, Batch, Image
from segkit.losses.selections import hardest, hardest_cpu
from segkit.losses.selections.hardest import select_hardest, select_hardest_without_looking
from segkit.losses.selections.hardest_cpu import gather_few, select_hardest_on_cpu
from tests.processes import HANG_LIMIT

SHAPE = (3, 41, 13)
DTYPES = [torch.float32, torch.float64]


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64).abs()


def with_values(losses, *values, part=0.01):
    """`losses` of which a part is replaced by each of the values."""
    for value in values:
        losses = torch.where(torch.rand(losses.shape) < part, value, losses)
    return losses


#: (N, *spatial) in fp64, to be rounded; 5e-324 is 0 in fp32.
SPREADS = {
    "normal": lambda: normal(*SHAPE),
    "few distinct": lambda: normal(*SHAPE).mul(4).round(),
    "one bin": lambda: 2 + normal(*SHAPE) * 1e-4,
    "all equal": lambda: torch.full(SHAPE, 0.3, dtype=torch.float64),
    "all zero": lambda: torch.zeros(SHAPE, dtype=torch.float64),
    "mostly zero": lambda: normal(*SHAPE) * (torch.rand(SHAPE) < 0.01),
    "mostly 0.3": lambda: torch.where(torch.rand(SHAPE) < 0.05, 0.3 + normal(*SHAPE) * 1e-3, 0.3),
    "signed zeros": lambda: with_values(normal(*SHAPE) * 0, -0.0, part=0.5),
    "some signed zeros": lambda: with_values(normal(*SHAPE), -0.0, 0.0, part=0.2),
    "subnormal": lambda: with_values(normal(*SHAPE) * 1e-40, 0.0, -0.0, 5e-324, 1.2e-38, part=0.05),
    "infinite": lambda: with_values(normal(*SHAPE), math.inf, part=0.1),
    "NaN": lambda: with_values(normal(*SHAPE), math.nan, -math.nan, part=0.1),
    "NaN and more": lambda: with_values(normal(*SHAPE), math.nan, math.inf, 0.0, -0.0, 3e38, 1e-45, part=0.1),
    "only NaN": lambda: torch.full(SHAPE, math.nan, dtype=torch.float64),
    "wide": lambda: torch.exp(normal(*SHAPE) * 30 - 60),
    "one pixel each": lambda: normal(3, 1, 1),
    "no pixel": lambda: normal(3, 0, 5),
    "a row": lambda: normal(30),
}
VALID = {
    "all": lambda shape: torch.ones(shape, dtype=torch.bool),
    "most": lambda shape: torch.rand(shape) < 0.9,
    "few": lambda shape: torch.rand(shape) < 0.02,
    "not the first image": lambda shape: (torch.arange(3) > 0).view(3, 1, 1).expand(shape),
    "none": lambda shape: torch.zeros(shape, dtype=torch.bool),
}


def assert_the_same(ce, valid, k, scope=BATCH):
    found = select_hardest_on_cpu(ce, valid, k, scope=scope)
    expected = select_hardest_without_looking(ce, valid, k, scope=scope)
    for name in ("share", "count"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, name
        assert torch.equal(ours, theirs), f"{name} for k = {k}"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(params=["few", "many", "compiled"])
def way(request, monkeypatch):
    """How the pixels here are looked at."""
    ways = {"few": "share_few", "many": "_share_many", "compiled": "_share_compiled"}
    if request.param != "few":
        monkeypatch.setattr(hardest_cpu, "FEW", -1)
    if request.param == "compiled":
        monkeypatch.setattr(hardest_cpu, "MANY", 0)
        monkeypatch.setattr(hardest_cpu, "numba_runs", lambda rows: rows.dtype == torch.float32)
        ways.pop("many")  # fp64 goes there
        monkeypatch.setattr(kernels, "WIDTH", 96)  # many blocks, for several threads
        monkeypatch.setattr(call, "choose_threads", lambda work: 3)
    for name in set(ways) - {request.param}:
        monkeypatch.setattr(hardest_cpu, ways[name], lambda *args: pytest.fail("it is another way"))


@pytest.mark.parametrize("scope", [BATCH, Image()], ids=lambda scope: scope.name)
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.heavy)], ids=str
)
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.usefixtures("way")
def test_any_losses_any_valid_pixels_any_k(spread, dtype, scope):
    ce = SPREADS[spread]().to(dtype)
    for name, make in VALID.items():
        if name == "not the first image" and ce.ndim == 1:
            continue
        valid = make(ce.shape)
        for share in (0, 0.06, 0.5, 1):
            assert_the_same(ce, valid, int(share * ce.numel()), scope)
        groups = len(scope.rows(ce))
        k = torch.randint(0, ce.numel() // groups + 2, (groups, *[1] * (ce.ndim - 1)))
        assert_the_same(ce, valid, k, scope)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.usefixtures("way")
def test_any_bits(dtype):
    """NaN of any payload and sign, and numbers of any size; only negative numbers are no losses."""
    integer, width = (torch.int32, 32) if dtype == torch.float32 else (torch.int64, 64)
    for _ in range(20):
        bits = torch.randint(-(2 ** (width - 1)), 2 ** (width - 1) - 1, (2, 500), dtype=integer)
        special = torch.tensor([-1, 2 ** (width - 1) - 1, 0, -(2 ** (width - 1)), 1])
        bits[:, :5] = special
        ce = bits.view(dtype)
        ce = torch.where(ce < 0, -ce, ce)
        for k in (1, 30, 500, 995, 1000):
            assert_the_same(ce, torch.rand(ce.shape) < 0.8, k)
            assert_the_same(ce, torch.ones_like(ce, dtype=torch.bool), k, Image())


@pytest.mark.usefixtures("way")
def test_a_nan_of_all_bits_alone():
    """Its first digit is the one that stands for pixels that are not ranked."""
    ce = torch.tensor([[1, 0x7FFFFFFF, 3, -1]], dtype=torch.int32).view(torch.float32)
    for k in range(5):
        assert_the_same(ce, torch.ones_like(ce, dtype=torch.bool), k)


@pytest.mark.usefixtures("way")
def test_a_signalling_nan_beside_infinity():
    ce = torch.tensor([[0x7F800001, 0x7F800000, 0x3F800000]], dtype=torch.int32).view(torch.float32)
    for k in range(4):
        assert_the_same(ce, torch.ones_like(ce, dtype=torch.bool), k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.usefixtures("way")
def test_tensors_that_are_not_contiguous(dtype):
    ce, valid = normal(4, 6, 7, 3).to(dtype), torch.rand(4, 6, 7, 3) < 0.8
    views = {
        "permuted": lambda x: x.permute(0, 3, 1, 2),
        "every other": lambda x: x[:, ::2, 1::3],
        "backwards": lambda x: x.flip(1).transpose(1, 2),
        "expanded": lambda x: x[:1].expand(4, 6, 7, 3),
        "a transposed matrix": lambda x: x.flatten()[:60].view(20, 3).t(),
        "every other in a row": lambda x: x.flatten()[:60:2],
        "images apart": lambda x: x[::2],
        "offset": lambda x: x.flatten()[1:].unflatten(0, (1, -1)),
    }
    for view in views.values():
        for scope in (BATCH, Image()):
            for k in (3, 20):
                assert_the_same(view(ce), view(valid), k, scope)


def test_losses_that_still_have_a_gradient():
    ce = normal(2, 9).requires_grad_()
    assert not select_hardest(ce, ce > 0, 4).share.requires_grad


@pytest.mark.usefixtures("way")
def test_the_inputs_stay_as_they_are():
    ce, valid, k = with_values(normal(2, 300), math.nan, -0.0), torch.rand(2, 300) < 0.9, torch.tensor([[40]])
    before = ce.clone(), valid.clone(), k.clone()
    for way in (select_hardest_on_cpu, select_hardest_without_looking):
        way(ce, valid, k)
        assert torch.equal(ce.view(torch.int64), before[0].view(torch.int64))
        assert torch.equal(valid, before[1]) and torch.equal(k, before[2])


def test_gather_few_is_indexing():
    for length in (0, 1, 7, 8, 9, 64, 501):
        for part in (0, 0.01, 0.5, 1):
            pixels, mask = torch.rand(length), torch.rand(length) < part
            assert torch.equal(gather_few(pixels, mask.to(torch.int16)), pixels[mask])


# ------------------------------------------------------------------------------------------------- which way is taken


def test_the_cpu_is_looked_at_and_a_graph_is_not(monkeypatch):
    ce = normal(2, 50)
    monkeypatch.setattr(hardest, "select_hardest_on_cpu", lambda *args, scope: "looked")
    monkeypatch.setattr(hardest, "select_hardest_without_looking", lambda *args, scope: "not looked")
    assert select_hardest(ce, ce > 1, 3) == "looked"
    assert select_hardest(ce.to("meta"), ce > 1, 3) == "not looked"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert select_hardest(ce, ce > 1, 3) == "not looked"


@pytest.mark.parametrize("scope", [BATCH, Image()], ids=lambda scope: scope.name)
@pytest.mark.parametrize(
    "spread", ["normal", "few distinct", "NaN and more", "only NaN", "no pixel", "mostly zero"]
)
@pytest.mark.usefixtures("way")
def test_selections_keep_what_they_keep_without_looking(spread, scope, monkeypatch):
    selections = [Ohem(t, n) for t in (1e-3, 0.3, 1.0) for n in (1, 400, "1/16")]
    selections += [TopK(7), TopK(10_000), TopShare(0.2), TopShare(1)]
    ce = SPREADS[spread]().float()
    for make in VALID.values():
        valid = make(ce.shape)
        looked = [selection(ce, valid, scope=scope) for selection in selections]
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            blind = [selection(ce, valid, scope=scope) for selection in selections]
        for selection, ours, theirs in zip(selections, looked, blind, strict=True):
            assert torch.equal(ours.share, theirs.share), selection
            assert torch.equal(ours.count, theirs.count) and ours.count.shape == theirs.count.shape, selection
            assert ours.share.dtype == theirs.share.dtype and ours.count.dtype == theirs.count.dtype


# -------------------------------------------------------------------------------------------------- several processes


class Meeting:
    """Threads instead of processes that share a group; who comes to fewer meetings than the others breaks it."""

    def __init__(self, count: int):
        self.barrier = threading.Barrier(count, timeout=HANG_LIMIT)
        self.brought = [None] * count

    def sum(self, rank: int, value: torch.Tensor) -> torch.Tensor:
        self.brought[rank] = value
        self.barrier.wait()
        assert None not in self.brought, "one has met for the last time"
        shapes = {brought.shape for brought in self.brought}
        assert len(shapes) == 1, f"different histograms meet: {shapes}"
        total = sum(self.brought)
        self.barrier.wait()
        return total

    def end(self, rank: int) -> None:
        """Nobody meets once more."""
        self.brought[rank] = None
        self.barrier.wait()
        assert self.brought == [None] * len(self.brought), "one meets more often than another"


class Part(Batch):
    def __init__(self, meeting: Meeting, rank: int):
        self.meeting, self.rank = meeting, rank

    def across(self, sums):
        return self.meeting.sum(self.rank, sums)

    def processes(self):
        return len(self.meeting.brought)


def select_in_parts(select, ce: list[torch.Tensor], valid: list[torch.Tensor]) -> list:
    """What `select(ce, valid, scope)` keeps in each of several processes."""
    meeting, found = Meeting(len(ce)), [None] * len(ce)

    def run(rank):
        try:
            found[rank] = select(ce[rank], valid[rank], Part(meeting, rank))
            meeting.end(rank)
        except BaseException as error:
            meeting.barrier.abort()
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(ce))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [error for error in found if isinstance(error, BaseException)]
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return found


PARTS = {
    "alike": ("normal", "normal", "normal"),
    "NaN on one": ("normal", "NaN and more", "normal"),
    "infinities on one": ("infinite", "normal", "few distinct"),
    "crowded on one": ("mostly 0.3", "normal", "mostly zero"),
    "nothing but NaN on one": ("only NaN", "normal", "one bin"),
    "no pixel on one": ("no pixel", "normal", "all equal"),
    "ties everywhere": ("all equal", "all equal", "mostly 0.3"),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("many", [hardest_cpu.MANY, 1])
def test_several_processes_find_what_one_finds(monkeypatch, many, name, dtype):
    """Also where those with a pixel look by compiled loops, and one without does not."""
    monkeypatch.setattr(hardest_cpu, "MANY", many)
    ce = [SPREADS[spread]().to(dtype) for spread in PARTS[name]]
    valid = [torch.rand(part.shape) < bound for part, bound in zip(ce, (1.1, 0.8, 0.3), strict=True)]
    whole, whole_valid = (torch.cat([part.flatten() for part in parts]) for parts in (ce, valid))
    for k in (0, 1, 100, 1500, 2400, 10_000):
        expected = select_hardest_without_looking(whole, whole_valid, k)
        found = select_in_parts(
            lambda ce, valid, scope, k=k: select_hardest(ce, valid, k, scope=scope), ce, valid
        )
        assert torch.equal(torch.cat([part.share.flatten() for part in found]), expected.share), k
        assert all(part.count.item() == expected.count.item() for part in found), k
    for ohem in (Ohem(0.3, 5), Ohem(0.01, "1/4"), Ohem(0.3, 10_000)):
        expected = ohem(whole, whole_valid)
        found = select_in_parts(lambda ce, valid, scope, ohem=ohem: ohem(ce, valid, scope=scope), ce, valid)
        assert torch.equal(torch.cat([part.share.flatten() for part in found]), expected.share), ohem
        assert all(part.count.item() == expected.count.item() for part in found), ohem
