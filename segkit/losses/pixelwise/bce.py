"""`bce`: binary cross-entropy of one logit, over all valid pixels."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import BinaryCrossEntropy, pixel_binary_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, Fractional


@LOSSES.register("bce")
def bce(
    num_classes: int = 2,
    ignore_index: int = 255,
    *,
    class_weights: ClassWeights | None = None,
    label_smoothing: Fractional = 0.0,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Binary cross-entropy of one logit, for data of two classes: the mean over valid pixels."""
    criterion = BinaryCrossEntropy(
        num_classes,
        ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        backend=backend,
    )
    return PixelLoss(criterion, All(), weighted_mean, name="bce", scope=scope)


def binary_cross_entropy(
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
    """sum_V a_t bce / sum_V a_t of logits z (N, 1, ...), as a 0-d tensor, bce = -log sigmoid(z) where the target is
    1 and -log sigmoid(-z) where it is 0.

    Equal to `F.binary_cross_entropy_with_logits` over the valid pixels, and to the cross-entropy of two logits
    whose difference is z. Inputs and errors as for `pixel_binary_cross_entropy`.
    """
    values = pixel_binary_cross_entropy(
        logits,
        target,
        ignore_index=ignore_index,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
