"""`active_boundary`: predicted borders move towards true ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.losses.common.distance import border_distances
from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.places import UNPROMISED
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria.inputs import check_shapes, read_inputs, show_shape
from segkit.losses.criteria.pixel_cross_entropy import values_of
from segkit.losses.criteria.values import Fused, PixelValues, check_channels, check_label_smoothing
from segkit.losses.kernels import borders_by_numba, numba_borders
from segkit.losses.kernels.labels import read_labels
from segkit.losses.kernels.reference import resize
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.losses.selections.hardest_cpu import kth_largest
from segkit.registry import LOSSES
from segkit.types import Fractional, PositiveFloat, Probability

#: Divergences that are no border, however few there are.
LEAST = 1e-5
#: Rows and columns to the eight neighbours of a pixel.
STEPS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
#: The name of the distances in a batch.
NAME = "border_distance"
_FIXED = "of two neighbours one has no gradient, as the paper has it"


@LOSSES.register("active_boundary")
def active_boundary(
    num_classes: int,
    ignore_index: int = 255,
    *,
    share: Probability = 0.01,
    label_smoothing: Fractional = 0.2,
    max_distance: PositiveFloat = 20.0,
    scope: ScopeName = "batch",
) -> PixelLoss:
    """Active boundary loss: predicted borders are pushed towards true ones; beside a cross-entropy."""
    criterion = ActiveBoundary(
        num_classes,
        ignore_index,
        share=share,
        label_smoothing=label_smoothing,
        max_distance=max_distance,
    )
    return PixelLoss(criterion, All(), weighted_mean, name="active_boundary", scope=scope)


def active_boundary_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    distance: Tensor | None = None,
    share: float = 0.01,
    label_smoothing: float = 0.2,
    max_distance: float = 20.0,
    ignore_index: int = 255,
    scope: ScopeName = "batch",
) -> Tensor:
    """sum_B m min(d, max_distance) / max_distance ce(direction) / sum_B m, as a 0-d tensor, over the pixels B near a
    predicted border that are on no true one: see `pixel_active_boundary`, also for inputs and errors. m is the weight
    map or 1. It is 0 where B is empty.

    After Wang et al. 2022 (Active boundary loss for semantic segmentation) and their code; what these leave open is
    said there.
    """
    values = pixel_active_boundary(
        logits,
        target,
        distance=distance,
        ignore_index=ignore_index,
        **check_options(share, label_smoothing, max_distance),
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)


class ActiveBoundary(nn.Module):
    """The push that each pixel at a predicted border gets; see `pixel_active_boundary` for the formula and options.

    Raises ValueError for an option out of its range. `label_maps` says how the distances to true borders come of the
    labels (H, W) of an image, so that they can be made while the image is loaded.
    """

    unpromised = UNPROMISED | {
        "finite_differences": _FIXED,
        "finite_differences_low": _FIXED,
        "connected": "it has a gradient near predicted borders that lie off a true one, and small images may have none",
    }

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        share: float = 0.01,
        label_smoothing: float = 0.2,
        max_distance: float = 20.0,
    ):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.options = check_options(share, label_smoothing, max_distance)
        self.label_maps: dict[str, Callable[[Tensor], Tensor]] = {
            NAME: partial(border_distances, ignore_index=ignore_index)
        }

    def forward(
        self, logits: Tensor, target: Tensor, maps: Mapping[str, Tensor] | None = None
    ) -> PixelValues:
        """Logits (N, C, h, w), target (N, H, W) or (N, C, H, W) -> values (N, H, W)."""
        check_channels(logits, self.num_classes)
        distance = None if maps is None else maps.get(NAME)
        return pixel_active_boundary(
            logits, target, distance=distance, ignore_index=self.ignore_index, **self.options
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        return "  ".join(f"{name} {value:g}" for name, value in self.options.items())


def check_options(share: float, label_smoothing: float, max_distance: float) -> dict[str, float]:
    """The options by name. Raises ValueError that names the one that is out of its range."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    check_label_smoothing(label_smoothing)
    if not 0 < max_distance < math.inf:
        raise ValueError(f"max_distance must be a number > 0, got {max_distance}")
    return {"share": share, "label_smoothing": label_smoothing, "max_distance": max_distance}


def pixel_active_boundary(
    logits: Tensor,
    target: Tensor,
    *,
    distance: Tensor | None = None,
    share: float = 0.01,
    label_smoothing: float = 0.2,
    max_distance: float = 20.0,
    ignore_index: int = 255,
) -> PixelValues:
    """min(d_i, max_distance) / max_distance x the cross-entropy of the direction in which pixel i ought to move, of the
    pixels near a predicted border; `class_weight` is 1 at these and 0 elsewhere.

    The direction that is predicted is softmax over the neighbours j of KL(p_j || p_i), p_j without gradient; the true
    one has 1 - label_smoothing for the neighbour nearest to a true border, and the rest in equal parts for the others.
    Near a predicted border is what lies within one pixel of those pixels of an image whose KL(p_i || p_j), summed over
    the pixels j below and to the right, is among the largest `share` of its valid pixels. A pixel on a true border
    moves nowhere, nor does any in an image without one.

    `distance` (N, H, W) are the d of `border_distances` (of soft labels, those of the largest); without it they are
    computed here. Neighbours that are ignored or outside of the image are no neighbours. Where several are equally near
    they share the target. Inputs and errors as for `pixel_cross_entropy`, but images only; ValueError also for
    distances of another shape.
    """
    if logits.ndim != 4:
        raise ValueError(f"borders are those of images, logits (N, C, h, w), got {show_shape(logits)}")
    check_shapes(logits, target)
    if borders_by_numba(logits, target):
        return _by_numba(logits, target, distance, share, label_smoothing, max_distance, ignore_index)
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    valid = inputs.valid
    if distance is None:
        distance = border_distances(torch.where(valid, inputs.labels.label, -1), ignore_index=-1)
    _check_distances(distance, valid)
    log_p = torch.where(valid.unsqueeze(1), inputs.log_p, 0.0)  # a NaN there would reach the gradient
    neighbours = _neighbours(valid, False)
    nearest = torch.where(neighbours, _neighbours(distance, torch.inf), torch.inf)  # (8, N, H, W)
    moves = nearest.amin(dim=0) < distance
    counted = near_predicted_border(log_p, valid, share=share) & moves & valid
    cross_entropy = _direction_cross_entropy(
        _divergences(log_p), neighbours, nearest == nearest.amin(dim=0), label_smoothing
    )
    factor = (distance.clamp(max=max_distance) / max_distance).to(log_p.dtype)
    values = values_of(inputs, ignore_index)
    # Times 0 and not dropped, so that a NaN is never hidden.
    value = torch.where(counted, factor * cross_entropy, 0.0) + 0 * values.ce
    return replace(values, value=value, class_weight=counted.to(log_p.dtype))


def _by_numba(
    logits: Tensor,
    target: Tensor,
    distance: Tensor | None,
    share: float,
    label_smoothing: float,
    max_distance: float,
    ignore_index: int,
) -> PixelValues:
    """The same by compiled loops, which compare with neighbours only the pixels that count."""
    if distance is None:
        distance = border_distances(target, ignore_index=ignore_index)
    _check_distances(distance, target)
    if logits.shape[2:] != target.shape[1:]:
        logits = resize(logits.float(), target.shape[1:])

    value, ce, wrong, valid, counted = numba_borders(
        logits,
        target,
        distance,
        partial(border_threshold, share=share, find=kth_largest),
        label_smoothing=label_smoothing,
        max_distance=max_distance,
        ignore_index=ignore_index,
    )
    pixels = {"value": value, "ce": ce, "valid": valid, "wrong": wrong, "num_classes": logits.shape[1]}
    return PixelValues.deferred(
        {"label": lambda: read_labels(target, ignore_index).label},
        class_weight=counted.to(value.dtype),
        fused=Fused("numba", target, ignore_index, unweighted=False),
        **pixels,
    )


def _check_distances(distance: Tensor, pixels: Tensor) -> None:
    if distance.shape != pixels.shape:
        raise ValueError(
            f"the distances have shape {show_shape(distance)} but must have {show_shape(pixels)}"
        )


@torch.no_grad()
def near_predicted_border(log_p: Tensor, valid: Tensor, *, share: float) -> Tensor:
    """Which pixels are near a predicted border (N, H, W), bool: those of the `share` of each image's valid pixels with
    the largest divergence, at least one (of those that tie at the end, none), and their neighbours."""
    divergence = torch.zeros_like(log_p[:, 0])  # (N, H, W)
    for here, there in (
        ((..., slice(-1), slice(None)), (..., slice(1, None), slice(None))),
        ((..., slice(-1)), (..., slice(1, None))),
    ):
        both = valid[here] & valid[there]
        pair = (log_p[here].exp() * (log_p[here] - log_p[there])).sum(dim=1)
        divergence[here] += torch.where(both, pair, 0.0)
    rows = divergence.flatten(1)  # (N, P)
    border = (rows > border_threshold(rows, valid.flatten(1), share)).view(valid.shape)
    return F.max_pool2d(border.to(log_p.dtype), 3, stride=1, padding=1) > 0


def border_threshold(
    rows: Tensor, valid: Tensor, share: float, find: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    """Above which a divergence is a predicted border (N, 1): the largest of each image (N, P) that is not among the
    `share` of the valid pixels. `find` the k-th largest, of each row for k (N, 1)."""
    most = min(max(1, int(share * rows.shape[1])) + 1, rows.shape[1])
    count = (valid.sum(dim=1, keepdim=True) * share).long().clamp(1, max(1, most - 1))  # how many may be
    place = count.clamp(max=most - 1)
    found = rows.topk(most).values.gather(1, place) if find is None else find(rows, place + 1)
    return found.clamp_min(LEAST)


def _divergences(log_p: Tensor) -> Tensor:
    """KL(p_j || p_i) of each pixel i and its eight neighbours j (8, N, H, W), with gradient to p_i alone; 0 where there
    is no neighbour."""
    fixed = log_p.detach()
    found = []
    for step in STEPS:
        here, there = _windows(step)
        divergence = (fixed[there].exp() * (fixed[there] - log_p[here])).sum(dim=1)
        found.append(_place(divergence, step, 0.0))
    return torch.stack(found)


def _direction_cross_entropy(scores: Tensor, neighbours: Tensor, best: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy (N, H, W) of the softmax of `scores` (8, N, H, W) over the `neighbours`, with a target that has
    1 - smoothing for the `best`, in equal parts, and the rest for the others."""
    log_direction = F.log_softmax(scores.masked_fill(~neighbours, -1e30), dim=0)
    best, others = best & neighbours, neighbours & ~best
    rest = torch.where(others.any(dim=0), smoothing, 0.0)
    target = best * ((1 - rest) / best.sum(dim=0).clamp_min(1)) + others * (
        rest / others.sum(dim=0).clamp_min(1)
    )
    return -torch.where(neighbours, target.to(scores.dtype) * log_direction, 0.0).sum(dim=0)


def _neighbours(values: Tensor, filling: float) -> Tensor:
    """What the eight neighbours of each pixel have of `values` (N, H, W): (8, N, H, W), `filling` outside."""
    return torch.stack([_place(values[_windows(step)[1]], step, filling) for step in STEPS])


def _windows(step: tuple[int, int]) -> tuple[tuple, tuple]:
    """Where the pixels are that have a neighbour in the direction of a step, and where these are, in (..., H, W)."""
    ahead = {-1: slice(None, -1), 0: slice(None), 1: slice(1, None)}
    y, x = step
    return (..., ahead[-y], ahead[-x]), (..., ahead[y], ahead[x])


def _place(values: Tensor, step: tuple[int, int], filling: float) -> Tensor:
    """Values of the pixels that have a neighbour in that direction, with `filling` for those that have none."""
    y, x = step
    return F.pad(values, [int(side) for side in (x == -1, x == 1, y == -1, y == 1)], value=filling)
