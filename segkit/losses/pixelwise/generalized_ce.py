"""`generalized_ce`: a cross-entropy that wrong labels pull at less, the more `q` is above 0."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import GeneralizedCrossEntropy, pixel_generalized
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import ClassWeights, Probability


@LOSSES.register("generalized_ce")
def generalized_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    q: Probability = 0.7,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Generalized cross-entropy, (1 - p(true class)^q) / q: the mean over valid pixels."""
    criterion = GeneralizedCrossEntropy(
        num_classes, ignore_index, q=q, class_weights=class_weights, backend=backend
    )
    return PixelLoss(criterion, All(), weighted_mean, name="generalized_ce", scope=scope)


def generalized_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    q: float = 0.7,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V a_t (1 - p_t^q) / q / sum_V a_t, as a 0-d tensor; a weight map multiplies both sums.

    `q` in (0, 1]; towards 0 it becomes cross-entropy, and 1 is the mean of 1 - p_t. After Zhang and Sabuncu 2018.
    Inputs and errors as for `pixel_generalized`.
    """
    values = pixel_generalized(
        logits,
        target,
        q=q,
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
