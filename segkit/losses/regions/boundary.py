"""`boundary`: how far from the true border of its class what was predicted lies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segkit.losses.common.distance import signed_distances
from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.places import UNPROMISED
from segkit.losses.common.reduction import valid_mean
from segkit.losses.common.region import check_only
from segkit.losses.criteria.comparison import compare_by_numba
from segkit.losses.criteria.inputs import Inputs, check_inputs, check_shapes, read_inputs, show_shape
from segkit.losses.criteria.pixel_cross_entropy import values_of
from segkit.losses.criteria.values import PixelValues, check_channels
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import NonNegativeInt

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@LOSSES.register("boundary")
def boundary(
    num_classes: int,
    ignore_index: int = 255,
    *,
    only: list[NonNegativeInt] | None = None,
    scope: ScopeName = "batch",
) -> PixelLoss:
    """Boundary loss: wrong probability x distance to the true border; beside a region loss, with rising weight."""
    return PixelLoss(
        SignedDistance(num_classes, ignore_index, only=check_only(only, num_classes)),
        All(),
        valid_mean,
        name="boundary",
        scope=scope,
    )


def boundary_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    distance: Tensor | None = None,
    only: list[int] | None = None,
    ignore_index: int = 255,
    scope: ScopeName = "batch",
) -> Tensor:
    """sum_V m sum_c (p_c - y_c) d_c / (K |V|), as a 0-d tensor: c one of the K classes in `only` or of all, d_c the
    signed distance to the border of class c, m the weight map or 1.

    It is 0 for a perfect prediction, and at least 0. `distance` (N, K, H, W) if they are there already; see
    `signed_distances`, also for what they are at the rim. Inputs and errors as for `pixel_signed_distance`. After
    Kervadec et al. 2019 (Boundary loss for highly unbalanced segmentation), with what they leave out as constant, the
    sum of y_c d_c.
    """
    values = pixel_signed_distance(
        logits, target, distance=distance, only=check_only(only, logits.shape[1]), ignore_index=ignore_index
    )
    return compose(values, All(), valid_mean, weight, scope=scope)


class SignedDistance(nn.Module):
    """The mean over classes of (p_c - y_c) d_c per pixel, d_c the signed distance to the border of class c.

    `only`: the ids of the classes that count, None for all. Raises ValueError for others than these are. The formula
    and what it takes are those of `pixel_signed_distance`. `label_maps` says how the distances come of the labels
    (H, W) of an image, so that they can be made while the image is loaded.
    """

    unpromised = UNPROMISED

    def __init__(self, num_classes: int, ignore_index: int = 255, *, only: Sequence[int] | None = None):
        super().__init__()
        self.num_classes, self.ignore_index, self.only = num_classes, ignore_index, only
        self.name = "_".join(map(str, ("distance", *(only or ()))))
        self.label_maps: dict[str, Callable[[Tensor], Tensor]] = {
            self.name: partial(
                signed_distances, num_classes=num_classes, ignore_index=ignore_index, only=only
            )
        }

    def forward(
        self, logits: Tensor, target: Tensor, maps: Mapping[str, Tensor] | None = None
    ) -> PixelValues:
        """Logits (N, C, h, w), target (N, H, W) or (N, C, H, W) -> values (N, H, W)."""
        check_channels(logits, self.num_classes)
        return pixel_signed_distance(
            logits,
            target,
            distance=None if maps is None else maps.get(self.name),
            only=self.only,
            ignore_index=self.ignore_index,
        )

    def describe(self) -> str:
        """The options that differ from the default, for one line on the console."""
        return "" if self.only is None else f"only {list(self.only)}"


def pixel_signed_distance(
    logits: Tensor,
    target: Tensor,
    *,
    distance: Tensor | None = None,
    only: Sequence[int] | None = None,
    ignore_index: int = 255,
) -> PixelValues:
    """sum_c (p_c - y_c) d_c / K of every pixel, c one of the K classes in `only` or of all, p = softmax(logits), y
    one-hot or soft labels.

    `distance` (N, K, H, W) are the d of `signed_distances` (of soft labels those of the largest); without it they are
    computed here. Inputs and errors as for `pixel_cross_entropy`, but images only; ValueError also for distances of
    another shape.
    """
    if logits.ndim != 4:
        raise ValueError(f"distances are those of images, logits (N, C, h, w), got {show_shape(logits)}")
    check_shapes(logits, target)
    count = logits.shape[1]
    if distance is None:
        labels = check_inputs(logits, target, ignore_index=ignore_index)
        ids = torch.where(labels.valid, labels.label, -1)
        distance = signed_distances(ids, num_classes=count, ignore_index=-1, only=only)
    size = target.shape[2:] if target.is_floating_point() else target.shape[1:]
    expected = (len(target), count if only is None else len(only), *size)
    if distance.shape != expected:
        raise ValueError(f"the distances have shape {show_shape(distance)} but must have {expected}")
    classes = range(count) if only is None else only
    maps = distance

    def make() -> "Criterion":
        from segkit.losses.kernels.cpu import criteria  # imports numba

        return criteria.distance(maps, [classes.index(c) if c in classes else -1 for c in range(count)])

    fused = compare_by_numba(logits, target, make, ignore_index=ignore_index)
    if fused is not None:
        return fused
    inputs = read_inputs(logits, target, ignore_index=ignore_index)
    value = torch.stack([_excess(inputs, each) * distance[:, k] for k, each in enumerate(classes)]).mean(
        dim=0
    )
    return replace(values_of(inputs, ignore_index), value=value)


def _excess(inputs: Inputs, class_id: int) -> Tensor:
    """How much more probable a class is than its label says (N, H, W), 0 at ignored pixels."""
    p = inputs.log_p[:, class_id].exp()
    y = inputs.target[:, class_id] if inputs.soft else (inputs.target == class_id).to(p.dtype)
    return torch.where(inputs.valid, p - y, 0.0)
