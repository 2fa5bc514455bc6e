"""`bootstrapped_ce`: cross-entropy over the hardest pixels, a share that shrinks while training warms up."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from segkit.losses.common.pixel_loss import PixelLoss, compose
from segkit.losses.common.reduction import selected_mean
from segkit.losses.criteria import CrossEntropy, pixel_cross_entropy
from segkit.losses.kernels import BackendName
from segkit.losses.scope import ScopeName
from segkit.losses.selections import Schedulable, TopShare
from segkit.registry import LOSSES
from segkit.schedule import ramp
from segkit.types import ClassWeights, Duration, Probability


@dataclass(frozen=True)
class LinearWarmUp:
    """Share of pixels kept: 1 up to `start_warm`, linear to `top_p` at `end_warm`, `top_p` from then on."""

    top_p: float
    start_warm: int
    end_warm: int

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        for name, value in (("start_warm", self.start_warm), ("end_warm", self.end_warm)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(
                    f"{name} must be a number of iterations >= 0, got {value!r} "
                    "(a share of the run such as 10% is resolved only in a configuration)"
                )
        if self.start_warm > self.end_warm:
            raise ValueError(
                f"start_warm={self.start_warm} is after end_warm={self.end_warm}; it must not be larger"
            )

    def __call__(self, iteration: int) -> float:
        return ramp(iteration, start=self.start_warm, end=self.end_warm, before=1.0, after=self.top_p)

    def __str__(self) -> str:
        return f"top_p {self.top_p:g}  start_warm {self.start_warm:,}  end_warm {self.end_warm:,}"

    def never_starts(self, iterations: int) -> str | None:
        """Why a run of so many iterations would keep every pixel throughout, or None."""
        if self.top_p == 1:
            return "keeps every pixel: top_p=1 -> top_p: 0.15"
        if self.start_warm < iterations:
            return None
        return (
            f"would never start: start_warm={self.start_warm} but the run has {iterations} iterations "
            "-> start_warm: 10%, end_warm: 50%"
        )


@LOSSES.register("bootstrapped_ce")
def bootstrapped_ce(
    num_classes: int,
    ignore_index: int = 255,
    *,
    top_p: Probability = 0.15,
    start_warm: Duration = 20000,
    end_warm: Duration = 70000,
    class_weights: ClassWeights | None = None,
    scope: ScopeName = "batch",
    allow_inactive: bool = False,
    backend: BackendName = "auto",
) -> PixelLoss:
    """Cross-entropy over the top_p hardest pixels, reached linearly from all of them after a warm-up."""
    return PixelLoss(
        CrossEntropy(num_classes, ignore_index, class_weights=class_weights, backend=backend),
        # Of a share of the run the build has made iterations; LinearWarmUp refuses what a caller in Python may give.
        TopShare(LinearWarmUp(top_p, cast(int, start_warm), cast(int, end_warm))),
        selected_mean,
        scope=scope,
        name="bootstrapped_ce",
        allow_inactive=allow_inactive,
    )


def bootstrapped_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    share: Schedulable,
    iteration: int | None = None,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    scope: ScopeName = "batch",
    backend: BackendName = "auto",
) -> Tensor:
    """(1 / k) sum over the k hardest valid pixels of ce, k = max(1, int(share |V|)), as a 0-d tensor.

    `share` is in (0, 1], or a function of `iteration` such as `LinearWarmUp`. Pixels are ranked by plain ce;
    class weights and a weight map multiply afterwards; pixels that tie for the last places share them. Where
    nothing is ignored it equals `F.cross_entropy(reduction="none").flatten().topk(k).values.mean()`. After Wu
    et al. 2016 (Bridging category-level and instance-level semantic segmentation), with STCN's warm-up.
    """
    values = pixel_cross_entropy(
        logits, target, ignore_index=ignore_index, class_weights=class_weights, backend=backend
    )
    return compose(values, TopShare(share), selected_mean, weight, scope=scope, iteration=iteration)
