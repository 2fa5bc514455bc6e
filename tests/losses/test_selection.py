"""Which pixels are kept, and how much of each."""

import math
from fractions import Fraction

import pytest
import torch

from segkit.losses import All, LinearWarmUp, Ohem, TopK, TopShare
from segkit.losses.selections.hardest import find_boundary, select_hardest


def select(selection, ce, valid=None, iteration=None) -> tuple[list[float], int]:
    ce = torch.tensor([ce])
    valid = torch.ones_like(ce, dtype=torch.bool) if valid is None else torch.tensor([valid])
    selected = selection(ce, valid, iteration=iteration)  # whatever ce is at ignored pixels
    assert selected.share.shape == ce.shape and selected.count.shape == (1, 1)
    return selected.share[0].tolist(), selected.count.item()


def test_all_keeps_every_valid_pixel():
    assert select(All(), [1.0, 2.0, 3.0], [True, False, True]) == ([1, 0, 1], 2)


def test_top_share_counts_over_valid_pixels_only():
    ce = [5.0, 1.0, 4.0, 2.0, 3.0, 9.0]
    assert select(TopShare(0.5), ce) == ([1, 0, 1, 0, 0, 1], 3)
    assert select(TopShare(0.5), ce, [True, True, True, True, False, False]) == ([1, 0, 1, 0, 0, 0], 2)


@pytest.mark.parametrize("share", [0.15, 0.29, 0.57, 0.07, 1 / 3, 0.9999])
def test_k_is_what_python_computes(share):
    for n in (1, 7, 100, 1000):
        ce = torch.arange(n, dtype=torch.float32)
        assert TopShare(share)(ce, torch.ones(n, dtype=torch.bool)).count.item() == max(1, int(share * n))


def test_k_that_rounds_to_0_is_1():
    assert select(TopShare(0.01), [1.0, 3.0, 2.0]) == ([0, 1, 0], 1)


def test_pixels_that_tie_at_the_boundary_share_the_places_left():
    assert select(TopShare(0.5), [2.0, 1.0, 2.0, 7.0, 2.0, 0.0]) == (
        pytest.approx([2 / 3, 0, 2 / 3, 1, 2 / 3, 0]),
        3,
    )
    assert select(Ohem(0.01, 2), [0.0, 0.0, 0.0, 0.0]) == ([0.5, 0.5, 0.5, 0.5], 2)


def test_ignored_pixels_do_not_tie_with_valid_zeros():
    assert select(Ohem(0.5, 1), [0.0, 0.0, 0.0], [True, False, True]) == ([0.5, 0, 0.5], 1)


def test_ohem_keeps_all_hard_pixels_or_the_n_min_hardest():
    ce = [0.1, 0.2, 0.8, 0.9, 1.0, 0.3]
    half = math.exp(-0.5)  # the true-class probability of a pixel with ce 0.5
    assert select(Ohem(half, 1), ce) == ([0, 0, 1, 1, 1, 0], 3)
    assert select(Ohem(half, 3), ce) == ([0, 0, 1, 1, 1, 0], 3)
    assert select(Ohem(half, 4), ce) == ([0, 0, 1, 1, 1, 1], 4)
    assert select(Ohem(half, 100), ce) == ([1] * 6, 6)
    assert select(Ohem(half, 1), ce, [True, True, True, False, False, False]) == ([0, 0, 1, 0, 0, 0], 1)
    assert select(Ohem(half, 4), ce, [True, True, True, False, False, False]) == ([1, 1, 1, 0, 0, 0], 3)


def test_ohem_ties_among_hard_pixels_are_all_kept():
    assert select(Ohem(0.5, 2), [1.0, 1.0, 1.0, 1.0, 0.1]) == ([1, 1, 1, 1, 0], 4)


def test_a_thresh_of_1_keeps_every_pixel_that_is_not_perfect():
    assert select(Ohem(1.0, 1), [0.0, 1e-6, 2.0]) == ([0, 1, 1], 2)


@pytest.mark.parametrize("n_min", ["1/4", "25%", 0.25, Fraction(1, 4)], ids=str)
def test_n_min_may_be_a_share_of_the_valid_pixels(n_min):
    ce = [0.01 * i for i in range(20)]
    _, count = select(Ohem(0.1, n_min), ce)
    assert count == 5
    _, count = select(Ohem(0.1, n_min), ce, [i < 11 for i in range(20)])
    assert count == 2
    _, count = select(Ohem(0.1, n_min), ce, [i < 2 for i in range(20)])
    assert count == 1


def test_top_k_keeps_k_or_all():
    ce = [5.0, 1.0, 4.0, 2.0, 3.0, 9.0]
    assert select(TopK(2), ce) == ([1, 0, 0, 0, 0, 1], 2)
    assert select(TopK(100), ce) == ([1] * 6, 6)
    assert select(TopK(2), ce, [False, True, True, True, True, False]) == ([0, 0, 1, 0, 1, 0], 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_nan_is_never_among_the_hardest(sign):
    """Whatever its sign bit, which differs between processors."""
    nan = math.copysign(math.nan, sign)
    assert select(TopK(2), [nan, 3.0, 0.1, 2.0]) == ([0, 1, 0, 1], 2)
    assert select(TopK(4), [nan, 3.0, 0.0, nan]) == ([0, 1, 1, 0], 2)
    assert select(TopShare(0.3), [nan, nan, nan]) == ([0, 0, 0], 0)


def test_nothing_valid_selects_nothing():
    for selection in (All(), TopShare(0.5), TopK(3), TopShare(1.0), Ohem(0.7, 3), Ohem(0.7, "1/16")):
        assert select(selection, [1.0, 2.0], [False, False]) == ([0, 0], 0)


def test_shares_add_up_to_the_count():
    torch.manual_seed(0)
    for _ in range(50):
        n = int(torch.randint(1, 60, ()))
        ce, valid = torch.randint(0, 4, (n,)).float(), torch.rand(n) < 0.7
        k = torch.randint(1, 70, ())
        selected = select_hardest(ce * valid, valid, k)
        assert selected.count.item() == min(k.item(), int(valid.sum()))
        assert selected.share.sum().item() == pytest.approx(selected.count.item(), rel=1e-5)
        assert ((selected.share >= 0) & (selected.share <= 1)).all()
        assert (selected.share[~valid] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_boundary_is_what_sorting_finds(dtype):
    torch.manual_seed(0)
    spread = torch.cat([torch.randn(200).abs(), torch.rand(50) * 1e-40, torch.rand(50) * 1e30]).to(dtype)
    edges = torch.tensor([0.0, -0.0, 0.0, 1.0, 1.0, math.inf, 5e-324, 1.1e-38], dtype=dtype)
    for values in (spread, edges, torch.zeros(5, dtype=dtype), edges[:1]):
        ordered = values.sort(descending=True).values
        everything = torch.ones_like(values, dtype=torch.bool)
        for k in range(1, len(values) + 1):
            boundary, count, n_above, n_tied = find_boundary(values, everything, k)
            assert boundary == ordered[k - 1] and count == k
            assert n_above == (values > boundary).sum() and n_tied == (values == boundary).sum()


def test_infinite_loss_is_the_hardest():
    assert select(TopShare(0.3), [1.0, math.inf, 2.0]) == ([0, 1, 0], 1)


def test_warm_up():
    share = LinearWarmUp(0.2, 10, 20)
    assert [share(i) for i in (0, 9, 10)] == [1.0, 1.0, 1.0]
    assert share(15) == pytest.approx(0.6)
    assert share(19) == pytest.approx(0.28)
    assert [share(i) for i in (20, 21, 10**9)] == [0.2, 0.2, 0.2]
    step = LinearWarmUp(0.2, 10, 10)
    assert [step(i) for i in (9, 10, 11)] == [1.0, 0.2, 0.2]


def test_a_schedule_without_iteration_raises():
    with pytest.raises(
        TypeError, match=r"^share is a schedule and needs the iteration: pass iteration=\.\.\.$"
    ):
        select(TopShare(LinearWarmUp(0.2, 10, 20)), [1.0])


def test_a_schedule_that_leaves_its_range_raises():
    with pytest.raises(ValueError, match=r"^share must be in \(0, 1\], got 0.0 at iteration 3$"):
        select(TopShare(lambda iteration: 0.0), [1.0], iteration=3)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TopShare(0), "share must be in (0, 1], got 0"),
        (lambda: TopShare(1.5), "share must be in (0, 1], got 1.5"),
        (lambda: Ohem(0.0, 1), "thresh must be a probability in (0, 1], got 0.0"),
        (lambda: Ohem(1.01, 1), "thresh must be a probability in (0, 1], got 1.01"),
        (lambda: Ohem(math.nan, 1), "thresh must be a probability in (0, 1], got nan"),
        (
            lambda: Ohem(0.7, 0),
            "n_min must be a count of at least 1, or a share in (0, 1] such as 1/16 or 5%, got 0",
        ),
        (lambda: TopK(0), "k must be a number of pixels >= 1, got 0"),
        (lambda: TopK(2.5), "k must be a number of pixels >= 1, got 2.5"),
        (lambda: LinearWarmUp(0.0, 1, 2), "top_p must be in (0, 1], got 0.0"),
        (lambda: LinearWarmUp(0.5, 3, 2), "start_warm=3 is after end_warm=2; it must not be larger"),
        (lambda: LinearWarmUp(0.5, -3, 2), "start_warm must be a number of iterations >= 0, got -3 "),
        (lambda: LinearWarmUp(0.5, 3, "10%"), "end_warm must be a number of iterations >= 0, got '10%' "),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)
