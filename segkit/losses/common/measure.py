"""What every loss reports of an update, as tensors that are not read off the device."""

import torch
from torch import Tensor

from segkit.losses.criteria import PixelValues
from segkit.losses.criteria.values import Fused
from segkit.losses.scope import BATCH, Scope, count_true
from segkit.losses.selections import Selected

#: Shares of pixels are summed per class in units of this, as integers, so that the sum has no order.
UNIT = 2**20
#: Triton's kernel counts pixels in int32, and steps beyond the last of them.
MOST_PIXELS = 2**30


@torch.no_grad()
def measure(values: PixelValues, selected: Selected, *, scope: Scope = BATCH) -> dict[str, Tensor | float]:
    """Values to log: 0-d tensors, and one of shape (C,). Of the pixels of all processes, except in scope `rank`.

    `ce`: mean plain cross-entropy over the valid pixels. `k`: pixels kept. `kept_fraction`: of the valid
    ones. `threshold`: probability of the true class at the boundary, exp(-smallest kept ce). `kept_wrong`: share of
    the kept pixels of which another class is more probable than the true one. `kept_class` (C,): share of the kept
    pixels that are of each class. `ignored_fraction`: of all pixels. Where nothing is valid the others are 0.
    """
    k = scope.sum_groups(selected.count)
    if values.fused is not None and values.fused.backend == "triton" and values.ce.numel() < MOST_PIXELS:
        return {"k": k, **_report_by_triton(values, values.fused, selected.share, k, scope)}
    ce, double = values.ce, torch.float32 if values.ce.device.type == "mps" else torch.float64
    sums, per_class, smallest = _sum_fused(values, selected.share) or _sum_pixels(values, selected.share)
    pixels = torch.full((), values.valid.numel(), dtype=double, device=ce.device)
    sums = torch.cat([torch.stack([pixels, *(value.to(double) for value in sums)]), per_class.to(double)])
    (pixels, n_valid, ce_sum, n_kept, n_wrong), per_class = scope.total(sums).tensor_split([5])
    at_least_one = n_valid.clamp_min(1)
    smallest_kept = scope.smallest(smallest)
    report = {
        "ce": ce_sum / at_least_one,
        "kept_fraction": k / at_least_one,
        "threshold": torch.exp(-smallest_kept),
        "kept_wrong": n_wrong / n_kept.clamp_min(1),
        "kept_class": per_class / per_class.sum().clamp_min(1),
        "ignored_fraction": 1 - n_valid / pixels,
    }
    return {"k": k, **{name: value.to(ce.dtype) for name, value in report.items()}}


#: The number of valid pixels and the sums of ce, of the share, and of that of wrong pixels, all 0-d; the shares of each
#: class in `UNIT` (C,); and the smallest ce of a kept pixel, 0-d.
Sums = tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]


def _sum_pixels(values: PixelValues, share: Tensor) -> Sums:
    per_class = _sum_classes((share * UNIT).round_().long(), values.label, values.num_classes)
    n_valid = count_true(values.valid.reshape(1, -1)).sum()
    sums = n_valid, values.ce.sum(), share.sum(), (share * values.wrong).sum()
    return sums, per_class, values.ce.masked_fill(share == 0, torch.inf).amin()


def _sum_fused(values: PixelValues, share: Tensor) -> Sums | None:
    """The same in one pass, if the backend `numba` has computed the values."""
    if values.fused is None or values.fused.backend != "numba":
        return None
    from segkit.losses.kernels.cpu.pixel_sums import sum_pixels  # imports numba

    _, target, ignore_index, _ = values.fused
    n_valid, ce, kept, wrong, per_class, smallest = sum_pixels(
        values.ce,
        share,
        values.wrong,
        target,
        ignore_index=ignore_index,
        num_classes=values.num_classes,
        unit=UNIT,
    )
    return (n_valid, ce, kept, wrong), per_class, smallest.to(values.ce.dtype)


def _report_by_triton(
    values: PixelValues, fused: Fused, share: Tensor, k: Tensor, scope: Scope
) -> dict[str, Tensor]:
    """The report but for `k`, in few launches: of small operations each takes the host longer than the GPU."""
    from segkit.losses.kernels.triton_sums import HEAD, pixel_report, pixel_sums  # imports Triton

    _, target, ignore_index, _ = fused
    sums, smallest = pixel_sums(
        values.ce, share, values.wrong, target, ignore_index, values.num_classes, UNIT
    )
    report = pixel_report(scope.total(sums), scope.smallest(smallest), k)
    head, kept_class = report.tensor_split([HEAD])
    names = ("ce", "kept_fraction", "threshold", "kept_wrong", "ignored_fraction")
    return {**dict(zip(names, head.unbind(), strict=True)), "kept_class": kept_class}


def _sum_classes(units: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Sums of `units` (..., W) int64 by label: (C,)."""
    label, units = label.reshape(-1, label.shape[-1]), units.reshape(-1, label.shape[-1])  # (rows, W)
    by_column = label.device.type != "cpu" and len(label) >= label.shape[1] // 64
    return sum_lines(units, label, num_classes, by_column=by_column).sum(dim=1)


def sum_lines(units: Tensor, label: Tensor, num_classes: int, *, by_column: bool) -> Tensor:
    """Sums of `units` (rows, W) int64 by label for each row, or each column: (C, rows or W).

    Columns suit a GPU, where additions to one place wait for each other: pixels side by side are of one class mostly.
    """
    shape = (num_classes, label.shape[1]) if by_column else (len(label), num_classes)
    sums = torch.zeros(shape, dtype=torch.int64, device=label.device)
    sums.scatter_add_(0 if by_column else 1, label, units)
    return sums if by_column else sums.t()
