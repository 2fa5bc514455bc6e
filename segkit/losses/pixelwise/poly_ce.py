"""`poly_ce`: cross-entropy and epsilon times the probability that the true class lacks."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import weighted_mean
from segkit.losses.criteria import PolyCrossEntropy, pixel_poly
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import All
from segkit.registry import LOSSES
from segkit.types import AtLeastMinusOne, ClassWeights


@LOSSES.register("poly_ce")
def poly_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    epsilon: AtLeastMinusOne = 1.0,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy + epsilon (1 - p(true class)), the mean over valid pixels."""
    criterion = PolyCrossEntropy(
        num_classes, ignore_index, epsilon=epsilon, class_weights=class_weights, backend=backend
    )
    return PixelLoss(criterion, All(), weighted_mean, name="poly_ce", scope=scope)


def poly_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    epsilon: float = 1.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """sum_V a_t (ce + epsilon (1 - p_t)) / sum_V a_t, as a 0-d tensor; a weight map multiplies both sums.

    `epsilon` >= -1; 0 is cross-entropy. Poly-1 of Leng et al. 2022. Inputs and errors as for `pixel_poly`.
    """
    values = pixel_poly(
        logits,
        target,
        epsilon=epsilon,
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )
    return compose(values, All(), weighted_mean, weight, scope=scope)
