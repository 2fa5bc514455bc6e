"""`ce`: cross-entropy over all valid pixels."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import CrossEntropy, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, Fractional


@LOSSES.register("ce")
def ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    class_weights: ClassWeights | None = None,
    label_smoothing: Fractional = 0.0,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy, the mean over valid pixels (weighted by class if asked)."""
    criterion = CrossEntropy(
        num_classes,
        ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        backend=backend,
    )
    return PixelLoss(criterion, All(), weighted_mean, name="ce", scope=scope)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V a_t ce / sum_V a_t, as a 0-d tensor; with a weight map m, sum_V m a_t ce / sum_V m a_t.

    Equal to `F.cross_entropy(logits, target, weight=a, ...)` in value and gradient, for logits at any stride;
    0 instead of NaN where nothing is valid. Inputs and errors as for `pixel_cross_entropy`.
    """
    values = pixel_cross_entropy(
        logits,
        target,
        ignore_index=ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
