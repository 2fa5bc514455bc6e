"""The k-th largest loss by Triton: equal in every bit to the plain way, whatever the losses are."""

import math

import pytest
import torch

from segkit.losses.scope import BATCH, Image
from segkit.losses.selections.hardest import find_boundary
from segkit.registry import LOSSES as LOSSES_BY_NAME
from tests.losses.cases import make_batch
from tests.losses.triton_cases import DEVICE, INTERPRET, import_kernels

import_kernels()

from segkit.losses.kernels import triton_radix, triton_select  # noqa: E402
from segkit.losses.kernels.triton_select import find_boundary_triton  # noqa: E402


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    for name, value in INTERPRET.items():
        monkeypatch.setenv(name, value)


TINY = torch.finfo(torch.float32).tiny


def draw(count, seed=0):
    return -torch.rand(count, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-6).log()


#: name: losses of one group
LOSSES = {
    "random": draw(1500),
    "one": torch.tensor([0.25]),
    "a block": draw(1024),
    "a block and one": draw(1025),
    "all equal": torch.full((1100,), 0.5),
    "zeros": torch.zeros(1030),
    "both zeros": torch.tensor([0.0, -0.0] * 9),
    "99 % zeros": draw(1200) * (torch.arange(1200) % 100 == 7),
    "ties": (4 * draw(1300)).round() / 4,
    "neighbours": torch.arange(300, dtype=torch.int32).add(0x3F7FFF80).view(torch.float32),
    "subnormal": torch.cat([torch.arange(0, 400) * 1e-44, torch.tensor([TINY, TINY / 2, 1e-45])]),
    "infinite": torch.tensor([math.inf, 1.0, math.inf, 0.0, 3.4028235e38]),
    "spread": torch.cat([draw(300) * 1e30, draw(300), draw(300) * 1e-30, draw(300) * 1e-42]),
}


def assert_equal_to_plain(ce, ranked, k, **options):
    """Value for value and dtype for dtype; `ce` is (G, P)."""
    expected = find_boundary(ce, ranked, k if isinstance(k, int) else k[:, None], scope=Image())
    given = (tensor.to(DEVICE) if isinstance(tensor, torch.Tensor) else tensor for tensor in (ce, ranked, k))
    found = find_boundary_triton(*given, **options)
    names = ("boundary", "k", "n_above", "n_tied")
    for name, value, other in zip(names, found, expected, strict=True):
        assert value.shape == ce.shape[:1] and value.dtype == other.dtype, name
        bits = (value.cpu(), other.flatten())
        if name == "boundary":
            bits = tuple(part.view(torch.int32) for part in bits)  # of which NaN and -0.0 have their own
        assert torch.equal(*bits), f"{name}: {value.tolist()} for {other.flatten().tolist()}, k {k}"


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_boundary_of_the_plain_way(name):
    ce = LOSSES[name][None]
    ranked = torch.rand(ce.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    for k in (1, 1 + ce.shape[1] // 3, 10**9):
        assert_equal_to_plain(ce, ranked, k)


def test_every_k_of_few_losses():
    ce = torch.tensor([[0.0, -0.0, 1e-45, TINY, 1.0, 1.0, 1.0000001, math.inf, math.inf]])
    for k in range(ce.shape[1] + 2):
        assert_equal_to_plain(ce, torch.ones_like(ce, dtype=torch.bool), k)


def test_what_is_not_ranked_does_not_matter():
    ce = draw(50)[None]
    ranked = torch.arange(50)[None] % 3 > 0
    for other in (math.nan, -math.nan, math.inf):
        assert_equal_to_plain(ce.masked_fill(~ranked, other), ranked, 9)
    assert_equal_to_plain(ce, torch.zeros_like(ranked), 9)


def test_groups_are_on_their_own_and_have_their_own_k():
    parts = [name for name in LOSSES if len(LOSSES[name]) >= 300]
    ce = torch.stack([LOSSES[name][:300] for name in parts])
    ranked = torch.rand(ce.shape, generator=torch.Generator().manual_seed(2)) < 0.7
    ranked[1] = False
    k = [0, 5, 300, 10**6, 1, 17, 200, 33, 90, 2]
    for dtype in (torch.int64, torch.int32):
        assert_equal_to_plain(ce, ranked, torch.tensor(k, dtype=dtype))
    assert_equal_to_plain(ce, ranked, 20)


def test_more_groups_than_programs_and_more_pixels_than_programs(monkeypatch):
    ce = torch.stack([draw(2500, seed) for seed in range(3)])
    for programs in (1, 2, 4):
        monkeypatch.setattr(triton_radix, "PROGRAMS", programs)
        assert_equal_to_plain(ce, ce > 0.1, 300)


def test_any_strides():
    ce, ranked = draw(600).view(300, 2).T, torch.rand(300, 2).T < 0.9
    assert_equal_to_plain(ce, ranked, 11)
    assert_equal_to_plain(ce[:, ::2], ranked[:, ::2], 11)


def test_processes_together_find_what_one_that_has_all_finds():
    """The histograms of two processes are added between the digits."""
    halves = draw(700).view(2, 1, 350).to(DEVICE)
    ranked = halves > 0.05
    for k in (1, 80, 700):
        expected = find_boundary_triton(halves.view(1, -1), ranked.view(1, -1), k)
        results = run_in_step(halves, ranked, k)
        for result in results:
            for value, other in zip(result, expected, strict=True):
                assert torch.equal(value, other)


def run_in_step(parts, ranked, k):
    """What each process finds, whose part of the pixels is one of `parts`. The sum over processes needs all histograms
    of the same digit, which the sums of earlier digits decide: so they are found digit by digit, from the start."""
    sums = []
    for _ in range(triton_select.N_DIGITS):
        mine = [[] for _ in parts]
        for part, keep, seen in zip(parts, ranked, mine, strict=True):

            def across(counts, seen=seen):
                seen.append(counts)
                return sums[len(seen) - 1] if len(seen) <= len(sums) else counts

            find_boundary_triton(part, keep, k, across=across)
        sums.append(sum(seen[len(sums)] for seen in mine))
    given = [iter(sums) for _ in parts]
    return [
        find_boundary_triton(part, keep, k, across=lambda counts, turn=turn: next(turn))
        for part, keep, turn in zip(parts, ranked, given, strict=True)
    ]


def test_one_process_that_adds_up_is_one_that_does_not():
    ce = torch.stack([LOSSES["random"], draw(1500, 3)])
    assert_equal_to_plain(ce, ce > 0.2, torch.tensor([100, 2000]), across=lambda counts: counts)


def test_two_runs_are_equal_in_every_bit():
    ce = draw(5000)[None].to(DEVICE)
    first, second = (find_boundary_triton(ce, ce > 0.1, 500) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_operators_keep_the_promises_of_torch_library():
    ce, k = draw(40).view(2, 20).to(DEVICE), torch.tensor([3, 5]).to(DEVICE)
    ranked = ce > 0.1
    state = triton_radix.start_state(k)
    operators = torch.ops.segkit
    counts = operators.count_digit(ce, ranked, state, 0)
    torch.library.opcheck(operators.find_boundary.default, (ce, ranked, k))
    torch.library.opcheck(operators.count_digit.default, (ce, ranked, state, 1))
    torch.library.opcheck(operators.choose_digit.default, (counts, state, 0))


def test_the_constants_are_those_of_the_kernels():
    assert len(triton_radix.DIGITS) == triton_select.N_DIGITS and triton_radix.BINS == triton_select.BINS
    assert triton_radix.ROWS == triton_select.STATE_ROWS
    bits = [shift + width for shift, width in triton_radix.DIGITS]
    assert bits == [31, *(shift for shift, _ in triton_radix.DIGITS[:-1])]


@pytest.mark.parametrize("across", [None, lambda counts: counts * 1], ids=["alone", "added up"])
def test_compile_keeps_a_full_graph_and_a_moving_k_needs_no_other(across):
    def keep(ce, k):
        ranked = ce == ce
        return find_boundary_triton(ce * 2, ranked, k.clamp_min(1), across=across)

    ce, torch_k = torch.stack([draw(60), draw(60, 4)]).to(DEVICE), torch.tensor([5, 40]).to(DEVICE)
    compiled = torch.compile(keep, backend="aot_eager", fullgraph=True)
    try:
        for k in (torch_k, torch_k + 1, 0 * torch_k, 100 * torch_k):
            for value, other in zip(compiled(ce, k), keep(ce, k), strict=True):
                assert torch.equal(value, other)
            with torch._dynamo.config.patch(error_on_recompile=True):
                compiled(ce, k + 3)
    finally:
        torch.compiler.reset()


def test_no_gradient_passes():
    ce = draw(30)[None].to(DEVICE).requires_grad_()
    assert not any(value.requires_grad for value in find_boundary_triton(ce, ce > 0, 3))


ONE = torch.zeros(1, 4)
YES = torch.ones(1, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("ce", "ranked", "k", "message"),
    [
        (ONE.double(), YES, 1, "the Triton selection takes fp32 ce (G, P), got torch.float64 (1, 4)"),
        (ONE[0], YES, 1, "the Triton selection takes fp32 ce (G, P), got torch.float32 (4,)"),
        (ONE[:, :0], YES, 1, "the Triton selection takes fp32 ce (G, P), got torch.float32 (1, 0)"),
        (ONE, YES[:, :2], 1, "ranked must be bool (1, 4), got torch.bool (1, 2)"),
        (ONE, YES.int(), 1, "ranked must be bool (1, 4), got torch.int32 (1, 4)"),
        (ONE, YES, torch.tensor([[1]]), "k must be integers (1,), got torch.int64 (1, 1)"),
        (ONE, YES, torch.tensor([1.0]), "k must be integers (1,), got torch.float32 (1,)"),
    ],
)
def test_what_does_not_fit(ce, ranked, k, message):
    given = (tensor.to(DEVICE) if isinstance(tensor, torch.Tensor) else tensor for tensor in (ce, ranked, k))
    with pytest.raises(ValueError) as error:
        find_boundary_triton(*given)
    assert str(error.value) == message


def test_too_many_pixels_and_other_devices():
    with pytest.raises(
        ValueError, match=r"^the Triton selection takes up to 1,073,741,824 pixels of a group, got"
    ):
        find_boundary_triton(
            torch.zeros(1, 1, device=DEVICE).expand(1, 2**30),
            torch.zeros(1, 1, dtype=bool).expand(1, 2**30),
            1,
        )
    with pytest.raises(ValueError, match=rf"^ranked is on meta but ce on {DEVICE}"):
        find_boundary_triton(ONE.to(DEVICE), YES.to("meta"), 1)


def test_without_the_interpreter_it_needs_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        ValueError, match=r"^Triton needs a CUDA device, these logits are on cpu -> backend: auto$"
    ):
        find_boundary_triton(ONE, YES, 1)


def test_the_batch_as_one_group():
    """As the scope `batch` calls it: all images in a row."""
    ce = draw(200).view(2, 10, 10)
    ranked = ce > 0.1
    expected = find_boundary(ce, ranked, 25, scope=BATCH)
    found = find_boundary_triton(BATCH.rows(ce).to(DEVICE), BATCH.rows(ranked).to(DEVICE), 25)
    for value, other in zip(found, expected, strict=True):
        assert torch.equal(value.cpu(), other.flatten())


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize(
    "name, options",
    [
        ("ohem_ce", {"thresh": 0.01, "n_min": "1/2"}),
        pytest.param("bootstrapped_ce", {"top_p": 0.3}, marks=pytest.mark.heavy),
    ],
)
def test_a_loss_with_backend_triton_is_the_same_loss(name, options, scope, monkeypatch):
    """And it looks for the boundary with Triton, by way of its scope."""
    batch, calls = make_batch((2, 4, 12, 10), ignored=True), []  # without pixels that tie but for rounding
    find = triton_select.find_boundary_triton
    monkeypatch.setattr(
        triton_select, "find_boundary_triton", lambda *given, **more: calls.append(1) or find(*given, **more)
    )
    found = []
    for backend in ("reference", "triton"):
        loss = LOSSES_BY_NAME.get(name)(
            4, 255, allow_inactive=True, scope=scope, backend=backend, **options
        ).to(DEVICE)
        logits = batch.logits.detach().to(DEVICE).requires_grad_()
        target = batch.target.to(DEVICE)
        value, _ = loss(logits, target, iteration=10**6)
        value.backward()
        kept = loss.pixels(logits, target, iteration=10**6).kept
        found.append((value.detach(), logits.grad, kept))
        assert len(calls) == (2 if backend == "triton" else 0)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
