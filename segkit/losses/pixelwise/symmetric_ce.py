"""`symmetric_ce`: cross-entropy and its reverse, which wrong labels pull at less."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import SymmetricCrossEntropy, pixel_symmetric
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, NegativeFloat, NonNegativeFloat


@LOSSES.register("symmetric_ce")
def symmetric_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    alpha: NonNegativeFloat = 1.0,
    beta: NonNegativeFloat = 1.0,
    log_zero: NegativeFloat = -4.0,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Symmetric cross-entropy, alpha ce - beta log_zero (1 - p(true class)): the mean over valid pixels."""
    criterion = SymmetricCrossEntropy(
        num_classes,
        ignore_index,
        alpha=alpha,
        beta=beta,
        log_zero=log_zero,
        class_weights=class_weights,
        backend=backend,
    )
    return PixelLoss(criterion, All(), weighted_mean, name="symmetric_ce", scope=scope)


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    log_zero: float = -4.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V a_t (alpha ce - beta log_zero (1 - p_t)) / sum_V a_t, as a 0-d tensor; a weight map multiplies both sums.

    `alpha` and `beta` >= 0, not both 0; `log_zero` < 0 stands for the logarithm of a label that is 0. After Wang et al.
    2019. Inputs and errors as for `pixel_symmetric`.
    """
    values = pixel_symmetric(
        logits,
        target,
        alpha=alpha,
        beta=beta,
        log_zero=log_zero,
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
