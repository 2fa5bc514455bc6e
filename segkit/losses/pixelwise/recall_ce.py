"""`recall_ce`: cross-entropy in which a class counts by the share of its pixels that the network misses."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import recall_mean
from segkit.losses.criteria import CrossEntropy, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights


@LOSSES.register("recall_ce")
def recall_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy x (1 - recall of the class in the batch): the mean over valid pixels."""
    criterion = CrossEntropy(num_classes, ignore_index, class_weights=class_weights, backend=backend)
    return PixelLoss(criterion, All(), recall_mean, name="recall_ce", scope=scope)


def recall_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V m a_t (1 - R_t) ce / |V|, as a 0-d tensor, m a weight map and a class weights, 1 without.

    R_c is the share of the pixels of class c, among those that the `scope` averages, of which no other class is more
    probable; it has no gradient. A class that is found entirely adds nothing. After Tian et al. 2022. Inputs and errors
    as for `pixel_cross_entropy`.
    """
    values = pixel_cross_entropy(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    return compose(values, All(), recall_mean, weight, scope=scope)
