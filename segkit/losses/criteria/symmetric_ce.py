"""Criterion `symmetric_ce`: cross-entropy and its reverse, with labels and probabilities in each other's place."""

from torch import Tensor

from segkit.losses.criteria.function_of_ce import Curve, FunctionOfCE, pixel_function_of_ce
from segkit.losses.criteria.values import PixelValues
from segkit.losses.kernels import BackendName
from segkit.registry import CRITERIA
from segkit.types import ClassWeights, NegativeFloat, NonNegativeFloat


@CRITERIA.register("symmetric_ce")
class SymmetricCrossEntropy(FunctionOfCE):
    """Symmetric cross-entropy per pixel, alpha ce + beta rce; selections rank plain ce.

    The reverse rce = -sum_c p_c log y_c of a label y that is 1 in one class is -log_zero (1 - p(true class)), where
    `log_zero` < 0 stands for log 0. `alpha` and `beta` >= 0, not both 0. Otherwise as `FunctionOfCE`. Raises ValueError
    for options out of range.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        alpha: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 1.0,
        log_zero: NegativeFloat = -4.0,
        class_weights: ClassWeights | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__(num_classes, ignore_index, class_weights=class_weights, backend=backend)
        check_symmetric(alpha, beta, log_zero)
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    def curve(self) -> Curve:
        return symmetric_of_ce(self.alpha, self.beta, self.log_zero)

    def options(self) -> str:
        return f"alpha {self.alpha:g}  beta {self.beta:g}  log_zero {self.log_zero:g}"


def pixel_symmetric(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    log_zero: float = -4.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """a_t (alpha ce - beta log_zero (1 - p_t)) of every pixel, see `symmetric_of_ce`.

    `alpha` and `beta` >= 0, not both 0, `log_zero` < 0. Otherwise as `pixel_function_of_ce`.
    """
    check_symmetric(alpha, beta, log_zero)
    return pixel_function_of_ce(
        logits,
        target,
        symmetric_of_ce(alpha, beta, log_zero),
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )


def symmetric_of_ce(alpha: float, beta: float, log_zero: float) -> Curve:
    """alpha ce - beta log_zero (1 - p) with p = exp(-ce), after Wang et al. 2019 (Symmetric cross entropy for robust
    learning with noisy labels)."""
    return Curve(alpha, -beta * log_zero)


def check_symmetric(alpha: float, beta: float, log_zero: float) -> None:
    """Raises ValueError that names the option which is out of range."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a number >= 0, got {value}")
    if alpha == beta == 0:
        raise ValueError("alpha and beta must not both be 0: nothing would be learned")
    if not float("-inf") < log_zero < 0:
        raise ValueError(f"log_zero must be a number < 0, got {log_zero}")
