"""What a loss reports of its pixels on a GPU, by Triton: sums of all of them in one pass, and what follows from these.

A program adds up many pixels and writes what it has down; a single one adds these up. So there are no atomics for
floats, and two runs are bitwise equal; the classes are added up with atomics, as integers. Operators of torch.library,
as in triton_cross_entropy.py; nothing waits for the device. Whoever imports this imports Triton.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from segkit.losses.kernels.triton_cross_entropy import launching_on

BLOCK = 1024  # pixels of one program at a time
PROGRAMS = 1024  # of one launch, at most; the second kernel reads what so many have written at once
WARPS = 4
FEWEST_BINS = 32
#: Adding and subtracting this rounds a float below 2^22 to a whole number, half to even as torch.round.
ROUNDER = tl.constexpr(2.0**23)

#: What a program writes down, and the head of the sums: the number of pixels is put in front of it there.
PARTS = 5
N_VALID, CE, KEPT, WRONG, SMALLEST = range(PARTS)
#: Entries of a report before the share of each class.
HEAD = 5


@triton.jit
def as_units(share, UNIT: tl.constexpr):
    """Shares in whole parts of 1 / UNIT."""
    return ((share * UNIT + ROUNDER) - ROUNDER).to(tl.int64)


@triton.jit(do_not_specialize=("ignore_index", "pixels", "C", "programs"))
def pixel_sums_kernel(
    ce,
    share,
    wrong,
    target,  # (P,) each
    parts,  # (PARTS, programs), written
    units,  # (C,), which are added to
    ignore_index,
    pixels,  # P
    C,
    programs,
    UNIT: tl.constexpr,
    BINS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    n_valid = tl.zeros([BLOCK], tl.int32)
    ce_sum = tl.zeros([BLOCK], tl.float32)
    kept_sum = tl.zeros([BLOCK], tl.float32)
    wrong_sum = tl.zeros([BLOCK], tl.float32)
    smallest = tl.full([BLOCK], float("inf"), tl.float32)
    n_whole = tl.zeros([BINS], tl.int32)
    in_parts = tl.zeros([BINS], tl.int64)
    for start in range(program * BLOCK, pixels, programs * BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = pixel < pixels
        label = tl.load(target + pixel, mask=inside, other=0)
        value = tl.load(ce + pixel, mask=inside, other=0.0)
        kept = tl.load(share + pixel, mask=inside, other=0.0)
        missed = tl.load(wrong + pixel, mask=inside, other=0).to(tl.int1)
        valid = inside & (label != ignore_index)
        n_valid += valid.to(tl.int32)
        ce_sum += value
        kept_sum += kept
        wrong_sum += tl.where(missed, kept, 0.0)
        candidate = tl.where(kept != 0, value, float("inf"))
        smallest = tl.where((candidate < smallest) | (candidate != candidate), candidate, smallest)

        known = valid & (label >= 0) & (label < C)
        label = label.to(tl.int32)
        n_whole += tl.histogram(label, BINS, mask=known & (kept == 1))
        part = known & (kept != 0) & (kept != 1)
        if tl.sum(part.to(tl.int32), axis=0) > 0:
            # Pixels that tie: of one group they all have the same share, and so are counted, too.
            most = tl.max(tl.where(part, kept, 0.0), axis=0)
            n_tied = tl.histogram(label, BINS, mask=part & (kept == most))
            in_parts += n_tied.to(tl.int64) * as_units(most, UNIT)
            others = part & (kept != most)
            tl.atomic_add(units + label, as_units(kept, UNIT), mask=others, sem="relaxed")
    bins = tl.arange(0, BINS)
    total = n_whole.to(tl.int64) * UNIT + in_parts
    tl.atomic_add(units + bins, total, mask=(total > 0) & (bins < C), sem="relaxed")

    nan = tl.sum((smallest != smallest).to(tl.int32), axis=0) > 0
    least = tl.min(tl.where(smallest == smallest, smallest, float("inf")), axis=0)
    tl.store(parts + program, tl.sum(n_valid, axis=0).to(tl.float64))
    tl.store(parts + programs + program, tl.sum(ce_sum.to(tl.float64), axis=0))
    tl.store(parts + 2 * programs + program, tl.sum(kept_sum.to(tl.float64), axis=0))
    tl.store(parts + 3 * programs + program, tl.sum(wrong_sum.to(tl.float64), axis=0))
    tl.store(parts + 4 * programs + program, tl.where(nan, float("nan"), least).to(tl.float64))


@triton.jit(do_not_specialize=("pixels", "C", "programs"))
def add_parts_kernel(
    parts,  # (4 + 1, programs)
    units,  # (C,)
    sums,  # (5 + C,), written
    smallest,  # 0-d, written
    pixels,
    C,
    programs,
    PROGRAMS: tl.constexpr,
    BINS: tl.constexpr,
):
    program = tl.arange(0, PROGRAMS)
    inside = program < programs
    tl.store(sums, pixels.to(tl.float64))
    for row in range(4):
        part = tl.load(parts + row * programs + program, mask=inside, other=0.0)
        tl.store(sums + 1 + row, tl.sum(part, axis=0))
    least = tl.load(parts + 4 * programs + program, mask=inside, other=float("inf"))
    nan = tl.sum((least != least).to(tl.int32), axis=0) > 0
    least = tl.min(tl.where(least == least, least, float("inf")), axis=0)
    tl.store(smallest, tl.where(nan, float("nan"), least).to(tl.float32))
    bins = tl.arange(0, BINS)
    of_class = tl.load(units + bins, mask=bins < C, other=0)
    tl.store(sums + 5 + bins, of_class.to(tl.float64), mask=bins < C)


@triton.jit(do_not_specialize=("C",))
def report_kernel(
    sums,  # (5 + C,)
    smallest,  # 0-d
    k,  # 0-d
    report,  # (5 + C,), written
    C,
    BINS: tl.constexpr,
):
    pixels = tl.load(sums)
    n_valid = tl.load(sums + 1)
    at_least_one = tl.maximum(n_valid, 1.0)
    tl.store(report, (tl.load(sums + 2) / at_least_one).to(tl.float32))
    tl.store(report + 1, (tl.load(k).to(tl.float64) / at_least_one).to(tl.float32))
    tl.store(report + 2, tl.exp(-tl.load(smallest).to(tl.float64)).to(tl.float32))
    tl.store(report + 3, (tl.load(sums + 4) / tl.maximum(tl.load(sums + 3), 1.0)).to(tl.float32))
    tl.store(report + 4, (1 - n_valid / pixels).to(tl.float32))
    bins = tl.arange(0, BINS)
    of_class = tl.load(sums + 5 + bins, mask=bins < C, other=0.0)
    total = tl.maximum(tl.sum(of_class, axis=0), 1.0)
    tl.store(report + 5 + bins, (of_class / total).to(tl.float32), mask=bins < C)


@torch.library.custom_op("segkit::pixel_sums", mutates_args=())
def pixel_sums(
    ce: Tensor, share: Tensor, wrong: Tensor, target: Tensor, ignore_index: int, num_classes: int, unit: int
) -> tuple[Tensor, Tensor]:
    """Sums over pixels, of which there are fewer than 2^30: `ce` and `share` fp32, `wrong` bool and `target` class ids,
    of one shape.

    In fp64 (5 + C,): how many there are, how many are valid, the sums of ce, of the share and of that of wrong ones,
    and the shares of each class, rounded to whole parts of 1 / `unit` and in these. And the smallest ce of which the
    share is not 0, fp32 0-d.
    """
    ce, share, wrong, target = (each.contiguous() for each in (ce, share, wrong, target))
    pixels = ce.numel()
    programs = min(triton.cdiv(pixels, BLOCK), PROGRAMS)
    parts = torch.empty(PARTS, programs, dtype=torch.float64, device=ce.device)
    units = torch.zeros(num_classes, dtype=torch.int64, device=ce.device)
    sums = torch.empty(HEAD + num_classes, dtype=torch.float64, device=ce.device)
    smallest = torch.empty((), dtype=torch.float32, device=ce.device)
    with launching_on(ce.device):
        pixel_sums_kernel[(programs,)](
            *(ce, share, wrong, target, parts, units, ignore_index, pixels, num_classes, programs),
            **sums_options(num_classes, unit),
        )
        add_parts_kernel[(1,)](
            *(parts, units, sums, smallest, pixels, num_classes, programs), **parts_options(num_classes)
        )
    return sums, smallest


@pixel_sums.register_fake
def _(
    ce: Tensor, share: Tensor, wrong: Tensor, target: Tensor, ignore_index: int, num_classes: int, unit: int
) -> tuple[Tensor, Tensor]:
    return ce.new_empty(HEAD + num_classes, dtype=torch.float64), ce.new_empty(())


@torch.library.custom_op("segkit::pixel_report", mutates_args=())
def pixel_report(sums: Tensor, smallest: Tensor, k: Tensor) -> Tensor:
    """fp32 (5 + C,) of sums as those of `pixel_sums` and `k` pixels kept, int64 0-d: mean ce, the kept fraction,
    exp(-smallest), the share of wrong ones among the kept, the fraction ignored, and the share of each class."""
    classes = len(sums) - HEAD
    report = torch.empty(len(sums), dtype=torch.float32, device=sums.device)
    with launching_on(sums.device):
        report_kernel[(1,)](
            sums.contiguous(), smallest, k.contiguous(), report, classes, **report_options(classes)
        )
    return report


@pixel_report.register_fake
def _(sums: Tensor, smallest: Tensor, k: Tensor) -> Tensor:
    return torch.empty_like(sums, dtype=torch.float32)


def try_known_case(device: torch.device) -> None:
    """Select among some pixels and sum them up. Raises whatever goes wrong, and RuntimeError where a result is not that
    of plain operations: kernels are taken by themselves only where they were seen to be right."""
    from segkit.losses.kernels.triton_select import find_boundary_triton, share_by_boundary

    classes, ignore_index, unit, k = 3, 255, 2**20, 1000
    number = torch.arange(5000, device=device)
    target = torch.where(number % 7 == 0, ignore_index, number % classes)
    valid, wrong = target != ignore_index, (number % 2 == 0) & (target != ignore_index)
    ce = (
        valid * (number // 4 * 997 % 1024) / 1024
    )  # four or more of each value; fp32 adds them up without rounding
    boundary = ce[valid].sort(descending=True).values[k - 1]
    n_above, n_tied = (ce > boundary).sum(), (ce == boundary).sum()
    part = (k - n_above) / n_tied
    share = torch.where(ce > boundary, 1.0, torch.where(ce == boundary, part, 0.0))
    counted = [valid, ce, share, share * wrong]
    units = [((share * unit).round() * (target == c)).double().sum() for c in range(classes)]
    head = [number.new_tensor(len(number)), *(each.double().sum() for each in counted)]
    expected = torch.stack([each.double() for each in (*head, *units, boundary)])

    found_share = share_by_boundary(ce[None], valid[None], *find_boundary_triton(ce[None], valid[None], k))
    sums, smallest = pixel_sums(ce, found_share[0], wrong, target, ignore_index, classes, unit)
    report = pixel_report(sums, smallest, number.new_tensor(k))
    expected = torch.cat([expected, torch.stack([ce.sum() / valid.sum(), k / valid.sum()])])
    found = torch.cat([sums, smallest[None], report[:2]]).double()
    if not torch.allclose(found, expected, rtol=1e-6, atol=0):
        raise RuntimeError(f"sums of pixels are {found.tolist()} instead of {expected.tolist()}")


def sums_options(classes: int, unit: int) -> dict[str, int]:
    """The compile-time options of `pixel_sums_kernel`."""
    return {"UNIT": unit, "BLOCK": BLOCK, **report_options(classes)}


def parts_options(classes: int) -> dict[str, int]:
    """The compile-time options of `add_parts_kernel`."""
    return {"PROGRAMS": PROGRAMS, **report_options(classes)}


def report_options(classes: int) -> dict[str, int]:
    """The compile-time options of `report_kernel`."""
    bins = max(FEWEST_BINS, triton.next_power_of_2(classes))
    return {"BINS": bins, "num_warps": WARPS, "enable_fp_fusion": True}
