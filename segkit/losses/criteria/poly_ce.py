"""Criterion `poly_ce`: cross-entropy with another first coefficient of its polynomial in 1 - p (PolyLoss)."""

from torch import Tensor

from segkit.losses.criteria.function_of_ce import Curve, FunctionOfCE, pixel_function_of_ce
from segkit.losses.criteria.values import PixelValues
from segkit.losses.kernels import BackendName
from segkit.registry import CRITERIA
from segkit.types import AtLeastMinusOne, ClassWeights


@CRITERIA.register("poly_ce")
class PolyCrossEntropy(FunctionOfCE):
    """Cross-entropy + epsilon (1 - p(true class)) per pixel; selections rank plain ce.

    `epsilon` >= -1: 0 is cross-entropy, and below -1 a sure and right pixel would be pushed away. Otherwise as
    `FunctionOfCE`. Raises ValueError for options out of range.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        *,
        epsilon: AtLeastMinusOne = 1.0,
        class_weights: ClassWeights | None = None,
        backend: BackendName = "auto",
    ):
        super().__init__(num_classes, ignore_index, class_weights=class_weights, backend=backend)
        self.epsilon = check_epsilon(epsilon)

    def curve(self) -> Curve:
        return poly_of_ce(self.epsilon)

    def options(self) -> str:
        return f"epsilon {self.epsilon:g}"


def pixel_poly(
    logits: Tensor,
    target: Tensor,
    *,
    epsilon: float = 1.0,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    backend: str = "auto",
) -> PixelValues:
    """a_t (ce + epsilon (1 - p_t)) of every pixel, see `poly_of_ce`.

    `epsilon` >= -1. Otherwise as `pixel_function_of_ce`.
    """
    check_epsilon(epsilon)
    return pixel_function_of_ce(
        logits,
        target,
        poly_of_ce(epsilon),
        ignore_index=ignore_index,
        class_weights=class_weights,
        backend=backend,
    )


def poly_of_ce(epsilon: float) -> Curve:
    """ce + epsilon (1 - p) with p = exp(-ce), after Leng et al. 2022 (PolyLoss: a polynomial expansion perspective of
    classification loss functions), Poly-1. Its slope is 1 + epsilon p times that of ce."""
    return Curve(1.0, epsilon)


def check_epsilon(epsilon: float) -> float:
    """Raises ValueError unless it is a finite number >= -1."""
    if not -1 <= epsilon < float("inf"):
        raise ValueError(f"epsilon must be a number >= -1, got {epsilon}")
    return epsilon
