"""`loss_max_pooling`: cross-entropy under the worst weights of its pixels that a norm allows."""

from functools import partial

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import mean_over, pixel_factor
from segkit.losses.criteria import CrossEntropy, PixelValues, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.powers import raise_to
from segkit.losses.scope import BATCH, Scope, ScopeName
from segkit.losses.selections import LossMax, Selected, pooled_pixels
from segkit.registry import LOSSES
from segkit.types import ClassWeights, NormOrder, Probability


@LOSSES.register("loss_max_pooling")
def loss_max_pooling(
    num_classes: int,
    ignore_index: int = 255,
    *,
    p: NormOrder = 1.7,
    ratio: Probability = 0.3,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    allow_inactive: bool = False,
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy under the worst pixel weights of a p-norm, spread over at least a ratio of the pixels."""
    return PixelLoss(
        CrossEntropy(num_classes, ignore_index, class_weights=class_weights, backend=backend),
        LossMax(p, ratio),
        partial(pooled_mean, p=p, ratio=ratio),
        scope=scope,
        name="loss_max_pooling",
        allow_inactive=allow_inactive,
    )


def pooled_mean(
    values: PixelValues,
    selected: Selected,
    weight: Tensor | None = None,
    *,
    p: float,
    ratio: float,
    scope: Scope = BATCH,
) -> Tensor:
    """tau sum(share x weight x value), tau = n^(-1/q) m^(-1/p): what the paper lets a pixel weigh at most."""
    n_valid = scope.sum(values.valid)  # (G, 1, ..., 1)
    pooled = pooled_pixels(n_valid, ratio)
    denominator = raise_to(n_valid.to(pooled.dtype), 1 - 1 / p) * raise_to(pooled, 1 / p)
    return mean_over(values, pixel_factor(values, selected, weight), denominator.to(values.ce.dtype), scope)


def max_pooled_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    p: float = 1.7,
    ratio: float = 0.3,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """max_w sum_V w ce over the pixel weights w >= 0 with ||w||_p <= n^(-1/q) and ||w||_inf <= n^(-1/q) m^(-1/p), as a
    0-d tensor; n = |V|, m = max(1, ratio n), 1 / p + 1 / q = 1.

    Uniform weights 1 / n are among them, so it is never below cross-entropy. The best weights have no gradient, and
    that of the maximum needs none. They are found from plain ce; class weights and a weight map multiply afterwards.
    `p` >= 1.05, `ratio` in (0, 1]. After Rota Bulo et al. 2017.
    """
    values = pixel_cross_entropy(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    reduction = partial(pooled_mean, p=p, ratio=ratio)
    return compose(values, LossMax(p, ratio), reduction, weight, scope=scope)
