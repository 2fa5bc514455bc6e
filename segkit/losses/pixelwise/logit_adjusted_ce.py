"""`logit_adjusted_ce`: cross-entropy that makes up for rare classes by their logits and not by their weights."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import LogitAdjustedCrossEntropy, pixel_logit_adjusted
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassPriors, ClassWeights, NonNegativeFloat


@LOSSES.register("logit_adjusted_ce")
def logit_adjusted_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    priors: ClassPriors = "frequency",
    tau: NonNegativeFloat = 1.0,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy of logits + tau log(frequency of the class): the mean over valid pixels."""
    criterion = LogitAdjustedCrossEntropy(
        num_classes, ignore_index, priors=priors, tau=tau, class_weights=class_weights, backend=backend
    )
    return PixelLoss(criterion, All(), weighted_mean, name="logit_adjusted_ce", scope=scope)


def logit_adjusted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    priors: Tensor,
    tau: float = 1.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V a_t (-log softmax(z + tau log pi)_t) / sum_V a_t, as a 0-d tensor; a weight map multiplies both sums.

    `priors` pi (C,) > 0, in any unit: numbers of pixels will do. `tau` >= 0; 0 is cross-entropy. After Menon et al.
    2021. Inputs and errors as for `pixel_logit_adjusted`.
    """
    values = pixel_logit_adjusted(
        logits,
        target,
        priors=priors,
        tau=tau,
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
