"""`focal`: cross-entropy that counts less the more probable the true class is already."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import valid_mean
from segkit.losses.criteria import Focal, pixel_focal
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import NonNegativeFloat, Share


@LOSSES.register("focal")
def focal(
    num_classes: int,
    ignore_index: int = 255,
    *,
    gamma: NonNegativeFloat = 2.0,
    alpha: Share | list[NonNegativeFloat] | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Focal loss: cross-entropy x (1 - p(true class))^gamma, the mean over valid pixels."""
    return PixelLoss(
        Focal(num_classes, ignore_index, gamma=gamma, alpha=alpha, backend=backend),
        All(),
        valid_mean,
        name="focal",
        scope=scope,
    )


def focal_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    alpha: Tensor | None = None,
    ignore_index: int = 255,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V alpha_t (1 - p_t)^gamma ce / |V|, as a 0-d tensor; a weight map multiplies each pixel.

    `alpha` (C,) are class weights, which the mean does not divide by. `gamma=0` without alpha is cross-entropy. Inputs
    and errors as for `pixel_focal`.
    """
    values = pixel_focal(logits, target, ignore_index=ignore_index, gamma=gamma, alpha=alpha, backend=backend)
    return compose(values, All(), valid_mean, weight, scope=scope)
