"""`weighted_mask_ce`: cross-entropy times a weight map, one number per pixel."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import valid_mean, weighted_mean
from segkit.losses.criteria import CrossEntropy, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights

NORMALIZATIONS: dict[str, Callable[..., Tensor]] = {"pixels": valid_mean, "weights": weighted_mean}


@LOSSES.register("weighted_mask_ce")
def weighted_mask_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    normalize: Literal["pixels", "weights"] = "pixels",
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy times a weight map per pixel; needs data.weight_map."""
    return PixelLoss(
        CrossEntropy(num_classes, ignore_index, class_weights=class_weights, backend=backend),
        All(),
        choose_normalization(normalize),
        scope=scope,
        name="weighted_mask_ce",
        details=f"normalize {normalize}",
        needs_weight=True,
    )


def weighted_mask_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    normalize: Literal["pixels", "weights"] = "pixels",
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V m ce / |V| (`normalize="pixels"`) or sum_V m ce / sum_V m (`"weights"`), as a 0-d tensor.

    `weight` m is (N, *spatial), >= 0; class weights multiply m. After the weighted loss of U-Net (Ronneberger
    et al. 2015). In `pixels` mode a map of 0.1 everywhere gives 0.1 x cross-entropy; the map's scale
    then acts like a learning rate, which `weights` removes.
    """
    values = pixel_cross_entropy(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    return compose(values, All(), choose_normalization(normalize), weight, scope=scope)


def choose_normalization(normalize: str) -> Callable[..., Tensor]:
    """The reduction of that name. Raises ValueError for any other word."""
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {normalize!r}")
    return NORMALIZATIONS[normalize]
