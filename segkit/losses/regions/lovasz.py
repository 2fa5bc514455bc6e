"""`lovasz`: the Jaccard index of regions, extended to probabilities so that its steps become slopes."""

import torch
from torch import Tensor

from segkit.losses.common.reduction import read_weight
from segkit.losses.common.region import (
    Classes,
    RegionLoss,
    Regions,
    check_classes,
    choose_region_scope,
    mean_of_classes,
    read_regions,
    region_mean,
)
from segkit.losses.criteria import PixelValues, read_inputs
from segkit.losses.criteria.comparison import Comparison
from segkit.losses.criteria.inputs import check_shapes
from segkit.losses.kernels import lovasz_by_numba, numba_lovasz
from segkit.losses.kernels.labels import valid_pixels
from segkit.losses.kernels.reference import resize
from segkit.losses.scope import RegionScopeName, Scope, gather_pixels
from segkit.registry import LOSSES


@LOSSES.register("lovasz")
def lovasz(
    num_classes: int,
    ignore_index: int = 255,
    *,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
) -> RegionLoss:
    """Lovasz-Softmax: a convex surrogate of 1 - IoU, the mean over classes."""
    return LovaszLoss(num_classes, ignore_index, class_lovasz, classes=classes, scope=scope, name="lovasz")


class LovaszLoss(RegionLoss):
    """The registered loss: without maps of classes x pixels where the kernels can."""

    def evaluate(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, PixelValues]:
        given = {"scope": self.scope, "classes": self.classes, "ignore_index": self.criterion.ignore_index}
        return _extend_fused(logits, target, weight, **given) or super().evaluate(logits, target, weight)


def lovasz_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    classes: Classes = "present",
    scope: RegionScopeName = "batch",
    ignore_index: int = 255,
) -> Tensor:
    """The mean over classes of sum_i e_i (J_i - J_(i-1)), as a 0-d tensor: e = |y_c - p_c| of the valid pixels of the
    batch in falling order, and J_i = 1 - IoU of class c if the first i pixels were wrong and all others right.

    p = softmax(logits). With a weight map a pixel counts by its weight in the IoU. Pixels that tie share their slope,
    the true ones of the class first, so that the gradient does not depend on the order of the pixels. `classes`: those
    with a valid pixel ("present"), or "all". Inputs and errors as for `pixel_cross_entropy`, of soft labels one-hot
    ones. After Berman et al. 2018 (The Lovasz-Softmax loss).
    """
    chosen = choose_region_scope(scope)
    check_classes(classes)
    fused = _extend_fused(logits, target, weight, scope=chosen, classes=classes, ignore_index=ignore_index)
    if fused is not None:
        return fused[0]
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    return region_mean(class_lovasz, read_regions(inputs, weight, scope=chosen), classes=classes)


def _extend_fused(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    scope: Scope,
    classes: Classes,
    ignore_index: int,
) -> tuple[Tensor, PixelValues] | None:
    """The loss, 0-d, and plain cross-entropy of the pixels, by compiled loops; None where these do not run, or the
    pixels of several processes have one order."""
    learned = weight is not None and weight.requires_grad
    if learned or scope.processes() > 1 or not lovasz_by_numba(logits, target):
        return None
    check_shapes(logits, target)
    mass = None
    if weight is not None:
        mass = whole_masses(read_weight(weight, valid_pixels(target, ignore_index), torch.float32))
    resized = logits
    if logits.shape[2:] != target.shape[1:]:
        resized = resize(logits.float(), target.shape[1:])
    given = {"ignore_index": ignore_index, "absent": classes == "all"}
    losses, present, ce, wrong, valid = numba_lovasz(resized, target, mass, **given)
    compared = Comparison(target, ignore_index, logits.shape[1], None, ce, wrong, valid, None, "numba")
    return mean_of_classes(losses, present, classes), compared.values(ce)


def class_lovasz(regions: Regions) -> Tensor:
    """The loss of each class (C,)."""
    errors = (regions.y - regions.p).abs()  # (N, C, *spatial), 0 at ignored pixels
    per_class = zip(errors.unbind(1), regions.y.unbind(1), strict=True)
    weight = regions.weight.squeeze(1).reshape(-1)
    if regions.scope.processes() == 1:
        return torch.stack([_extend(error.reshape(-1), y.reshape(-1), weight) for error, y in per_class])
    # The order is that of the pixels of all processes, so each has to see them all: one class at a time, for memory.
    weight, own = gather_pixels(weight)
    per_class_of_all = (
        _gather(error.reshape(-1), y.reshape(-1), own, regions.scope) for error, y in per_class
    )
    return torch.stack([_extend(error, y, weight) for error, y in per_class_of_all])


def _gather(error: Tensor, y: Tensor, own: slice, scope: Scope) -> tuple[Tensor, Tensor]:
    """Errors and labels (P,) of one class of all processes; those of this one, at `own`, with their gradient times the
    number of processes, since gradients are averaged."""
    whole, _ = gather_pixels(error)
    own_error = error.detach() + scope.processes() * (error - error.detach())
    parts = (whole[: own.start], own_error, whole[own.stop :])
    return torch.cat(parts), gather_pixels(y > 0.5)[0].to(y.dtype)


def _extend(error: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Lovasz extension of 1 - IoU at `error` (P,), for a true region `y` (P,) of 0 and 1 and weights (P,)."""
    # Bits of non-negative floats order like integers; below them, one that puts true pixels first where errors tie.
    bits = error.detach().view(torch.int64 if error.dtype == torch.float64 else torch.int32).long()
    true = y > 0.5
    key, order = ((bits << 1) | true).sort(descending=True)
    return (error[order] * slopes(key, true[order], weight[order])).sum()


@torch.no_grad()
def slopes(key: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """What each pixel (P,), in order of falling error, adds to 1 - IoU; pixels with the same key add in proportion to
    their weights."""
    mass = whole_masses(weight)
    inside, outside = torch.where(true, mass, 0).cumsum(0), torch.where(true, 0, mass).cumsum(0)
    # In fp64, because neighbours on a curve of millions of pixels are subtracted; MPS has only fp32.
    double = torch.float32 if weight.device.type == "mps" else torch.float64
    union = (inside[-1] + outside).to(double)
    jaccard = torch.where(union > 0, 1 - (inside[-1] - inside) / union.clamp_min(1), 0.0)

    place = torch.arange(len(key), device=key.device)
    changes = key[1:] != key[:-1]
    one = torch.ones(1, dtype=torch.bool, device=key.device)
    first = torch.where(torch.cat([one, changes]), place, 0).cummax(0).values  # of the pixels that tie
    last = torch.where(torch.cat([changes, one]), place, len(key)).flip(0).cummin(0).values.flip(0)

    def rise(curve: Tensor) -> Tensor:
        return curve[last] - torch.where(first > 0, curve[first - 1], 0)

    return (rise(jaccard) * mass / rise(inside + outside).clamp_min(1)).to(weight.dtype)


def whole_masses(weight: Tensor) -> Tensor:
    """Weights in units of a 2^30th of the largest (or a little less), as int64: sums of integers have no order."""
    largest = weight.amax().clamp_min(torch.finfo(weight.dtype).tiny)
    return (weight * torch.exp2(30 - largest.log2().ceil())).round().long()
