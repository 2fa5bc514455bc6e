"""Criterion `logit_adjusted_ce`: cross-entropy of logits to which the classes' frequencies are added while training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segkit.losses.criteria.comparison import compare_by_numba
from segkit.losses.criteria.pixel_cross_entropy import pixel_cross_entropy
from segkit.losses.criteria.values import (
    PixelValues,
    check_channels,
    describe_cross_entropy,
    per_class,
    read_class_weights,
)
from segkit.losses.kernels import BackendName, check_backend
from segkit.registry import CRITERIA
from segkit.types import ClassPriors, ClassWeights, NonNegativeFloat

if TYPE_CHECKING:
    from segkit.losses.kernels.cpu.criteria import Criterion


@CRITERIA.register("logit_adjusted_ce")
class LogitAdjustedCrossEntropy(nn.Module):
    """Cross-entropy of the logits + tau log(prior of the class); what is logged and ranked is plain ce.

    `priors`: one number > 0 per class, in any unit, since only their ratios matter; in a configuration `frequency`
    stands for the shares of the training labels. `tau` >= 0; 0 is cross-entropy. `class_weights`, `backend`: as for
    `CrossEntropy`. Raises ValueError otherwise. The formula is that of `pixel_logit_adjusted`.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        priors: ClassPriors = "frequency",
        tau: NonNegativeFloat = 1.0,
        class_weights: ClassWeights | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.backend, self.tau = check_backend(backend), check_tau(tau)
        # Buffers, to follow the module to its device; not saved, because they are configuration.
        weights = read_class_weights(class_weights, num_classes)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("priors", read_priors(priors, num_classes), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> PixelValues:
        """Logits (N, C, *any), target (N, *spatial) or (N, C, *spatial) -> values (N, *spatial)."""
        check_channels(logits, self.num_classes)
        return pixel_logit_adjusted(
            logits,
            target,
            priors=self.priors,
            tau=self.tau,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            backend=self.backend,
        )

    def describe(self) -> str:
        """The options, for one line on the console."""
        priors = ", ".join(f"{prior:.3g}" for prior in (self.priors / self.priors.sum()).tolist())
        weights = describe_cross_entropy(self.class_weights, 0.0)
        return "  ".join(part for part in (f"tau {self.tau:g}  priors [{priors}]", weights) if part)


def pixel_logit_adjusted(
    logits: Tensor,
    target: Tensor,
    *,
    priors: Tensor,
    tau: float = 1.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """a_t (-log softmax(z + tau log pi)_t) of every pixel, z the logits (N, C, *any) and pi the `priors` (C,) > 0.

    After Menon et al. 2021 (Long-tail learning via logit adjustment), the loss; a prediction is made of z alone. `ce`
    and `wrong` of the result are those of z as well, so that the one is comparable between losses and the other says
    what the prediction is. The backend `numba` finds both in one pass; others take a second one over the logits,
    without gradient. A number per channel commutes with bilinear resizing, so it is added at the logits' own size.
    Inputs and errors as for `pixel_cross_entropy`.
    """
    check_tau(tau)
    fused = _in_one_pass(logits, target, priors, tau, ignore_index, class_weights, backend)
    if fused is not None:
        return fused
    how = {"ignore_index": ignore_index, "class_weights": class_weights, "backend": backend}
    with torch.no_grad():
        plain = pixel_cross_entropy(logits, target, **how)
    logits = logits if logits.dtype == torch.float64 else logits.float()  # bf16 would round the sum
    adjustment = tau * priors.to(logits).log()  # (C,)
    return plain.with_value(pixel_cross_entropy(logits + per_class(adjustment, logits), target, **how).value)


def _in_one_pass(
    logits: Tensor,
    target: Tensor,
    priors: Tensor,
    tau: float,
    ignore_index: int,
    class_weights: Tensor | None,
    backend: str,
) -> PixelValues | None:
    """The values by compiled loops; None by another backend, or if the numbers that are added differ by too much."""
    if target.is_floating_point() or logits.ndim < 2 or priors.shape != (logits.shape[1],):
        return None
    adjustment = tau * priors.double().log()

    def make() -> "Criterion | None":
        from segkit.losses.kernels.cpu import criteria  # imports numba

        apart = (adjustment.amax() - adjustment.amin()).item()
        return criteria.adjusted(target, adjustment) if apart <= criteria.MOST_ADJUSTED else None

    how = {"ignore_index": ignore_index, "class_weights": class_weights, "backend": backend}
    return compare_by_numba(logits, target, make, **how)


def read_priors(priors: Sequence[float] | str, num_classes: int) -> Tensor:
    """One number > 0 per class as a tensor (C,). Raises ValueError otherwise."""
    if isinstance(priors, str):
        raise ValueError(f"priors must be a list of {num_classes} numbers, one per class, got {priors!r}")
    if len(priors) != num_classes:
        raise ValueError(f"priors has {len(priors)} values but there are {num_classes} classes")
    numbers = torch.tensor([float(prior) for prior in priors])
    if not bool((numbers.isfinite() & (numbers > 0)).all()):
        raise ValueError(
            f"priors must be finite numbers > 0, got {list(priors)}; a class that never occurs has the prior of the "
            "rarest that does"
        )
    return numbers


def check_tau(tau: float) -> float:
    """Raises ValueError unless it is a finite number >= 0."""
    if not 0 <= tau < float("inf"):
        raise ValueError(f"tau must be a number >= 0, got {tau}")
    return tau
