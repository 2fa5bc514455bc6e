"""`ohem_ce`: cross-entropy over pixels whose true class is improbable (online hard example mining)."""

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import selected_mean
from segkit.losses.criteria import CrossEntropy, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import Ohem
from segkit.registry import LOSSES
from segkit.types import ClassWeights, Count, Probability


@LOSSES.register("ohem_ce")
def ohem_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    thresh: Probability = 0.7,
    n_min: Count = "1/16",
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    allow_inactive: bool = False,
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy over the pixels with p(true class) < thresh, at least the n_min hardest."""
    return PixelLoss(
        CrossEntropy(num_classes, ignore_index, class_weights=class_weights, backend=backend),
        Ohem(thresh, n_min),
        selected_mean,
        scope=scope,
        name="ohem_ce",
        allow_inactive=allow_inactive,
    )


def ohem_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    thresh: float = 0.7,
    n_min: int | float | str = "1/16",
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """The mean ce over hard = {p in V: ce_p > -log(thresh)} if |hard| > n_min, as a 0-d tensor; else over the
    min(n_min, |V|) hardest valid pixels.

    `thresh` is a probability of the true class in (0, 1]; `n_min` a count per batch, or a share of the valid
    pixels ("1/16", "5%", 0.0625). Pixels are ranked by plain ce; class weights and a weight map multiply
    afterwards; pixels that tie for the last places share them. After Shrivastava et al. 2016 (Training
    region-based object detectors with online hard example mining), in the form per pixel of BiSeNet.
    """
    values = pixel_cross_entropy(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    return compose(values, Ohem(thresh, n_min), selected_mean, weight, scope=scope)
